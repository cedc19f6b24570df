"""Multiple choice, by log-probability and by writing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import Layout
from foresight.evals.protocols import Answer, ChoiceGenerate, ChoiceLogprob, Protocol
from foresight.evals.protocols.choice_generate import read_letter
from foresight.evals.record import Reason
from foresight.evals.task import Task
from foresight.inference.language_model import GenerateRequest, ScoreRequest
from tests.evals.models import Written, choice_items

TEXT = Layout(question="{question}", answers="choice")


def answers(protocol: Protocol, items: tuple[Item, ...], model: Written) -> list[Answer]:
    task = Task("t", items, protocol)
    found: dict[int, Answer] = {}
    attempts = [task.attempt(item) for item in items]
    protocol.ask(attempts, model, found.__setitem__)
    return [found[at] for at in range(len(items))]


def test_letters_are_scored_behind_the_options() -> None:
    model = Written(nats=lambda prompt, choice: {" A": -2.0, " B": -1.0, " C": -3.0}[choice])
    item = Item("x", (Text("Why?"),), ("p", "q", "r"), 1)
    (found,) = answers(ChoiceLogprob(), (item,), model)
    assert found.prompt == "Why?\nA. p\nB. q\nC. r\nAnswer:"
    assert (found.answer, found.score, found.choice_logprobs) == ("B", 1.0, (-2.0, -1.0, -3.0))


def test_each_normalisation_can_pick_another_option() -> None:
    item = Item("x", (Text("Why?"),), ("a b c d", "naïve", "abcdefghijkl", "zz"), 0)
    nats = {" a b c d": -4.0, " naïve": -3.0, " abcdefghijkl": -5.0, " zz": -3.1}
    alone = {" a b c d": -4.0, " naïve": -3.0, " abcdefghijkl": -5.0, " zz": -9.0}
    model = Written(
        nats=lambda prompt, choice: (alone if prompt == "Answer:" else nats)[choice],
    )
    picks = {}
    for how in ("plain", "per_token", "per_byte", "domain_conditional"):
        protocol = ChoiceLogprob(layout=TEXT, normalise=how)
        (found,) = answers(protocol, (item,), model)
        picks[how] = found.answer
        assert found.choice_logprobs == (-4.0, -3.0, -5.0, -3.1)
    # -4/4 tokens wins per token; -5/12 bytes per byte ("naïve" has 6 bytes); +5.9 for "zz".
    assert picks == {
        "plain": "B", "per_token": "A", "per_byte": "C", "domain_conditional": "D"
    }  # fmt: skip
    (found,) = answers(ChoiceLogprob(layout=TEXT), (item,), model)
    assert found.details["picks"] == {"plain": 1, "per_token": 0, "per_byte": 2}


def test_lengths_are_bytes_and_not_signs() -> None:
    item = Item("x", (Text("Why?"),), ("ééé", "abcdefghijkl"), 0)
    model = Written(nats=lambda prompt, choice: -1.6 if "é" in choice else -5.0)
    (found,) = answers(ChoiceLogprob(layout=TEXT, normalise="per_byte"), (item,), model)
    # -1.6 / 6 bytes is above -5 / 12; per sign it would be below.
    assert found.details["scores"] == [pytest.approx(-1.6 / 6), pytest.approx(-5 / 12)]
    assert found.answer == "A"


def test_the_premise_of_letters_is_scored_once() -> None:
    model = Written()
    answers(ChoiceLogprob(normalise="domain_conditional"), choice_items(50), model)
    premises = [
        one
        for one in model.requests
        if isinstance(one, ScoreRequest) and one.prompt == (Text("Answer:"),)
    ]
    assert len(premises) == 4


def test_a_missing_logprob_is_no_score() -> None:
    model = Written(nats=lambda prompt, choice: math.nan if choice == " C" else -1.0)
    (found,) = answers(ChoiceLogprob(), choice_items(1), model)
    assert (found.score, found.reason) == (None, Reason.NO_RESPONSE)
    assert found.details["error"] == "not answered"


def _teller(prompt: str, request: GenerateRequest) -> str:
    if prompt.endswith("["):
        return "B] and so on"
    return " Because of this.\nThe answer is therefore [C]"


def test_explanation_then_letter_as_the_report_has_it() -> None:
    model = Written(_teller)
    shot = Item("s", (Text("Is it?"),), ("yes", "no"), 0, meta={"solution": "It is."})
    item = Item("x", (Text("Why?"),), ("p", "q"), 1)
    task = Task("t", (item,), ChoiceGenerate(), {"": (shot,)})
    found: dict[int, Answer] = {}
    task.protocol.ask([task.attempt(item)], model, found.__setitem__)
    first, second = model.requests
    assert isinstance(first, GenerateRequest) and isinstance(second, GenerateRequest)
    assert (first.sampling.temperature, first.sampling.max_tokens) == (0.3, 512)
    assert first.sampling.stop == ("\nThe answer is therefore",)
    assert second.sampling.temperature == 0.0
    assert found[0].prompt == (
        "ANSWER KEY\n\nHere are the answers for the problems in the exam.\n\n"
        "Problem 1. Is it?\nChoose from the following options:\n[A] yes\n[B] no\n"
        "Explanation for Problem 1: It is.\nThe answer is therefore [A]\n\n"
        "Problem 2. Why?\nChoose from the following options:\n[A] p\n[B] q\n"
        "Explanation for Problem 2:"
    )
    assert isinstance(second.prompt[-1], Text)
    # The model's own letter ("C", behind the stop) does not count; it is asked for at t = 0.
    assert second.prompt[-1].text.endswith(" Because of this.\nThe answer is therefore [")
    assert found[0].output == " Because of this.\nThe answer is therefore [B]"
    assert (found[0].answer, found[0].score, found[0].reason) == ("B", 1.0, Reason.OK)


def test_examples_without_a_solution_have_no_gap() -> None:
    _, shot = choice_items(2)
    prefix = ChoiceGenerate().layout.prefix([shot])
    assert isinstance(prefix[0], Text)
    assert "Explanation for Problem 1:\nThe answer is therefore [" in prefix[0].text


@pytest.mark.parametrize(
    ("text", "letter"),
    [("B", "B"), (" B", "B"), ("B]", "B"), ("B.", "B"), ("", None), ("E", None), ("Both", None),
     ("b", None), ("1", None)],
)  # fmt: skip
def test_letters_are_read_strictly(text: str, letter: str | None) -> None:
    assert read_letter(text, "ABCD") == letter


def test_no_letter_is_a_zero_with_its_reason() -> None:
    model = Written(lambda prompt, request: "hm")
    (found,) = answers(ChoiceGenerate(), choice_items(1), model)
    assert (found.answer, found.score, found.reason) == (None, 0.0, Reason.INVALID_FORMAT)


def test_an_endpoint_that_gives_up_is_no_score() -> None:
    (found,) = answers(ChoiceGenerate(), choice_items(1), Written(finish="failed"))
    assert (found.score, found.reason) == (None, Reason.NO_RESPONSE)


def test_shuffled_options_come_back_in_the_items_order() -> None:
    """A model that finds the right text wherever it stands is right every time."""
    items = choice_items(40)
    gold = {item.text: item.choices[int(str(item.target))] for item in items}

    def knows(prompt: str, request: GenerateRequest) -> str:
        if not prompt.endswith("["):
            return " Known."
        question = next(text for text in gold if f" {text}\n" in prompt)
        line = next(one for one in prompt.splitlines() if one.endswith(gold[question]))
        return line[1]

    found = answers(ChoiceGenerate(shuffle_seed=1), items, Written(knows))
    assert all(one.score == 1.0 for one in found)
    assert {tuple(one.details["order"]) for one in found} != {(0, 1, 2, 3)}
    assert [one.answer for one in found] == ["ABCD"[int(str(item.target))] for item in items]
    again = answers(ChoiceGenerate(shuffle_seed=1), items, Written(knows))
    assert [one.details for one in again] == [one.details for one in found]


def test_a_constant_letter_scores_as_its_share_and_shuffling_undoes_a_biased_key() -> None:
    items = tuple(Item(f"q{n}", (Text(f"{n}?"),), ("r", "s", "t", "u"), 0) for n in range(200))
    always_a = Written(lambda prompt, request: "A")
    plain = answers(ChoiceGenerate(explanation_tokens=0), items, always_a)
    mixed = answers(ChoiceGenerate(explanation_tokens=0, shuffle_seed=3), items, always_a)
    assert sum(one.score or 0 for one in plain) == 200
    assert 30 <= sum(one.score or 0 for one in mixed) <= 70


@pytest.mark.parametrize("protocol", [ChoiceLogprob(), ChoiceGenerate()])
@pytest.mark.parametrize(
    "item",
    [
        Item("x", (Text("?"),), (), ("yes",)),
        Item("x", (Text("?"),), ("only",), 0),
        Item("x", (Text("?"),), tuple(map(str, range(27))), 0),
    ],
)
def test_items_that_are_no_multiple_choice_are_refused(protocol: Protocol, item: Item) -> None:
    with pytest.raises(UserError, match="item x"):
        Task("t", (item,), protocol)


@given(st.text(max_size=30), st.lists(st.text(max_size=10), min_size=2, max_size=5))
def test_braces_in_questions_stay(question: str, choices: list[str]) -> None:
    text = question + "{options}{category}{0}"
    item = Item("x", (Text(text),), tuple(choices), 0, meta={"category": "{question}"})
    layout = Layout(instruction="{category}!", question="{question}|{options}|")
    whole = "".join(part.text for part in layout.asked(item) if isinstance(part, Text))
    assert whole.startswith(text + "|A. " + choices[0])
    assert layout.prefix([], "{question}") == (Text("{question}!"),)


def test_a_layout_without_a_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        Layout(question="{options}")


def _hash(**changes: Any) -> str:
    item = {"id": "x", "parts": (Text("Why?"),), "choices": ("p", "q"), "target": 1} | changes
    shots = item.pop("shots", ())
    protocol = item.pop("protocol", ChoiceLogprob())
    return Task(item.pop("name", "t"), (Item(**item),), protocol, {"": shots}).hash


def test_the_hash_covers_what_decides_a_score_and_nothing_else() -> None:
    plain = _hash()
    changed = [
        _hash(id="y"),
        _hash(parts=(Text("Why not?"),)),
        _hash(choices=("p", "r")),
        _hash(target=0),
        _hash(group="g"),
        _hash(weight=2.0),
        _hash(meta={"rubric": 1}),
        _hash(shots=choice_items(1)),
        _hash(protocol=ChoiceLogprob(normalise="per_byte")),
        _hash(protocol=ChoiceLogprob(layout=Layout(question="{question}"))),
        _hash(protocol=ChoiceGenerate()),
        _hash(protocol=ChoiceGenerate(temperature=0.4)),
        _hash(protocol=ChoiceGenerate(shuffle_seed=0)),
    ]
    assert len({plain, *changed}) == len(changed) + 1
    assert _hash(name="other") == plain
    assert plain == GOLDEN, "prompts or settings changed: old records cannot be taken up"


GOLDEN = "91d1522e9ab6706b1638f28336af73a1f422e7eec0dd3d5b111a8ad539b7b4e4"
