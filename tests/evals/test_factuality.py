"""Factuality: questions of the user's, graded by people or by a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.evals.categories import graders_agree, read_series
from foresight.evals.journal import read_records
from foresight.evals.people.desk import Sharing
from foresight.evals.people.grading import Answers, GradeDesk
from foresight.evals.people.rubrics import read_rubrics
from foresight.evals.reading import read_task
from foresight.evals.record import Reason, Record
from foresight.evals.runner import run
from tests.evals.models import Written

ROWS: list[dict[str, Any]] = [
    {"id": "moon", "question": "Who walked there?", "category": "history",
     "answers": ["Armstrong"]},
    {"id": "boil", "question": "Water boils at?", "category": "science",
     "reference": "100 degrees"},
    {"id": "dose", "question": "Which dose?", "category": "science",
     "rubric": [{"criterion": "Names a doctor"}]},
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def judge(prompt: str, request: object) -> str:
    """Yes to what names Armstrong; to other questions the answer of the model under test."""
    if "Answer to be judged" not in prompt:
        return " Armstrong, I think." if "walked" in prompt else "Ask somebody."
    return "It does.\nYes" if "judged:\n Armstrong" in prompt else "No"


def graded_by(out: Path, *graders: tuple[str, list[float | None]]) -> list[Record]:
    """The records of a run, with what people gave to each on the page (None: skipped)."""
    answers = Answers.read(out)
    people = Sharing(tuple(name for name, _ in graders), 1.0)
    with GradeDesk(answers, read_rubrics("1"), people) as desk:
        for name, points in graders:
            of = dict(zip((one.prompt for one in answers.records), points, strict=True))
            while (shown := desk.card(name)["card"]) is not None:
                given = of[shown["prompt"]]
                said = {
                    "action": "skip" if given is None else "grade",
                    "criteria": {"Points": given},
                }
                desk.enter(name, {"id": shown["id"]} | said)
    write(out.with_suffix(".jsonl"), [json.loads(one.to_line()) for one in answers.scored()])
    return read_records(out.with_suffix(".jsonl"))


def test_people_grade_what_a_run_left_to_them(tmp_path: Path) -> None:
    write(tmp_path / "q.jsonl", ROWS)
    task, model, out = (
        read_task(f"factuality@{tmp_path / 'q.jsonl'}"),
        Written(judge),
        tmp_path / "o",
    )
    first = run(task, model, out)
    assert {one.reason for one in first} == {Reason.UNGRADED} and first[0].output
    # A second person disagrees about the first; nobody grades the third.
    second = graded_by(out, ("ann", [1, 0, None]), ("ben", [0, 0, None]))
    assert [one.score for one in second] == [0.5, 0.0, None]
    (series,) = read_series([tmp_path / "o.jsonl"])
    assert {name: one.mean for name, one in series.means.items()} == {"history": 0.5, "science": 0}
    assert series.unscored == 1 and series.chance is None
    asked = len(model.requests)
    assert run(task, model, out) == first and len(model.requests) == asked, "asked once"


def test_a_model_judges_and_its_agreement_with_people_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Written(judge)
    monkeypatch.setattr("foresight.evals.reading.open_model", lambda name: model)
    write(tmp_path / "q.jsonl", ROWS[:2])
    spec = "suite: factuality\npath: q.jsonl\nprotocol: {kind: free_response, temperature: 0"
    (tmp_path / "judged.yaml").write_text(spec + ", grader: {kind: model, model: judge}}\n")
    judged = run(read_task(str(tmp_path / "judged.yaml")), model, tmp_path / "judged")
    assert [one.score for one in judged] == [1.0, 0.0]
    asked = [one.prompt[0].text for one in model.requests]  # type: ignore[union-attr]
    assert any("known to be true:\n100 degrees\n" in one for one in asked)
    run(read_task(f"factuality@{tmp_path / 'q.jsonl'}"), model, tmp_path / "people")
    graded_by(tmp_path / "people", ("ann", [1, 1]))
    series = read_series([tmp_path / "judged", tmp_path / "people.jsonl"])
    (found,) = graders_agree(series)
    assert (found.n, found.same.mean) == (2, 0.5)
    assert [one.name for one in series] == [
        str(tmp_path / "judged"),
        str(tmp_path / "people.jsonl"),
    ]


def test_rubrics_are_for_the_rubric_grader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foresight.evals.reading.open_model", lambda name: Written(judge))
    write(tmp_path / "q.jsonl", ROWS)
    spec = "suite: factuality\npath: q.jsonl\nprotocol: {kind: free_response, grader: {kind: %s, "
    (tmp_path / "t.yaml").write_text(spec % "rubric" + "model: j}}\n")
    with pytest.raises(UserError, match=r"item moon: neither `meta\.rubric` nor"):
        read_task(str(tmp_path / "t.yaml"))
    (tmp_path / "t.yaml").write_text(spec % "model" + "model: j}}\n")
    with pytest.raises(UserError, match="item dose: the template true asks for ideal"):
        read_task(str(tmp_path / "t.yaml"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"category": "x", "answers": ["y"]}, "line 1, field question: missing"),
        ({"question": "x", "answers": ["y"]}, "line 1, field category: missing"),
        ({"question": "x", "category": "y"}, "line 1: give one of answers, reference, rubric"),
        (ROWS[0] | {"reference": "z"}, "line 1: give one of answers, reference, rubric"),
        (ROWS[0] | {"answers": "z"}, "line 1, field answers: 'z'; expected a list of texts"),
    ],
)
def test_broken_questions_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    write(tmp_path / "q.jsonl", [row])
    with pytest.raises(UserError, match=message):
        read_task(f"factuality@{tmp_path / 'q.jsonl'}")
