"""An experiment directory and the steps that fill it, in the order of the report's section 2.

DIR/recipe.yaml, corpus/, ladder/<run>/, registrations/, targets/<run>/, transfer/<run>/ and
what was measured on the way: transfer.json, pictures.json.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foresight.data.corpus import Corpus
from foresight.errors import UserError
from foresight.evals.exams import ladder
from foresight.evals.picture_questions import ask_about_pictures
from foresight.evals.suite_forecast import (
    INVERSE,
    RUNG_SAMPLES,
    answers_of_run,
    counts_of_run,
    evidence_of,
    is_observed,
    observe_suite,
    register_suite,
    write_trend,
)
from foresight.forecast import (
    Fit,
    Forecast,
    Registration,
    RunTable,
    Target,
    fit,
    register,
    seal_outcome,
)
from foresight.forecast.registration import read_chain, registrations_dir
from foresight.forecast.table import read_metric
from foresight.inference.engine import Engine
from foresight.posttrain.chain import Chain, ChainSettings, Outcome
from foresight.posttrain.chain import Watch as ChainWatch
from foresight.recipe import Recipe, RunSpec
from foresight.runs import Run, sha256_file, write_json
from foresight.training.ladder import Job, Progress, cores, run_jobs, rung_jobs, target_job
from foresight.training.loop import Settings
from foresight.training.trainer import train
from foresight.worlds import pictures

Watch = Callable[[list[Progress]], None]

OnRun = Callable[[int, int], None]
"""Told as suites are put to runs: how many are done, of how many."""
_TRANSFER_OCTAVES = {"complete": range(-3, 2), "standard": range(-4, 2)}
# Where the standard parametrisation's sweep is centred: its usual rate at these widths.
_STANDARD_LR = 2.0**-6
_TRANSFER_SETTINGS = Settings(keep_weights=False, validation_rows=128)
_QUESTIONS = 1400


@dataclass(frozen=True)
class Experiment:
    """A directory and the recipe it holds."""

    directory: Path
    recipe: Recipe

    @classmethod
    def create(cls, directory: Path, recipe: str | Recipe) -> Experiment:
        """Start an experiment, or go on with the one there.

        Raises UserError if the directory holds another recipe.
        """
        wanted = recipe if isinstance(recipe, Recipe) else Recipe.named(recipe)
        path = directory / "recipe.yaml"
        if not path.exists():
            wanted.save(path)
        elif sha256_file(path) != wanted.sha256:
            raise UserError(
                f"{path}: differs from recipe '{wanted.name}' (seed {wanted.seed}); "
                f"use another directory, or delete this one to start over"
            )
        return cls(directory, wanted)

    @classmethod
    def open(cls, directory: Path) -> Experiment:
        """An experiment that was started. Raises UserError naming the missing file."""
        path = directory / "recipe.yaml"
        if not path.exists():
            raise UserError(
                f"{path}: no experiment here; start one with `foresight ladder {directory}`"
            )
        return cls(directory, Recipe.load(path))

    @property
    def corpus_path(self) -> Path:
        return self.directory / "corpus"

    @property
    def rungs(self) -> list[Run]:
        return [job.run for job in rung_jobs(self.recipe, self.directory)]

    @property
    def targets(self) -> list[Run]:
        """Runs of the recipe's targets, trained or not."""
        return [
            target_job(self.recipe, self.directory, flops).run
            for flops in self.recipe.ladder.targets
        ]

    def _corpus(self) -> Corpus:
        return Corpus(self.corpus_path)

    def build_corpus(self, say: Callable[[str], None] = lambda _: None) -> Corpus:
        return Corpus.build(self.recipe, self.corpus_path, say)

    def train_ladder(self, watch: Watch) -> list[dict[str, Any]]:
        """Raises UserError before anything is trained if the corpus is not enough for a target
        that the recipe trains."""
        corpus = self._corpus()
        corpus.check()
        trained = self.recipe.ladder.targets[: self.recipe.ladder.trained_targets]
        for flops in trained:
            corpus.loader_for(target_job(self.recipe, self.directory, flops).spec)
        jobs = rung_jobs(self.recipe, self.directory)
        return run_jobs(jobs, self.recipe, self.corpus_path, watch)

    def post_train(self, settings: ChainSettings, watch: ChainWatch = lambda *_: None) -> Outcome:
        """Corpus, first target, and the chain from it, in DIR/posttrain; for a recipe of Ledger
        world."""
        corpus = self.build_corpus()
        job = target_job(self.recipe, self.directory, self.recipe.ladder.targets[0])
        train(job.run, self.recipe, job.spec, corpus, job.settings)
        return Chain(job.run.path, self.directory / "posttrain", settings, watch).run()

    def table(self) -> RunTable:
        """The rungs as a table. Raises UserError if one is not finished."""
        return RunTable.from_runs(self.rungs, self.recipe.ladder.metric)

    def fit(self) -> Fit:
        """Fit the recipe's metric to its rungs. Raises UserError if one is not finished."""
        return fit(self.table())

    def _planned_flops(self, job: Job) -> float:
        """What a run will really spend: whole steps, image patches included."""
        share = self._corpus().image_share(job.spec.mixture)
        return job.spec.tokens * job.spec.shape.flops_per_token(share)

    def predict(self, compute_flops: float, registered: bool) -> Forecast:
        """Forecast a run; with `registered`, write it down (refused once the run has begun)."""
        job = target_job(self.recipe, self.directory, compute_flops)
        planned = self._planned_flops(job)
        if not registered:
            return self.fit().predict(planned)
        shape = job.spec.shape
        registration = register(
            self.directory,
            name=f"c{compute_flops:.1e}".replace("+", ""),
            metric=self.recipe.ladder.metric,
            target=Target(job.run, planned, shape.params, job.spec.tokens, job.spec.steps),
            rungs=self.rungs,
        )
        return Forecast.from_json(registration.record["forecast"])

    def train_targets(
        self,
        computes: Sequence[float],
        watch: Watch,
        tensorboard: bool = False,
        beside: Sequence[Job] = (),
    ) -> list[dict[str, Any]]:
        """Train predicted runs and seal the outcome of each registered one.

        `beside`: further runs for the cores that the targets leave idle.
        """
        self._corpus().check()
        jobs = [target_job(self.recipe, self.directory, flops) for flops in computes]
        if tensorboard:
            jobs = [replace(job, settings=replace(job.settings, tensorboard=True)) for job in jobs]
        workers = min(cores(), len(jobs) + len(beside))
        results = run_jobs(
            [*jobs, *beside],
            self.recipe,
            self.corpus_path,
            watch,
            workers=workers,
            threads=cores() // workers,
        )
        self._seal([job.run for job in jobs])
        return results[: len(jobs)]

    def _seal(self, runs: Sequence[Run]) -> None:
        """Chain the result of each registered run, once."""
        chain = read_chain(self.directory)
        sealed = {entry["file"] for entry in chain if entry["kind"] == "outcome"}
        registered = {
            Registration.load(registrations_dir(self.directory) / entry["file"]).record["target"][
                "run"
            ]
            for entry in chain
            if entry["kind"] == "registration"
        }
        for run in runs:
            name = run.path.relative_to(self.directory).as_posix()
            if name in registered and f"{name}/result.json" not in sealed:
                seal_outcome(self.directory, run)

    def learning_rate_transfer(self, watch: Watch) -> dict[str, Any]:
        """Sweep the learning rates at two widths, 4x apart, under both parametrisations.

        All rates are multiplied together by powers of two at equal steps and batch; the loss is
        that of the source which the recipe predicts. Writes and
        returns transfer.json: losses per octave, the optimum of the parabola through the three
        best points, and by how many octaves it moves between the widths.
        """
        jobs = self.transfer_jobs()
        results = run_jobs(jobs, self.recipe, self.corpus_path, watch)
        metric = f"losses/{self.recipe.ladder.metric.split('/')[-1]}"
        losses: dict[str, dict[str, list[list[float]]]] = {}
        for arm, job, result in zip(self._transfer_arms(), jobs, results, strict=True):
            kind, width, octave = arm
            points = losses.setdefault(kind, {}).setdefault(str(width), [])
            points.append([octave, read_metric(job.run, result, metric)])
        found = {
            "steps": self.recipe.transfer.steps,
            "batch_tokens": self.recipe.transfer.rows * self.recipe.architecture.context,
            "metric": metric,
            "sweeps": losses,
            "optimum_octave": {
                kind: {width: optimum(points) for width, points in widths.items()}
                for kind, widths in losses.items()
            },
        }
        write_json(self.directory / "transfer.json", found)
        return found

    def transfer_jobs(self) -> list[Job]:
        """The short runs of `learning_rate_transfer`."""
        return [self._transfer_job(*arm) for arm in self._transfer_arms()]

    def _transfer_arms(self) -> list[tuple[str, int, int]]:
        return [
            (kind, width, octave)
            for kind, octaves in _TRANSFER_OCTAVES.items()
            for width in self.recipe.transfer.widths
            for octave in octaves
        ]

    def _transfer_job(self, kind: str, width: int, octave: int) -> Job:
        spec = self.recipe.at(1e12, 1000 * self.recipe.seed, width)
        update: dict[str, Any] = {
            "steps": self.recipe.transfer.steps,
            "batch_rows": self.recipe.transfer.rows,
            "warmup_steps": 20,
            "beta2": 0.95,
            "parametrisation": kind,
        }
        settings = self.recipe.optimizer
        rates = {
            "matrix_lr": settings.matrix_lr,
            "embedding_lr": settings.embedding_lr,
            "head_lr": settings.head_lr,
        }
        if kind == "standard":
            update["matrix"] = "adamw"
            rates = dict.fromkeys(rates, _STANDARD_LR)
        update |= {key: rate * 2.0**octave for key, rate in rates.items()}
        run = Run(self.directory / "transfer" / f"{kind}-w{width}-{octave:+d}")
        return Job(run, RunSpec.model_validate(spec.model_dump() | update), _TRANSFER_SETTINGS)

    @property
    def asked(self) -> list[Run]:
        """The runs of the ladder that suites are put to."""
        jobs = rung_jobs(self.recipe, self.directory)
        return [job.run for job in jobs if job.settings.keep_weights]

    def _asked_target(self) -> Job:
        """The target whose pass rates are predicted: the largest that is trained."""
        ladder = self.recipe.ladder
        if not ladder.trained_targets:
            raise UserError("ladder.suites: pass rates are predicted for a target that is trained")
        flops = max(ladder.targets[: ladder.trained_targets])
        return target_job(self.recipe, self.directory, flops)

    def predict_suites(self, on_run: OnRun) -> None:
        """Put the suites to the ladder and register every bucket's pass rate of the target.

        What is registered already stays.
        """
        job, here = self._asked_target(), self.directory
        names = [
            name
            for name in self.recipe.ladder.suites
            if name != INVERSE and not evidence_of(here, name).exists()
        ]
        counted = [
            (counts_of_run, (here, name, run, _load, RUNG_SAMPLES))
            for name in names
            for run in self.asked
        ]
        _spread(counted, on_run)
        planned = self._planned_flops(job)
        _spread(
            [(register_suite, (here, name, self.asked, job.run, planned, _load)) for name in names],
            on_run,
        )

    def observe_suites(self, on_run: OnRun) -> None:
        """Put the suites to the target and seal the outcome of every bucket, once; ask every run
        the inverse suite."""
        target, here, suites = self._asked_target().run, self.directory, self.recipe.ladder.suites
        trained = self.targets[: self.recipe.ladder.trained_targets]
        names = [name for name in suites if name != INVERSE and not is_observed(here, name)]
        runs = [*self.asked, *trained] if INVERSE in suites else []
        observed = [(observe_suite, (here, name, target, _load)) for name in names]
        _spread([*observed, *((answers_of_run, (here, run, _load)) for run in runs)], on_run)
        if runs:
            write_trend(here, runs)

    def sit_exam(self, on_run: OnRun) -> None:
        """Put the embedded exam's holdout half to the ladder, whose scores are its percentiles, and
        to the trained targets; every run once."""
        ladder.prepare(self.directory)
        here, trained = self.directory, self.recipe.ladder.trained_targets
        runs = [
            run
            for run in (*self.asked, *self.targets[:trained])
            if not ladder.is_examined(here, run)
        ]
        _spread([(ladder.examine, (here, run, _load)) for run in runs], on_run)
        ladder.rank_among(here, self.asked)

    @property
    def evals_path(self) -> Path:
        return self.directory / "evals"

    def ask_about_pictures(self, run: Run) -> dict[str, Any]:
        """Held-out picture questions with and without the pictures; writes pictures.json, and
        every answer as a record."""
        questions = list(pictures.questions(self.recipe.seed, _QUESTIONS))
        answers = ask_about_pictures(_load(run.path), questions, self.evals_path)
        found = {name: [asdict(one) for one in rows] for name, rows in answers.items()}
        write_json(self.directory / "pictures.json", {"run": run.path.name} | found)
        return {"run": run.path.name} | found


def _load(run: Path) -> Engine:
    return Engine.load(run, batch=128)


def _spread(calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], on_run: OnRun) -> None:
    """Make calls of (function, arguments) side by side, one a core."""
    if not calls:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(cores(), len(calls)), context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = [pool.submit(function, *arguments) for function, arguments in calls]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            on_run(done, len(calls))


def optimum(points: Sequence[Sequence[float]]) -> float:
    """Octave of the least loss: vertex of the parabola through the best point and its neighbours.

    At the edge of a sweep the edge itself: the optimum is there or beyond.
    """
    octaves, losses = np.array(points, float).T
    losses = np.where(np.isfinite(losses), losses, math.inf)
    best = int(losses.argmin())
    if best in (0, len(points) - 1):
        return float(octaves[best])
    left, middle, right = losses[best - 1 : best + 2]
    if not math.isfinite(left + right):
        return float(octaves[best])
    return float(octaves[best] + (left - right) / (2 * (left - 2 * middle + right)))
