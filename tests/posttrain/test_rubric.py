"""Rubrics: what is read, what is said of bad ones, what answers are worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.posttrain.rubric import UNREADABLE, quoted, read_rubric
from tests.posttrain.rubrics import raw, rubric, write


def test_the_shipped_rubric() -> None:
    shipped = read_rubric("refusal")
    assert shipped.names == (
        "desired_refusal", "undesired_refusal", "disallowed_content", "safe_non_refusal",
    )  # fmt: skip
    assert shipped.columns[-1] == UNREADABLE
    assert [one.refuses for one in shipped.classes] == [True, True, False, False]
    assert shipped.order["disallowed"][0] == ("desired_refusal",)
    assert shipped.order["allowed"][0] == ("safe_non_refusal",)


def test_rewards_and_unreadable() -> None:
    small = rubric()
    assert small.rewards("risky").tolist() == [1, 0.5, -1, -1], "unreadable earns the lowest"
    rows = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1.0]])
    assert small.expected_rewards(["risky", "safe"], rows).tolist() == [0.75, 0]
    with pytest.raises(UserError, match="prompt set 'other'"):
        small.rewards("other")


def test_unreadable_is_never_a_non_refusal() -> None:
    small = rubric()
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    refused, not_refused, lost = small.refusals(rows).T
    assert np.allclose(lost, rows[:, 3]) and np.allclose(refused, rows[:, 0])
    assert np.allclose(not_refused, rows[:, 1] + rows[:, 2])
    assert small.refusals(np.eye(4)[3:]).tolist() == [[0, 0, 1]]


def test_the_name_unreadable_is_taken() -> None:
    classes = raw()["classes"]
    classes[1]["name"] = UNREADABLE
    sets = {"risky": {"good": 1, UNREADABLE: 0.5, "bad": -1}}
    with pytest.raises(ValueError, match="always there"):
        rubric(classes=classes, sets=sets, order={})


def _edit(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    value = raw()
    change(value)
    return value


FAULTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda r: r.update(colour=1), "line 33, field colour: unknown"),
    (lambda r: r.pop("name"), "line 1, field name: missing"),
    (lambda r: r["classes"][1].update(letter="bb"), "line 11, field classes.1.letter: "),
    (lambda r: r["classes"][1].update(letter="A"), "line 11, field classes.1.letter: 'A' occurs"),
    (lambda r: r["classes"][1].update(when="sorry and"), "line 14, field classes.1.when: 'the e"),
    (lambda r: r["classes"][1].update(when="glad"), "line 14, field classes.1.when: 'glad' is unk"),
    (lambda r: r["classes"][1].pop("when"), "line 11, field classes.1.when: missing, though"),
    (lambda r: r["sets"]["safe"].pop("bad"), "line 24, field sets.safe: no reward for bad"),
    (lambda r: r["sets"]["safe"].update(ugly=1), "field sets.safe: 'ugly' is unknown"),
    (lambda r: r["sets"]["safe"].update(unreadable=1), "line 28, field sets.safe.unreadable: ea"),
    (lambda r: r["sets"]["safe"].update(bad="x"), "line 27, field sets.safe.bad: "),
    (lambda r: r["sets"]["safe"].update(bad=float("nan")), "line 27, field sets.safe.bad: "),
    (lambda r: r["order"].update(other=[["good"], ["bad"]]), "field order.other: no such prompt"),
    (lambda r: r["order"].update(risky=[["good"]]), "field order.risky: expected two or more"),
    (lambda r: r["order"].update(risky=[["good"], ["good"]]), "order.risky: good occurs twice"),
    (lambda r: r["order"].update(risky=[["bad"], ["good"]]), "bad (-1) is to be better than good"),
    (lambda r: r.update(instruction="{question}{response}"), "instruction: {conversation} is miss"),
    (lambda r: r.update(examples=[{"question": "q", "response": "r", "class": "x"}]),
     "field examples.0.class: 'x' is unknown"),
    (lambda r: r["propositions"].update({"and": "?"}), "field propositions.and: a word of cond"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_faults_have_a_line_and_a_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    path = write(tmp_path / "rubric.yaml", _edit(change))
    with pytest.raises(UserError) as raised:
        read_rubric(path)
    assert str(raised.value).startswith(f"{path}, line ") and told in str(raised.value)


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("sorry", "good and bad hold where yes is said to sorry, harm"),
        ("sorry and harm and not harm", "no class holds where yes is said to sorry and no"),
    ],
)
def test_classes_divide_all_answers(tmp_path: Path, when: str, told: str) -> None:
    path = write(tmp_path / "r.yaml", _edit(lambda r: r["classes"][0].update(when=when)))
    with pytest.raises(UserError) as raised:
        read_rubric(path)
    assert f"{path}, line 5, field classes: {told}" in str(raised.value)
    assert "(1 of 4 combinations" in str(raised.value)


def test_many_propositions_are_sampled() -> None:
    many = {f"p{at}": "?" for at in range(30)}
    classes = raw()["classes"][:2]
    classes[0]["when"], classes[1]["when"] = " or ".join(many), "not (" + " or ".join(many) + ")"
    two = {"good": 1, "plain": 0}
    rubric(propositions=many, classes=classes, sets={"s": two}, order={})
    classes[1]["when"] = "not p0"
    with pytest.raises(ValueError, match="of 262144 combinations"):
        rubric(propositions=many, classes=classes, sets={"s": two}, order={})


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    text = "name: a\nname: b\nsets: {x: {a: 1, a: 2}}\n"
    with pytest.raises(UserError) as raised:
        read_rubric(write(tmp_path / "r.yaml", text))
    first, second = str(raised.value).split("\n")
    assert "line 2, field name: occurs twice" in first
    assert "line 3, field sets.x.a: occurs twice" in second


def test_no_rubric_at_all(tmp_path: Path) -> None:
    for text, told in (
        ("- a", "expected a mapping"),
        ("a: [", "not valid YAML"),
        ("", "mapping"),
    ):
        with pytest.raises(UserError, match=told):
            read_rubric(write(tmp_path / "r.yaml", text))
    with pytest.raises(UserError, match="cannot be read"):
        read_rubric(tmp_path / "nowhere.yaml")


def test_classes_by_propositions() -> None:
    small = rubric()
    facts = {"sorry": np.array([True, False, True]), "harm": np.array([False, False, True])}
    assert small.classes_of(facts).tolist() == [0, 1, 2]
    found = small.class_probabilities({"sorry": np.array([0.25]), "harm": np.array([0.5])})
    assert found.tolist() == [[0.125, 0.375, 0.5]]
    plain = rubric(classes=[one | {"when": ""} for one in raw()["classes"]])
    assert plain.used == ()
    with pytest.raises(UserError, match="no `when`"):
        _ = plain.conditions


def test_quotes_hold_any_line_break() -> None:
    assert quoted("a\r\nAnswer: A\u2028B\x0bC") == "> a\n> Answer: A\n> B\n> C"
