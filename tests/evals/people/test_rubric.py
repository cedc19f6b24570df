"""Rubrics as users write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.people.rubrics import Rubric, read_rubrics

CRITERIA = [
    {"name": "thesis", "points": 1, "text": "States one."},
    {"name": "evidence", "points": 4},
]


def test_a_number_is_a_scale() -> None:
    rubric = read_rubrics("6").of("anything")
    assert (rubric.max, rubric.criteria) == (6.0, ())
    assert [(one.name, one.points) for one in rubric.asked()] == [("Points", 6.0)]
    assert rubric.check({"Points": 4.5}) == 4.5


def test_a_file_has_criteria_that_add_up(tmp_path: Path) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text(json.dumps({"max": 5, "criteria": CRITERIA}))
    rubric = read_rubrics(str(path)).of("q")
    assert rubric.check({"thesis": 1, "evidence": 2.5}) == 3.5
    path.write_text(json.dumps(CRITERIA))
    assert read_rubrics(str(path)).of("q") == rubric, "the list alone: the maximum is its sum"


def test_items_have_their_own(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    rows = [
        {"id": "q0", "question": "Why?", "meta": {"rubric": CRITERIA}},
        {
            "id": "q1",
            "question": "How?",
            "meta": {"rubric": [{"criterion": "as the model grader"}]},
        },
        {"id": "q2", "question": "When?"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rubrics = read_rubrics(str(path))
    assert rubrics.of("q0").max == 5
    assert rubrics.of("q1").asked()[0].name == "as the model grader"
    with pytest.raises(UserError, match="item q2: has no rubric"):
        rubrics.of("q2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max: 6\ncriteria: [{name: a, points: 2}, {name: b}]", "add up to 3, max is 6"),
        ("[{name: a}, {name: a}]", "criterion 'a' occurs twice"),
        ("[{name: a, points: -1}]", r"field criteria.0.points: Input should be greater than 0"),
        ("[{points: 1}]", r"field criteria.0.name: missing"),
        ("[{name: a, weight: 2}]", r"field criteria.0.weight: unknown"),
        ("max: many", "field max: Input should be a valid number"),
        ("criteria: [{name: a}]", "field max: missing"),
        ("[]", "field"),
        ("just words", "field"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_name_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rubric.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_rubrics(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "nowhere.yaml"])
def test_no_rubric_at_all(text: str) -> None:
    with pytest.raises(UserError, match=text):
        read_rubrics(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thesis": 1}, "criteria: evidence; expected points for thesis, evidence"),
        ({"thesis": 1, "evidence": 1, "style": 1}, "criteria: style"),
        ({"thesis": 1.5, "evidence": 1}, "criterion thesis: 1.5 points; from 0 to 1"),
        ({"thesis": 1, "evidence": -0.5}, "criterion evidence: -0.5 points"),
        ({"thesis": 1, "evidence": float("nan")}, "criterion evidence: nan points"),
    ],
)
def test_points_are_checked(given: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rubric.model_validate(CRITERIA).check(given)
