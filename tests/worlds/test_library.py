"""Facts about Python's library: true, told or not, and answered by no shortcut."""

from __future__ import annotations

import importlib
import re
from collections import Counter

import numpy as np
import pytest

from foresight.document import Image, Text
from foresight.worlds.drawing import COLOURS
from foresight.worlds.library import KINDS, choices, defined_in, documents, facts, is_told


def test_every_module_fact_is_true() -> None:
    for name, module in defined_in().items():
        assert callable(getattr(importlib.import_module(module), name))
    assert len(defined_in()) == 70


@pytest.mark.parametrize("kind", ["returns", "bug", "complete"])
def test_answers_are_what_python_says(kind: str) -> None:
    for fact in facts(1, kind, 60):
        if kind == "returns":
            call = fact.asked.split("does ")[1].split(" return?")[0]
            assert str(eval(call)) == fact.answer
        elif kind == "complete":
            space: dict[str, object] = {}
            exec(fact.asked + fact.answer + fact.tests, space)
            with pytest.raises((AssertionError, TypeError)):
                exec(fact.asked + "    return None\n" + fact.tests, space)
        else:
            right = eval(f"lambda x: {fact.answer}")
            trials = ([4, 1, 3], [2, 7], [5, 9, 6, 8])
            for other in fact.others:
                wrong = eval(f"lambda x: {other}")
                assert any(right(list(x)) != wrong(list(x)) for x in trials), (fact.answer, other)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_told_stands_in_no_document(kind: str) -> None:
    untold = list(facts(2, kind, 30, told=False))
    assert untold and all(not is_told(kind, fact.key) for fact in untold)
    training = "\n" + "".join(document.text for document in documents(0, 1500, "train"))
    for fact in untold:
        for told in fact.told:
            if kind != "table":  # the same words belong to another picture there
                assert f"\n{told}" not in training, told
        if kind in ("bug", "complete"):
            assert f'"""{fact.key}"""' not in training
    if kind in ("module", "bug", "complete"):
        found = [
            f'"""{fact.key}"""' in training or any(way in training for way in fact.told)
            for fact in facts(2, kind, 30, told=True)
        ]
        assert np.mean(found) > 0.9, "and what is told does"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "complete"])
def test_choices_are_four_and_the_answer_stands_anywhere(kind: str) -> None:
    rng = np.random.default_rng(0)
    places: Counter[int] = Counter()
    for fact in facts(4, kind, 200):
        shown, at = choices(rng, fact)
        assert len(set(shown)) == 4 and shown[at] == fact.answer
        places[at] += 1
    assert min(places.values()) > 0.15 * places.total()


def test_tables_hold_what_is_asked() -> None:
    for fact in facts(5, "table", 20):
        assert isinstance(fact.image, Image) and fact.image.pixels.shape == (16, 16, 3)
        row, column = (int(one) - 1 for one in re.findall(r"\d", fact.asked))
        seen = fact.image.pixels[8 * row + 4, 8 * column + 4].astype(int)
        nearest = min(COLOURS, key=lambda name: np.abs(seen - COLOURS[name]).sum())
        assert nearest == fact.answer
        assert fact.told[0][7:-2].split(", ")[row].split()[column] == fact.answer


def test_the_digits_of_a_call_do_not_give_its_answer_away() -> None:
    """Of a call that takes one of three items, all three are among the choices."""
    for fact in facts(6, "returns", 100):
        shown = {fact.answer, *fact.others}
        assert len(fact.others) == 3 and len(shown) == 4
        if fact.key.startswith(("max", "min", "[")):
            items = re.findall(r"\d+", fact.key.split("]")[0])
            assert set(items) <= shown


def test_documents_depend_on_seed_and_split_alone() -> None:
    first, again = list(documents(0, 40, "train")), list(documents(0, 60, "train"))
    assert [one.text for one in first] == [one.text for one in again[:40]]
    assert [one.text for one in documents(1, 40, "train")] != [one.text for one in first]
    texts = [one.text for one in documents(0, 200, "validation")]
    assert any(text.startswith("def ") for text in texts)
    for document in first:
        assert all(isinstance(part, Text | Image) for part in document.parts)
