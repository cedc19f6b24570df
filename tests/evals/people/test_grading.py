"""Grades: what the page is told, what is kept, what they come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.journal import read_records
from foresight.evals.people.desk import Sharing
from foresight.evals.people.entry import read_journal
from foresight.evals.people.grades import Grade, response_key
from foresight.evals.people.grading import Answers, GradeDesk, Grading, grading
from foresight.evals.people.rubrics import read_rubrics
from foresight.evals.record import Reason
from tests.evals.people.samples import answers
from tests.report.records import record

JUDGES = ("ann", "ben")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return answers(tmp_path)


def desk(folder: Path, rubric: str = "4", overlap: float = 1.0) -> GradeDesk:
    return GradeDesk(Answers.read(folder), read_rubrics(rubric), Sharing(JUDGES, overlap))


def graded(folder: Path) -> Grading:
    answers = Answers.read(folder)
    return grading(answers.records, answers.grades())


def give(book: GradeDesk, person: str, points: object, **more: Any) -> dict[str, Any]:
    shown = book.card(person)["card"]
    said = {"id": shown["id"], "action": "grade", "criteria": {"Points": points}} | more
    return book.enter(person, said)


def grade_all(folder: Path, ben: float = 0.0) -> None:
    """Ann gives half of what the records say plus one, ben `ben` more, at most 4."""
    with desk(folder) as book:
        for person, more in (("ann", 0.0), ("ben", ben)):
            while (now := book.card(person))["card"]:
                at = int(now["card"]["gold"][0].removeprefix("gold "))
                give(book, person, min(at % 3 + 1 + more, 4.0))


def test_the_page_knows_neither_model_nor_score(folder: Path) -> None:
    with desk(folder) as book:
        now = book.card("ann")
        assert set(now["card"]) == {"id", "prompt", "answer", "gold", "max", "criteria"}
        seen = []
        while (now := book.card("ann"))["card"]:
            seen.append(json.dumps(now))
            give(book, "ann", 1)
    assert len(seen) == 12
    for word in ("alpha", "beta", "score", "judge says"):
        assert not any(word in one for one in seen), word
    assert {len(json.loads(one)["card"]["id"]) for one in seen} == {16}


def test_a_grade_says_everything(folder: Path) -> None:
    rubric = folder / "rubric.yaml"
    rubric.write_text('[{"name": "a", "points": 1}, {"name": "b", "points": 3, "text": "why"}]')
    with desk(folder, str(rubric)) as book:
        shown = book.card("ann")["card"]
        assert shown["max"] == 4 and shown["criteria"][1]["text"] == "why"
        said = {"id": shown["id"], "action": "grade", "criteria": {"a": 1, "b": 2.5}, "note": "ok"}
        book.enter("ann", said)
        book.enter("ann", {"id": book.card("ann")["card"]["id"], "action": "skip"})
    first, second = read_journal(folder / "grades.jsonl", Grade)
    assert (first.points, first.max, first.criteria) == (3.5, 4.0, {"a": 1.0, "b": 2.5})
    assert (first.grader, first.note, first.action) == ("ann", "ok", "grade")
    assert first.item.startswith("q") and first.key in map(
        response_key, Answers.read(folder).records
    )
    assert second.action == "skip" and len(Answers.read(folder).grades()) == 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"criteria": {"Points": 5}}, "5 points; from 0 to 4"),
        ({"criteria": {"Points": "4"}}, "expected an object of points"),
        ({"criteria": {"Points": True}}, "expected an object of points"),
        ({"criteria": [4]}, "expected an object of points"),
        ({}, "criteria: Points; expected points for Points"),
        ({"criteria": {"Points": 1}, "note": ["x"]}, "field note"),
        ({"criteria": {"Points": 1}, "note": "x" * 10001}, "field note"),
        ({"criteria": {"Points": 1}, "action": "win"}, "field action"),
    ],
)
def test_nonsense_is_told_and_not_written(folder: Path, said: dict[str, Any], message: str) -> None:
    with desk(folder) as book:
        shown = book.card("ann")["card"]
        with pytest.raises(UserError, match=message):
            book.enter("ann", {"id": shown["id"], "action": "grade"} | said)
    assert (folder / "grades.jsonl").read_text() == ""


def test_people_and_records_beside_each_other(folder: Path) -> None:
    grade_all(folder, ben=1.0)
    found = graded(folder)
    assert (found.answers, found.graded, found.graders) == (12, 12, {"ann": 12, "ben": 12})
    [pair] = found.agreement
    assert (pair.first, pair.second, pair.n) == ("ann", "ben", 12)
    assert pair.difference.mean == pytest.approx(-1 / 4)
    assert pair.difference.clusters == 6, "two models' answers to one item are one cluster"
    # Ann's 1, 2, 3 against ben's 2, 3, 4: moved by one, chance squares are 4/3 + 1.
    assert pair.kappa.value == pytest.approx(1 - 1 / (4 / 3 + 1))
    # People's means 1.5, 2.5, 3.5 of 4 against 0, .5, 1.
    assert found.records is not None and found.records.n == 12
    assert found.records.difference.mean == pytest.approx(2.5 / 4 - 0.5)
    assert found.models["alpha"].mean == pytest.approx(2.5 / 4)
    alone = answers(folder.parent / f"{folder.name}-one")
    with desk(alone, overlap=0.0) as book:
        give(book, "ann", 2)
    few = graded(alone)
    assert few.agreement == () and few.graded == 1


def test_records_get_the_mean_of_their_grades(folder: Path) -> None:
    with desk(folder) as book:
        give(book, "ann", 1)
        shown = book.card("ann")["card"]["id"]
        give(book, "ann", 3, note="fine")
        while book.card("ben")["card"]["id"] != shown:
            book.enter("ben", {"id": book.card("ben")["card"]["id"], "action": "skip"})
        give(book, "ben", 4)
    found = Answers.read(folder).scored()
    scored = {one.score: one for one in found if one.score is not None}
    assert scored.keys() == {1 / 4, 3.5 / 4} and len(found) == 12
    assert scored[3.5 / 4].reason == Reason.OK
    told = scored[3.5 / 4].details["grades"]
    assert [(one["grader"], one["points"], one["note"]) for one in told] == [
        ("ann", 3.0, "fine"), ("ben", 4.0, "")
    ]  # fmt: skip
    waiting = [one for one in found if one.score is None]
    assert {one.reason for one in waiting} == {Reason.UNGRADED} and len(waiting) == 10
    path = folder / "graded.jsonl"
    path.write_text("".join(one.to_line() + "\n" for one in found))
    assert [one.to_line() for one in read_records(path)] == [one.to_line() for one in found]


def test_what_was_not_answered_is_not_graded(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    silent = record("q0", score=None, reason=Reason.NO_RESPONSE, answer=None)
    path.write_text(silent.to_line() + "\n" + record("q1").to_line() + "\n")
    with desk(path) as book:
        assert book.card("ann")["left"] == 1
        assert book.card("ann")["card"]["gold"] == ["Venus"]
        give(book, "ann", 2)
    first, second = Answers.read(path).scored()
    assert first.to_line() == silent.to_line() and second.score == 0.5
    assert graded(path).answers == 1


def test_nothing_to_grade_is_told(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no records"):
        Answers.read(tmp_path / "empty")
    with pytest.raises(UserError, match="no grades yet"):
        graded(folder)
