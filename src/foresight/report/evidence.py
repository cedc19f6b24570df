"""Everything a page says, read from the files of an experiment directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, Field, RootModel, ValidationError

from foresight.errors import UserError
from foresight.evals.picture_questions import Accuracy
from foresight.experiment import Experiment
from foresight.forecast import Fit, Registration, Report, RunTable, Score, fit, verify
from foresight.forecast.draws import Array
from foresight.forecast.registration import registrations_dir
from foresight.forecast.table import read_metric
from foresight.recipe import Recipe, RunSpec
from foresight.runs import Run, read_json
from foresight.training.ladder import target_job

_Model = TypeVar("_Model", bound=BaseModel)


class AnyObject(RootModel[dict[str, Any]]):
    """A JSON object."""


class Corpus(BaseModel):
    """`corpus/manifest.json`: counts by source and split, hashes of the files."""

    sources: dict[str, dict[str, dict[str, int]]] = {}
    files: dict[str, str] = {}
    settings: dict[str, Any] = {}
    deduplication: dict[str, Any] = {}


class Transfer(BaseModel):
    """`transfer.json`: losses per octave of the learning rates, by parametrisation and width."""

    steps: int
    batch_tokens: int
    metric: str
    sweeps: dict[str, dict[str, list[tuple[float, float | None]]]]
    optimum_octave: dict[str, dict[str, float]]


class PictureAnswers(BaseModel):
    """`pictures.json`: the same questions with the image shown and removed."""

    run: str
    seen: list[Accuracy] = Field(min_length=1)
    removed: list[Accuracy]


@dataclass(frozen=True)
class RunFacts:
    """A run as its files have it. `path` is relative; what cannot be read is None."""

    run: Run
    path: str
    planned_flops: float
    manifest: dict[str, Any] | None
    result: dict[str, Any] | None
    spec: RunSpec | None

    @property
    def name(self) -> str:
        return self.run.path.name

    @property
    def compute_flops(self) -> float:
        """Spent, or planned while the run is not finished."""
        return float(self.result["compute_flops"]) if self.result else self.planned_flops

    def metric(self, path: str) -> float | None:
        """A value of the result; None if there is none."""
        if self.result is None:
            return None
        try:
            value = read_metric(self.run, self.result, path)
        except UserError:
            return None
        return _finite(value)


@dataclass(frozen=True)
class Claim:
    """A registered forecast as it stands on disk, its target, and the score of its outcome."""

    name: str
    metric: str
    sha256: str
    registered: str
    compute_flops: float
    ratio: float
    point: float
    intervals: dict[int, tuple[float, float]]
    verdict: str
    reasons: tuple[str, ...]
    falsification: str
    curve: dict[str, Array]
    target: RunFacts
    score: Score | None

    @property
    def observed(self) -> float | None:
        return self.score.observed if self.score else None


@dataclass(frozen=True)
class Evidence:
    """What there is; `problems` says in sentences what was expected and could not be read."""

    directory: Path
    recipe: Recipe
    rungs: tuple[RunFacts, ...]
    targets: tuple[RunFacts, ...]
    claims: tuple[Claim, ...]
    fitted: Fit | None
    verification: Report | None
    corpus: Corpus | None
    transfer: Transfer | None
    pictures: PictureAnswers | None
    seconds: dict[str, float]
    problems: tuple[str, ...]

    @property
    def metric(self) -> str:
        return self.recipe.ladder.metric

    @property
    def evals(self) -> Path:
        """Folders of evaluation records."""
        return Experiment(self.directory, self.recipe).evals_path

    @property
    def finished_rungs(self) -> tuple[RunFacts, ...]:
        return tuple(rung for rung in self.rungs if rung.result)

    @property
    def unit_flops(self) -> float:
        """Compute that Figure 1 calls 1: the largest trained target, else the largest claimed."""
        trained = [target.compute_flops for target in self.targets if target.result]
        claimed = [claim.compute_flops for claim in self.claims]
        rungs = [rung.compute_flops for rung in self.rungs]
        return max(trained or claimed or rungs)


def gather(directory: Path, verification: Report | None = None) -> Evidence:
    """Read an experiment, and verify it unless that was done. Raises UserError only if it has no
    readable recipe."""
    experiment = Experiment.open(directory)
    recipe = experiment.recipe
    problems: list[str] = []
    planned = zip(recipe.ladder.rungs, recipe.ladder.seeds, strict=True)
    computes = [compute for compute, seeds in planned for _ in range(seeds)]
    rungs = tuple(
        _facts(directory, run, compute, problems)
        for run, compute in zip(experiment.rungs, computes, strict=True)
    )
    report = verification or _verification(directory, problems)
    claims = _claims(experiment, report, problems)
    targets = {claim.target.path: claim.target for claim in claims}
    for compute in recipe.ladder.targets:
        job = target_job(recipe, directory, compute)
        facts = _facts(directory, job.run, compute, problems, job.spec)
        targets.setdefault(facts.path, facts)
    return Evidence(
        directory=directory,
        recipe=recipe,
        rungs=rungs,
        targets=tuple(sorted(targets.values(), key=lambda one: one.compute_flops)),
        claims=claims,
        fitted=_fit(rungs, recipe.ladder.metric, problems),
        verification=report,
        corpus=_read(Corpus, directory / "corpus" / "manifest.json", problems),
        transfer=_read(Transfer, directory / "transfer.json", problems),
        pictures=_read(PictureAnswers, directory / "pictures.json", problems),
        seconds=_seconds(directory / "seconds.json", problems),
        problems=tuple(dict.fromkeys(problems)),
    )


def _facts(
    directory: Path,
    run: Run,
    compute_flops: float,
    problems: list[str],
    planned: RunSpec | None = None,
) -> RunFacts:
    manifest = result = None
    spec = planned
    try:
        if run.manifest_path.exists():
            manifest = run.manifest()
            spec = RunSpec.model_validate(manifest["spec"])
        if run.finished:
            result = run.result()
            if _finite(result["compute_flops"]) is None:
                result = None
                problems.append(f"{run.result_path.name} of {run.path.name}: no finite compute.")
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:4])
        problems.append(f"run.json of {run.path.name}: its spec has bad fields ({fields}).")
    except UserError as error:
        problems.append(_relative(error, directory))
    path = run.path.relative_to(directory).as_posix()
    return RunFacts(run, path, compute_flops, manifest, result, spec)


def _verification(directory: Path, problems: list[str]) -> Report | None:
    try:
        return verify(directory)
    except UserError as error:
        problems.append(_relative(error, directory))
        return None


def _claims(
    experiment: Experiment, report: Report | None, problems: list[str]
) -> tuple[Claim, ...]:
    directory = experiment.directory
    scores = {score.name: score for score in report.scores} if report else {}
    claims = []
    for path in sorted(registrations_dir(directory).glob("*.json")):
        try:
            claims.append(_claim(experiment, Registration.load(path), scores, problems))
        except (UserError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = _relative(error, directory) if isinstance(error, UserError) else repr(error)
            problems.append(f"registrations/{path.name} cannot be shown: {reason}")
    return tuple(sorted(claims, key=lambda claim: claim.compute_flops))


def _claim(
    experiment: Experiment,
    registration: Registration,
    scores: dict[str, Score],
    problems: list[str],
) -> Claim:
    record = registration.record
    forecast, target = record["forecast"], record["target"]
    compute = float(target["compute_flops"])
    run = Run(experiment.directory / str(target["run"]))
    job = target_job(experiment.recipe, experiment.directory, compute)
    planned = job.spec if job.run.path == run.path else None
    return Claim(
        name=registration.name,
        metric=str(record["metric"]),
        sha256=registration.sha256,
        registered=str(record["created_utc"]),
        compute_flops=compute,
        ratio=float(forecast["extrapolation_ratio"]),
        point=float(forecast["point"]),
        intervals={
            int(level): (float(low), float(high))
            for level, (low, high) in forecast["intervals"].items()
        },
        verdict=str(forecast["verdict"]),
        reasons=tuple(f"{reason['code']}: {reason['text']}" for reason in forecast["reasons"]),
        falsification=str(record["falsification"]["text"]),
        curve={
            key: np.asarray(record["curve"][key], dtype=np.float64)
            for key in ("fractions", "loss", "low", "high")
        },
        target=_facts(experiment.directory, run, compute, problems, planned),
        score=scores.get(registration.name),
    )


def _fit(rungs: Sequence[RunFacts], metric: str, problems: list[str]) -> Fit | None:
    """The recipe's fit, or one of the rungs that are finished so far."""
    finished = [rung.run for rung in rungs if rung.result]
    if not finished:
        return None
    try:
        return fit(RunTable.from_runs(finished, metric))
    except (UserError, ValueError) as error:
        problems.append(f"The ladder cannot be fitted: {error}")
        return None


def _read(kind: type[_Model], path: Path, problems: list[str]) -> _Model | None:
    """A file that need not be there; a bad one is a problem, not a crash."""
    if not path.exists():
        return None
    try:
        return checked(path, kind)
    except UserError as error:
        problems.append(str(error).replace(str(path), path.name) + ".")
        return None


def checked(path: Path, kind: type[_Model]) -> _Model:
    """A JSON file as a model. Raises UserError naming the file and the field that is wrong."""
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: field {field}: {first['msg']}") from None


def _seconds(path: Path, problems: list[str]) -> dict[str, float]:
    value = _read(AnyObject, path, problems)
    pairs = {key: _finite(one) for key, one in (value.root if value else {}).items()}
    return {key: one for key, one in pairs.items() if one is not None}


def _finite(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and np.isfinite(value) else None


def _relative(error: Exception, directory: Path) -> str:
    """The message without the place of the directory: a moved experiment gives the same page."""
    return str(error).replace(f"{directory}/", "").replace(str(directory), "this directory")
