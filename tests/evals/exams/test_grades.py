"""Grades of people and of a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.exams.exam import Exam
from foresight.evals.exams.grades import awaited, graded, read_grades
from foresight.evals.exams.reading import read_exam
from foresight.evals.exams.sitting import Arm
from foresight.evals.model_grader import RubricPoints
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


def journal(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "grades.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_graders_see_answers_and_no_models(exam: Exam, answers: tuple[Record, ...]) -> None:
    found = awaited(answers, exam.questions, {})
    assert [one.key for one in found] == sorted(one.key for one in answers)
    assert "secret-model" not in json.dumps([asdict(one) for one in found])
    first = found[0]
    assert first.points == 3 and first.rubric[1] == {"criterion": "says why", "points": 2}
    assert first.answer == "Because it counts." and first.question.startswith("Why is")
    assert [one.graders for one in awaited(answers, exam.questions, {}, twice=1.0)] == [2] * 4
    assert [one.graders for one in awaited(answers, exam.questions, {}, twice=0.0)] == [1] * 4


def test_grades_become_scores(exam: Exam, answers: tuple[Record, ...], tmp_path: Path) -> None:
    keys = [one.key for one in answers]
    rows = [
        {"key": keys[0], "grader": "ann", "points": 3, "seconds": 40},
        {"key": keys[0], "grader": "bob", "points": 0},
        {"key": keys[0], "grader": "bob", "points": 2},
        {"key": keys[1], "grader": "ann", "points": 1.5},
        {"key": keys[1], "grader": "bob", "points": 1.5},
        {"key": "of another exam", "grader": "ann", "points": 9},
    ]
    found = graded(answers, exam.questions, read_grades(journal(tmp_path, rows)))
    assert [one.score for one in found.records] == [pytest.approx(2.5 / 3), 0.5, None, None]
    assert [one.reason for one in found.records[1:3]] == [Reason.OK, Reason.UNGRADED]
    assert (found.people.n, found.people.accuracy, found.model.n) == (2, 0.5, 0)
    assert len(awaited(found.records, exam.questions, {})) == 2


def test_a_second_grader_is_waited_for(
    exam: Exam, answers: tuple[Record, ...], tmp_path: Path
) -> None:
    key = answers[0].key
    for graders, left in (([], 4), (["ann"], 4), (["ann", "bob"], 3)):
        rows = [{"key": key, "grader": name, "points": 1} for name in graders]
        grades = read_grades(journal(tmp_path, rows))
        assert len(awaited(answers, exam.questions, grades, twice=1.0)) == left


def test_people_overrule_a_model(exam: Exam, tmp_path: Path) -> None:
    """The judge sees one criterion at a time; it finds all met."""
    judge = Written(lambda prompt, request: "It does.\nYes", name="judge")
    arm = Arm("holdout", grader=RubricPoints(model=judge))
    model = Written(lambda prompt, request: "Because.")
    answers = take(exam, tmp_path / "out", model, arm).records["frq"]
    assert [one.score for one in answers] == [1.0] * 4 and judge.asked == 8
    rows = [{"key": one.key, "grader": "ann", "points": 3 - at} for at, one in enumerate(answers)]
    found = graded(answers, exam.questions, read_grades(journal(tmp_path, rows)))
    assert [one.score for one in found.records] == [
        1.0,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
        0,
    ]
    assert (found.model.n, found.model.accuracy) == (4, 0.25)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"key": "k", "grader": "ann"}, "line 1, field points: None; expected a number"),
        ({"key": "k", "grader": "ann", "points": True}, "line 1, field points: True"),
        ({"key": "k", "grader": 3, "points": 1}, "line 1, field grader: 3; expected a text"),
        ({"key": "k", "grader": "ann", "points": -1}, "line 1, field points: -1; must be 0"),
    ],
)
def test_bad_grades(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match="grades.jsonl, " + message):
        read_grades(journal(tmp_path, [row]))


def test_more_points_than_there_are(
    exam: Exam, answers: tuple[Record, ...], tmp_path: Path
) -> None:
    rows = [{"key": answers[0].key, "grader": "ann", "points": 4}]
    grades = read_grades(journal(tmp_path, rows))
    with pytest.raises(UserError, match="line 1, field points: 4 of 3 possible"):
        graded(answers, exam.questions, grades)
