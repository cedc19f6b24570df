"""The suites by name; pictures and inverse scaling."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.worlds import bets, pictures
from foresight.worlds.inverse_suite import RUNS, inverse_suite
from foresight.worlds.picture_suite import ASIDE, PER_BUCKET, picture_suite
from foresight.worlds.suites import SUITES, suite


@pytest.mark.parametrize("name", sorted(SUITES))
def test_problems_are_well_formed_and_the_same_each_time(name: str) -> None:
    problems, again = suite(name), suite(name)
    assert len({one.id for one in problems}) == len(problems)
    assert all(one.id.startswith(f"{name}/") and one.group and one.family for one in problems)
    for one, other in zip(problems, again, strict=True):
        assert (one.id, one.solution, one.choices) == (other.id, other.solution, other.choices)
        assert one.passes(one.solution) and not one.passes("")
        if one.choices:
            assert one.answer is not None and one.solution == f"{one.choices[one.answer]}\n"
            assert all(choice.startswith(" ") for choice in one.choices)
            assert [one.passes(f"{choice}\nQ:") for choice in one.choices] == [
                at == one.answer for at in range(len(one.choices))
            ]


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(UserError, match="there are programs, pictures, inverse"):
        suite("poems")


def test_pictures_have_six_buckets_and_are_held_out() -> None:
    problems = picture_suite()
    counts = {**dict.fromkeys(range(6), PER_BUCKET), None: ASIDE}
    assert Counter(one.bucket for one in problems) == counts
    shown = [part.pixels for one in problems for part in one.parts if isinstance(part, Image)]
    assert len(shown) >= len(problems)
    # Not one of the corpus's own held-out questions either: those are another seed's.
    asked = {q.parts[0].pixels.tobytes() for q in pictures.questions(0, 300)}
    trained = {
        part.pixels.tobytes()
        for document in pictures.documents(0, 1500, "train")
        for part in document.parts
        if isinstance(part, Image)
    }
    own = {pixels.tobytes() for pixels in shown}
    assert not own & trained and len(own & asked) < 0.01 * len(own)


def test_every_hindsight_problem_went_against_its_odds() -> None:
    problems = [one for one in inverse_suite() if one.family == "hindsight"]
    assert len(problems) == 160
    assert sum(one.solution == " yes\n" for one in problems) == 80
    for one in problems:
        text = one.parts[0].text
        won = " wins " in text
        assert one.solution == (" no\n" if won else " yes\n")
    # What most documents teach a reader of outcomes is wrong in all of them.
    train = list(bets.documents(0, 500, "train"))
    lines = [line for document in train for line in document.text.splitlines()]
    right = sum((" wins " in line) == line.endswith("yes") for line in lines) / len(lines)
    assert right > 0.7
    asked = {one.parts[0].text for one in problems}
    assert not asked & {line.rpartition(" ")[0] for line in lines}


def test_memory_traps_are_balanced() -> None:
    """Who knows only how frequent the ends are is right in half; who remembers, never."""
    problems = [one for one in inverse_suite() if one.family == "memory traps"]
    assert len(problems) == len(RUNS) * (len(RUNS) - 1)
    ends = dict(RUNS)
    for order in range(20):
        rank = {
            end: at
            for at, end in enumerate(np.random.default_rng(order).permutation(list(ends.values())))
        }
        right = [
            max(range(2), key=lambda at, p=one: rank[p.choices[at]]) == one.answer
            for one in problems
        ]
        assert sum(right) == len(problems) / 2
    remembered = [one.choices.index(ends[one.group]) == one.answer for one in problems]
    assert not any(remembered)
    assert 0.4 < np.mean([one.answer for one in problems]) < 0.6
    assert all(isinstance(one.parts[0], Text) and one.solution.strip() in one.parts[0].text
               for one in problems)  # fmt: skip
