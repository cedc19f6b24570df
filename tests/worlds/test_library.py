"""Facts about Python's library: true, told or not, and answered by no shortcut."""

from __future__ import annotations

import importlib
from collections import Counter

import numpy as np
import pytest

from foresight.document import Image, Text
from foresight.worlds.library import KINDS, choices, defined_in, documents, facts, is_told


def test_every_module_fact_is_true() -> None:
    for name, module in defined_in().items():
        assert callable(getattr(importlib.import_module(module), name))
    assert len(defined_in()) > 100


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


def test_no_question_is_written_like_a_document() -> None:
    training = "".join(document.text for document in documents(0, 1500, "train"))
    for kind in ("module", "returns", "table"):
        assert not any(fact.asked in training for fact in facts(3, kind, 40))


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
        assert isinstance(fact.image, Image) and fact.image.pixels.shape == (24, 24, 3)
        listed = dict(row.split(" ", 1) for row in fact.told[2][7:-2].split("; "))
        row, column = fact.asked.split("the ")[1].split(" row, ")
        assert listed[row].split()[column.startswith("second")] == fact.answer


def test_documents_depend_on_seed_and_split_alone() -> None:
    first, again = list(documents(0, 40, "train")), list(documents(0, 60, "train"))
    assert [one.text for one in first] == [one.text for one in again[:40]]
    assert [one.text for one in documents(1, 40, "train")] != [one.text for one in first]
    texts = [one.text for one in documents(0, 200, "validation")]
    assert any(text.startswith("def ") for text in texts)
    for document in first:
        assert all(isinstance(part, Text | Image) for part in document.parts)
