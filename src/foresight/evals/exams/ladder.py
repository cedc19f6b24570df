"""The embedded exam along a ladder: its holdout half, once per run, and percentiles among the runs.

DIR/exams/python-library/ is the exam, DIR/exams/<run>/<arm>/ the records of a run,
DIR/exams/<run>.json what came of it, DIR/exams/holdout-runs.jsonl the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.evals.exams.examination import Arm, paper, sit
from foresight.evals.exams.folder import add_percentiles, write_library_exam
from foresight.evals.exams.holdout import open_holdout
from foresight.evals.exams.reading import read_exam
from foresight.evals.exams.result import examined
from foresight.inference.language_model import LanguageModel
from foresight.runs import Run, read_json, write_json

NAME = "python-library"
CHANCE = {"choice": 0.25, "code": 0.0}
"""Share of the points that guessing brings: four choices; no program."""


@dataclass(frozen=True)
class Mark:
    """One run's result. `arm`: holdout, or holdout-no-images. `sections`: share of points by name;
    `percentile`: range among the ladder's models; `mark`: what must be said of a repeated run."""

    run: str
    compute_flops: float
    arm: str
    score: float
    low: float
    high: float
    chance: float
    sections: dict[str, float]
    percentile: tuple[float, float] | None
    mark: str


def exam_folder(directory: Path) -> Path:
    return directory / "exams" / NAME


def prepare(directory: Path) -> None:
    """Write the exam unless it is there."""
    if not (exam_folder(directory) / "exam.yaml").exists():
        write_library_exam(exam_folder(directory))


def examine(directory: Path, run: Run, load: Callable[[Path], LanguageModel]) -> None:
    """The holdout half with and without pictures; what is finished stays."""
    path = directory / "exams" / f"{run.path.name}.json"
    if path.exists():
        return
    exam, model = read_exam(exam_folder(directory)), load(run.path)
    found: list[dict[str, Any]] = []
    for images in (True, False):
        sheet = paper(exam, Arm("holdout", images))
        out = directory / "exams" / run.path.name / sheet.name
        entry = open_holdout(sheet, model.name, out, directory / "exams" / "holdout-runs.jsonl")
        result = examined(exam, model.name, sit(sheet, model, out))
        found.append(result.to_json() | {"arm": sheet.name, "mark": entry.mark})
    flops = run.result()["compute_flops"]
    write_json(path, {"run": run.path.name, "compute_flops": flops, "results": found})


def rank_among(directory: Path, runs: Sequence[Run]) -> None:
    """Write percentiles among these runs into the exam's folder: models, and it says so."""
    scores = [read_marks(directory, [run])[0].score for run in runs]
    flops = [read_marks(directory, [run])[0].compute_flops for run in runs]
    population = f"{len(runs)} models of this ladder of {min(flops):.1e} to {max(flops):.1e} FLOPs"
    add_percentiles(exam_folder(directory), scores, population)


def read_marks(directory: Path, runs: Sequence[Run]) -> list[Mark]:
    """Results of those runs that sat the exam, the arm with pictures before the one without."""
    exam, found = read_exam(exam_folder(directory)), []
    kinds = {part.name: CHANCE[part.file.format] for part in exam.sections}
    for run in runs:
        path = directory / "exams" / f"{run.path.name}.json"
        if not path.exists():
            continue
        held = read_json(path)
        for one in held["results"]:
            full = one["full"]
            parts = full["sections"]
            most = sum(part["maximum"] for part in parts)
            guess = sum(part["maximum"] * kinds[part["name"]] for part in parts) / most
            standing = exam.percentiles.of(full["value"]) if exam.percentiles else None
            found.append(
                Mark(
                    held["run"],
                    held["compute_flops"],
                    one["arm"],
                    full["value"],
                    full["low"],
                    full["high"],
                    100 * guess,
                    {part["name"]: part["share"] for part in parts},
                    (standing.lower, standing.upper) if standing else None,
                    one["mark"],
                )
            )
    return found
