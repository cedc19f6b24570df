"""The embedded exam along a ladder: its holdout half, once per run, and percentiles among the runs.

DIR/exams/python-library/ is the exam and the ledger of its holdout, DIR/exams/runs/<run>/<arm>/ the
records and `result.json` of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from foresight.evals.exams.exam import Exam
from foresight.evals.exams.library import GUESSED, write_library_exam, write_percentiles
from foresight.evals.exams.outcome import take
from foresight.evals.exams.percentile import Range
from foresight.evals.exams.reading import read_exam
from foresight.evals.exams.sitting import Arm
from foresight.evals.runner import Progress
from foresight.inference.language_model import LanguageModel
from foresight.runs import Run, read_json

ARMS = (Arm("holdout"), Arm("holdout", images=False))


@dataclass(frozen=True)
class Mark:
    """One run's share of points with its 95 % interval. `images`: with pictures, or a placeholder
    for each; `guessed`: what guessing brings; `sections`: share by name; `percentile`: among the
    ladder's models; `repeated`: which run of the same method on the holdout it is, from 1."""

    run: str
    compute_flops: float
    images: bool
    score: float
    low: float | None
    high: float | None
    guessed: float
    sections: dict[str, float]
    percentile: Range | None
    repeated: int


def exam_folder(directory: Path) -> Path:
    return directory / "exams" / "python-library"


def prepare(directory: Path) -> None:
    """Write the exam unless it is there."""
    if not (exam_folder(directory) / "exam.yaml").exists():
        write_library_exam(exam_folder(directory))


def examine(directory: Path, run: Run, load: Callable[[Path], LanguageModel]) -> None:
    """The holdout half with and without pictures; nothing that is answered is asked again."""
    exam, model = read_exam(exam_folder(directory)), load(run.path)
    for arm in ARMS:
        take(exam, arm, model, _here(directory, run), _unwatched)


def is_examined(directory: Path, run: Run) -> bool:
    """Whether a run has taken both arms."""
    return all((_here(directory, run) / arm.name / "result.json").exists() for arm in ARMS)


def rank_among(directory: Path, runs: Sequence[Run]) -> None:
    """Percentiles among these runs, written into the exam's folder: models, and it says so."""
    marks = [one for one in read_marks(directory, runs) if one.images]
    flops = [one.compute_flops for one in marks]
    population = f"{len(marks)} models of this ladder of {min(flops):.1e} to {max(flops):.1e} FLOPs"
    write_percentiles(exam_folder(directory), [one.score for one in marks], population)


def read_marks(directory: Path, runs: Sequence[Run]) -> list[Mark]:
    """Results of those runs that took the exam, the arm with pictures before the one without."""
    if not (exam_folder(directory) / "exam.yaml").exists():
        return []
    exam = read_exam(exam_folder(directory))
    return [
        _mark(exam, run, arm, path)
        for run in runs
        for arm in ARMS
        if (path := _here(directory, run) / arm.name / "result.json").exists()
    ]


def _mark(exam: Exam, run: Run, arm: Arm, path: Path) -> Mark:
    value = read_json(path)
    full = value["result"]["full"]
    ranges = [one.at(full["score"]) for one in exam.percentiles]
    return Mark(
        run=run.path.name,
        compute_flops=float(run.result()["compute_flops"]),
        images=arm.images,
        score=full["score"],
        low=full["low"],
        high=full["high"],
        guessed=GUESSED,
        sections={one["name"]: one["share"] for one in value["result"]["sections"]},
        percentile=ranges[0] if ranges else None,
        repeated=value["run"]["number"],
    )


def _here(directory: Path, run: Run) -> Path:
    return directory / "exams" / "runs" / run.path.name


@contextmanager
def _unwatched(_: str) -> Iterator[Callable[[Progress], None]]:
    yield lambda progress: None
