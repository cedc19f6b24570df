"""Grades of people: one file, and what it makes of the records of any task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.exams.exam import Exam
from foresight.evals.exams.reading import read_exam
from foresight.evals.exams.sitting import Arm
from foresight.evals.model_grader import RubricPoints
from foresight.evals.people.desk import Sharing
from foresight.evals.people.grades import graded, read_grades, response_key
from foresight.evals.people.grading import Answers, GradeDesk, grading
from foresight.evals.people.rubrics import read_rubrics
from foresight.evals.record import Reason, Record
from tests.evals.exams.folders import write_exam
from tests.evals.exams.test_sitting import take
from tests.evals.models import Written


@pytest.fixture
def exam(tmp_path: Path) -> Exam:
    return read_exam(write_exam(tmp_path / "exam"))


@pytest.fixture
def answers(exam: Exam, tmp_path: Path) -> tuple[Record, ...]:
    model = Written(lambda prompt, request: "Because it counts.", name="secret-model")
    return take(exam, tmp_path / "out", model).records["frq"]


def grade(record: Record, grader: str, points: float, **change: Any) -> dict[str, Any]:
    return {
        "key": response_key(record), "item": record.item, "grader": grader, "points": points,
        "max": 3, "criteria": {}, "at": "2026-11-26T12:00:00+00:00", **change,
    }  # fmt: skip


def journal(tmp_path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = tmp_path / "grades.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_grades_become_scores(answers: tuple[Record, ...], tmp_path: Path) -> None:
    rows = [
        grade(answers[0], "ann", 3),
        grade(answers[0], "bob", 0),
        grade(answers[0], "bob", 2),
        grade(answers[1], "ann", 1.5),
        grade(answers[1], "bob", 1.5),
        grade(answers[2], "ann", 1),
        grade(answers[2], "ann", 1, action="undo"),
        grade(answers[3], "ann", 0, action="skip"),
        grade(answers[0], "ann", 3, key="of another exam"),
    ]
    grades = read_grades(journal(tmp_path, rows))
    found = graded(answers, grades)
    assert [one.score for one in found] == [pytest.approx(2.5 / 3), 0.5, None, None]
    assert [one.reason for one in found[1:3]] == [Reason.OK, Reason.UNGRADED]
    said = grading(answers, grades)
    assert (said.answers, said.graded, said.records) == (4, 2, None)
    assert (said.agreement[0].n, said.agreement[0].same.mean) == (2, 0.5)


def test_people_overrule_a_model(exam: Exam, tmp_path: Path) -> None:
    """The judge sees one criterion at a time; it finds all met."""
    judge = Written(lambda prompt, request: "It does.\nYes", name="judge")
    arm = Arm("holdout", grader=RubricPoints(model=judge))
    model = Written(lambda prompt, request: "Because.")
    answers = take(exam, tmp_path / "out", model, arm).records["frq"]
    assert [one.score for one in answers] == [1.0] * 4 and judge.asked == 8
    rows = [grade(one, "ann", 3 - at) for at, one in enumerate(answers)]
    grades = read_grades(journal(tmp_path, rows))
    scores = [one.score for one in graded(answers, grades)]
    assert scores == [1.0, pytest.approx(2 / 3), pytest.approx(1 / 3), 0]
    beside = grading(answers, grades).records
    assert beside is not None and (beside.n, beside.same.mean) == (4, 0.25)


def test_a_grade_is_of_these_words_whoever_wrote_them(exam: Exam, tmp_path: Path) -> None:
    def taken(name: str, text: str) -> tuple[Record, ...]:
        exam_of_its_own = read_exam(write_exam(tmp_path / name))
        model = Written(lambda prompt, request: text, name=name)
        return take(exam_of_its_own, tmp_path / f"out-{name}", model).records["frq"]

    first, same, other = taken("a", "Because."), taken("b", "Because. "), taken("c", "Why not?")
    grades = read_grades(journal(tmp_path, [grade(first[0], "ann", 3)]))
    assert [graded(some, grades)[0].score for some in (first, same, other)] == [1.0, 1.0, None]


def test_the_page_hands_out_an_exam_with_its_rubrics(exam: Exam, tmp_path: Path) -> None:
    model = Written(lambda prompt, request: "Because.", name="secret-model")
    take(exam, tmp_path / "out", model)
    answers = Answers.read(tmp_path / "out" / "frq")
    with GradeDesk(answers, read_rubrics(str(exam.folder)), Sharing(("ann",))) as desk:
        told = desk.card("ann")
        assert told["left"] == 4 and "secret-model" not in json.dumps(told)
        shown = told["card"]
        assert [one["points"] for one in shown["criteria"]] == [1, 2] and shown["max"] == 3
        assert shown["answer"] == "Because." and shown["prompt"].startswith("Why is")
        points = {"says so": 1, "says why": 0.5}
        desk.enter("ann", {"id": shown["id"], "action": "grade", "criteria": points})
    assert sorted(str(one.score) for one in answers.scored()) == ["0.5", "None", "None", "None"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": None}, "line 1, field points: Input should be a valid number"),
        ({"grader": 3}, "line 1, field grader: Input should be a valid string"),
        ({"points": -1}, "line 1, field points: .*greater than or equal to 0"),
        ({"points": 4}, "line 1, .*4 points of 3 possible"),
        ({"seconds": 4}, "line 1, field seconds: unknown"),
    ],
)
def test_bad_grades(
    answers: tuple[Record, ...], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match="grades.jsonl, " + message):
        read_grades(journal(tmp_path, [grade(answers[0], "ann", 1) | change]))
