"""Which substrings stand for a question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.contamination.questions import (
    Plan,
    Question,
    Settings,
    draw,
    normalised,
    read_questions,
)


def question(text: str, name: str = "q") -> Question:
    return Question("task", name, text)


@given(st.text(max_size=300), st.integers(0, 5))
def test_substrings_are_of_the_text_and_of_the_length(text: str, seed: int) -> None:
    settings = Settings(seed=seed)
    letters = normalised(text, False)
    drawn = draw(question(text), settings)
    assert all(one in letters for one in drawn) and len(set(drawn)) == len(drawn) <= 3
    if len(letters) < 8:
        assert drawn == []
    elif len(letters) <= 50:
        assert drawn == [letters]
    else:
        assert {len(one) for one in drawn} == {50}


def test_what_is_drawn_depends_on_seed_task_and_item_alone() -> None:
    text = "a question of many words " * 10
    first = draw(question(text), Settings())
    assert len(first) == 3 and draw(question(text), Settings()) == first
    assert draw(question(text), Settings(seed=1)) != first
    assert draw(question(text, "other"), Settings()) != first
    assert draw(replace(question(text), task="other"), Settings()) != first


def test_places_are_uniform() -> None:
    text = "".join(chr(0x4E00 + at) for at in range(99))  # 50 places, each letter once
    places = [
        text.index(one)
        for number in range(2000)
        for one in draw(question(text, str(number)), Settings())
    ]
    assert len(places) == 6000 and set(places) == set(range(50))
    counts = [places.count(place) for place in range(50)]
    # Chi-square with 49 degrees of freedom: 85.4 at p = .001.
    assert sum((count - 120) ** 2 / 120 for count in counts) < 85.4


def test_short_questions_of_mmlu(shared_data: Path) -> None:
    some = read_questions([f"mmlu@{shared_data / 'evals' / 'mmlu'}"])
    lengths = [len(normalised(one.text, False)) for one in some]
    assert len(some) == 14042
    # 18.6 % of the test part; 18.7 % with the parts for development and validation.
    assert sum(length < 50 for length in lengths) == 2618
    assert sum(length < 8 for length in lengths) == 9


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": 1, "text": "one"}\n{"id": "b", "text": "two"}\n')
    assert read_questions([str(path)]) == (
        Question("mine", "1", "one"),
        Question("mine", "b", "two"),
    )
    with pytest.raises(UserError, match="two tasks have the name mine"):
        read_questions([str(path), str(path)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no items"),
        ('{"id": 1}\n', "line 1, field text: missing"),
        ('{"id": 1, "text": 5}\n', "line 1, field text: 5; expected a text"),
        ('{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', "item id '1' occurs twice"),
        ("nonsense\n", "line 1: not valid JSON"),
    ],
)
def test_wrong_items_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_questions([str(path)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 7},
        {"substrings": 0},
        {"shortest": 60},
        {"ngram": 1},
        {"near": 1.5},
        {"places": 0},
    ],
    ids=json.dumps,
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_the_hash_covers_questions_and_settings() -> None:
    plan = Plan((question("text"),), Settings())
    others = [
        Plan((question("texts"),), Settings()),
        Plan((question("text", "r"),), Settings()),
        Plan((question("text"),), Settings(fold=True)),
    ]
    assert plan.sha256 not in {other.sha256 for other in others}
