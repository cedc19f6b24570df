"""An exam taken from beginning to end: asked, graded, scored, written down."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.exams.exam import Exam
from foresight.evals.exams.holdout import HoldoutRun
from foresight.evals.exams.published import SOURCE, Published, published
from foresight.evals.exams.result import ExamResult, exam_result
from foresight.evals.exams.scoring import Raw
from foresight.evals.exams.sitting import Arm, Watch, sit
from foresight.evals.files import read_text
from foresight.evals.people.grades import Grades, graded
from foresight.evals.people.grading import Grading, grading
from foresight.inference.language_model import LanguageModel
from foresight.runs import read_json, write_json


@dataclass(frozen=True)
class Outcome:
    """An exam, an arm, a model. `run`: of the holdout, if it is finished; `grading`: people's
    grades, and how far graders agree; `other_arm`: the reported score of the same half with
    pictures, or without, if it was taken; `notes`: what a reader has to know, in words."""

    model: str
    exam: str
    exam_sha256: str
    method_sha256: str
    half: str
    images: bool
    choices: str
    result: ExamResult
    run: HoldoutRun | None
    grading: Grading | None
    awaiting: int
    published: Published | None
    other_arm: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"published_source": SOURCE if self.published else None}


def take(
    exam: Exam,
    arm: Arm,
    model: LanguageModel,
    out_dir: Path,
    watch: Watch,
    ledger: Path | None = None,
    contaminated: Collection[str] | None = None,
    grades: Grades | None = None,
) -> Outcome:
    """Put an exam to a model below `out_dir`, which gets for each arm the sections' records and
    `result.json`.

    `ledger`: of holdout runs, default `holdout.jsonl` of the exam's folder. `contaminated`: ids of
    questions that are in the training data. Raises UserError.
    """
    here = out_dir / arm.name
    sat = sit(exam, arm, model, here, ledger or exam.folder / "holdout.jsonl", watch)
    written = [one.name for one in exam.file.sections if one.format == "free_response"]
    rows = {name: graded(some, grades or {}) for name, some in sat.records.items()}
    result = exam_result(exam, rows, contaminated)
    outcome = Outcome(
        model=model.name,
        exam=exam.name,
        exam_sha256=exam.hash,
        method_sha256=sat.method,
        half=arm.half,
        images=arm.images,
        choices=arm.choices,
        result=result,
        run=sat.run,
        grading=None
        if grades is None
        else grading([one for name in written for one in sat.records[name]], grades),
        awaiting=sum(one.ungraded for one in result.sections),
        published=published().get(exam.file.report_row),
        other_arm=_other_arm(out_dir, arm, model.name),
        notes=tuple(_notes(exam, arm, result, sat.run)),
    )
    write_json(here / "result.json", outcome.to_json())
    return outcome


def _other_arm(out_dir: Path, arm: Arm, model: str) -> float | None:
    path = out_dir / Arm(arm.half, not arm.images, arm.choices).name / "result.json"
    if not path.exists():
        return None
    value = read_json(path)
    if not isinstance(value, dict) or value.get("model") != model:
        return None
    score = value["result"][value["result"]["reported"]]
    return None if score is None else float(score["score"])


def _notes(exam: Exam, arm: Arm, result: ExamResult, run: HoldoutRun | None) -> list[str]:
    told = []
    if arm.half == "development":
        told.append("development half: methods are chosen on it")
    elif run is None:
        told.append("holdout run not finished: some questions have no answer, call again")
    else:
        if run.number > 1:
            told.append(f"run {run.number} of this model and method on the holdout")
        if run.abandoned:
            told.append(f"{run.abandoned} earlier runs were begun and not finished")
        if run.other_methods:
            told.append(f"the model took this holdout by {run.other_methods} other methods")
    if isinstance(exam.file.scoring, Raw):
        told.append("no scale: the score is the share of points" + (
            ", not comparable with the published ones" if exam.file.report_row else ""
        ))  # fmt: skip
    if not exam.percentiles:
        told.append("no percentiles.csv: where it stands among people is unknown")
    told += [
        f"section {one.name}: {count} answers {what}"
        for one in result.sections
        for count, what in (
            (one.unscored, "failed and are left out"), (one.ungraded, "wait for people"),
        )
        if count
    ]  # fmt: skip
    if result.full and result.full.low is None:
        told.append("no interval: a section has a single group of questions")
    if result.contaminated and result.full and result.clean is None:
        told.append("no clean score: a section would be empty without contaminated questions")
    return told


def read_ids(path: Path, exams: Collection[Exam]) -> set[str]:
    """Ids of questions, one a line. Raises UserError naming the line of one that no exam has."""
    known = {name for exam in exams for name in exam.questions}
    found = set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if (name := line.strip()) and name not in known:
            raise UserError(f"{path}, line {number}: {name!r} is no question of these exams")
        found |= {name} - {""}
    return found
