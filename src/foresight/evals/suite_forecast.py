"""A suite's results along a ladder: counted, forecast, registered, and scored against the target.

DIR/suites/<suite>/<run>.jsonl are the counts of one run (of the inverse suite beside its records,
DIR/suites/inverse/<run>/), DIR/suites/<suite>/ladder.jsonl those that
a forecast was made from, DIR/suites/<suite>/registry/ its registry (`forecast.capability_registry`)
and DIR/suites/<suite>/capability.json what Figure 2 is drawn from; DIR/suites/inverse/trend.json is
what Figure 3 is. The rungs' weights must have been kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.picture_questions import accuracies, choice_task
from foresight.evals.runner import run as put
from foresight.forecast import Subject
from foresight.forecast.capability_evidence import capability_evidence
from foresight.forecast.capability_registry import (
    Fits,
    is_registered,
    observe_capability,
    register_capability,
)
from foresight.forecast.counts import ModelCounts
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Sampling,
)
from foresight.runs import Run, canonical_json, read_json, write_atomic, write_json
from foresight.worlds.suite_problem import SuiteProblem
from foresight.worlds.suites import suite

SAMPLES, RUNG_SAMPLES = 32, 12
"""Of every problem by the target, and by every run of the ladder that is asked; half of the latter
assign the buckets, the other half is shown."""
MAX_TOKENS = 64
"""Longer than any right answer of a suite."""

Load = Callable[[Path], LanguageModel]

INVERSE = "inverse"
"""The suite whose accuracy is watched for a fall; the others' pass rates are forecast."""


def count_passes(
    model: LanguageModel,
    problems: Sequence[SuiteProblem],
    samples: int,
) -> dict[str, tuple[int, int]]:
    """{problem: (passes, samples)} of so many samples at temperature 1, the model's own
    distribution.

    Samples that were never answered are left out of both. Raises UserError if a problem has none.
    """
    found: dict[int, tuple[int, int]] = {}

    def judge(index: int, completions: tuple[Completion, ...]) -> None:
        answered = [one for one in completions if one.finish not in ("failed", "cancelled")]
        if not answered:
            raise UserError(f"problem {problems[index].id}: not answered ({completions[0].error})")
        passes = sum(problems[index].passes(one.text) for one in answered)
        found[index] = (passes, len(answered))

    requests = [
        GenerateRequest(
            problem.parts,
            Sampling(
                max_tokens=MAX_TOKENS,
                stop=("\ndef ",) if problem.tests else ("\n",),
                seed=at * samples,
            ),
            samples,
        )
        for at, problem in enumerate(problems)
    ]
    model.generate(requests, judge)
    return {problem.id: found[index] for index, problem in enumerate(problems)}


def counts_path(directory: Path, name: str, run: Run) -> Path:
    return directory / "suites" / name / f"{run.path.name}.jsonl"


def evidence_of(directory: Path, name: str) -> Path:
    """What Figure 2 of a suite is drawn from."""
    return directory / "suites" / name / "capability.json"


def is_observed(directory: Path, name: str) -> bool:
    """Whether the target's outcome of a registered suite is sealed."""
    groups = read_json(evidence_of(directory, name))["groups"]
    return all(group["observed"] is not None for group in groups)


def trend_path(directory: Path) -> Path:
    """What Figure 3 is drawn from."""
    return directory / "suites" / INVERSE / "trend.json"


def registry_of(directory: Path, name: str) -> Path:
    """Where the forecasts of a suite are registered."""
    return directory / "suites" / name / "registry"


def counts_of_run(
    directory: Path,
    name: str,
    run: Run,
    load: Load,
    samples: int,
) -> Path:
    """The file of a finished run's counts on a suite; sampled only if it is not there yet.
    Raises UserError if the run has no result or no weights."""
    path = counts_path(directory, name, run)
    if not path.exists():
        compute = float(run.result()["compute_flops"])
        model = load(run.path)
        found = count_passes(model, suite(name), samples)
        write_atomic(path, ModelCounts(run.path.name, compute, found).lines)
    return path


def register_suite(
    directory: Path,
    name: str,
    rungs: Sequence[Run],
    target: Run,
    compute_flops: float,
    load: Load,
) -> None:
    """Count a suite's passes at every rung and register what the target will show in every bucket;
    what is registered already stays.

    Raises UserError if the target has logged a step, or as `register_capability`.
    """
    if target.started:  # said before hours of sampling, and again by the registry
        raise UserError(
            f"{target.metrics_path}: the target has already logged a step; "
            f"a prediction can only be registered before"
        )
    files = [counts_of_run(directory, name, run, load, RUNG_SAMPLES) for run in rungs]
    ladder = directory / "suites" / name / "ladder.jsonl"
    write_atomic(ladder, "".join(file.read_text() for file in files))
    subject = Subject(target.path.name, compute_flops, log=target.metrics_path)
    registry, title, fits = registry_of(directory, name), _title(name, target), Fits()
    if not is_registered(registry, title):
        register_capability(registry, title, subject, ladder, samples=SAMPLES, fits=fits)
    write_json(evidence_of(directory, name), capability_evidence(registry, title, fits))


def observe_suite(directory: Path, name: str, target: Run, load: Load) -> dict[str, float]:
    """Count the target's passes and seal every bucket's outcome: {registration: value in nats}.
    Raises UserError as `observe_capability`."""
    file = counts_of_run(directory, name, target, load, SAMPLES)
    values = observe_capability(registry_of(directory, name), _title(name, target), file)
    evidence = read_json(evidence_of(directory, name))
    for group in evidence["groups"]:
        group["observed"] = values[group["registration"]["name"]]
    write_json(evidence_of(directory, name), evidence)
    return values


def answers_of_run(directory: Path, run: Run, load: Load) -> Path:
    """The file of a run's right answers to the inverse suite by family; asked only if it is not
    there yet. Raises UserError if the run has no result or no weights."""
    path = counts_path(directory, INVERSE, run)
    if not path.exists():
        compute = float(run.result()["compute_flops"])
        task = choice_task(INVERSE, suite(INVERSE))
        records = put(task, load(run.path), path.with_suffix(""))
        rows = [
            {
                "run": run.path.name,
                "family": one.family,
                "compute_flops": compute,
                "right": round(one.accuracy * one.n),
                "n": one.n,
                "chance": one.chance,
            }
            for one in accuracies(task, records)[1:]
        ]
        write_atomic(path, "".join(canonical_json(row) + "\n" for row in rows))
    return path


def write_trend(directory: Path, runs: Sequence[Run]) -> None:
    """Gather the answers of runs that were asked into trend.json."""
    files = [counts_path(directory, INVERSE, run) for run in runs]
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    write_json(trend_path(directory), {"rows": rows})


def _title(name: str, target: Run) -> str:
    return f"{name}-{target.path.name}".lower().replace("+", "")
