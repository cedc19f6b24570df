"""An exam taken from beginning to end: asked, graded, scored, written down."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.exams.exam import Exam
from foresight.evals.exams.grades import Graded, Grades, awaited, graded
from foresight.evals.exams.holdout import HoldoutRun
from foresight.evals.exams.published import SOURCE, Published, published
from foresight.evals.exams.result import ExamResult, exam_result
from foresight.evals.exams.scoring import Raw
from foresight.evals.exams.sitting import Arm, Watch, sit
from foresight.inference.language_model import LanguageModel
from foresight.runs import read_json, write_atomic, write_json


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
    grading: Graded | None
    awaiting: int
    published: Published | None
    other_arm: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        if self.grading:
            value["grading"] = {
                "people": asdict(self.grading.people), "model": asdict(self.grading.model),
            }  # fmt: skip
        return value | {"published_source": SOURCE if self.published else None}


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
    """Put an exam to a model below `out_dir`, which gets for each arm the sections' records,
    `result.json`, and `awaiting.jsonl` if answers wait for people.

    `ledger`: of holdout runs, default `holdout.jsonl` of the exam's folder. `contaminated`: ids of
    questions that are in the training data. Raises UserError.
    """
    here = out_dir / arm.name
    sat = sit(exam, arm, model, here, ledger or exam.folder / "holdout.jsonl", watch)
    records = [one for some in sat.records.values() for one in some]
    waiting = awaited(records, exam.questions, grades or {})
    lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in waiting)
    if waiting or (here / "awaiting.jsonl").exists():
        write_atomic(here / "awaiting.jsonl", lines)
    grading = graded(records, exam.questions, grades) if grades is not None else None
    marked = {one.key: one for one in grading.records} if grading else {}
    rows = {name: [marked.get(r.key, r) for r in some] for name, some in sat.records.items()}
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
        grading=grading,
        awaiting=len(waiting),
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
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    found = set()
    for number, line in enumerate(lines, start=1):
        if (name := line.strip()) and name not in known:
            raise UserError(f"{path}, line {number}: {name!r} is no question of these exams")
        found |= {name} - {""}
    return found
