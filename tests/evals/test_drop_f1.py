"""DROP's score: worked cases of the official evaluator, and what must hold for any answer."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.document import Text
from foresight.evals.drop_f1 import DropF1, drop_scores, normalised, spans_of
from foresight.evals.graders import Graded
from foresight.evals.item import Item

WORDS = st.sampled_from(["red", "blue", "the", "a", "3", "3.0", "12,000", "x-ray", "Jan.", "of"])
SPANS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
ANSWERS = st.lists(SPANS, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("The Broncos", "broncos"),
        ("a well-known fact", "well known fact"),
        ("25", "25.0"),
        ("1,000", "1000.0"),
        ("-3", "3.0"),  # a hyphen parts words, even before a number
        ("$5.5 million", "55.0 million"),  # a dollar makes it a word, and its point goes
        ("5.5 million", "5.5 million"),
        ("Jan. 1st,  1990", "jan 1st 1990.0"),
        ("an", ""),
    ],
)
def test_spans_are_normalised_as_the_official_evaluator_does(written: str, same: str) -> None:
    assert normalised(written) == same


@pytest.mark.parametrize(
    ("predicted", "gold", "exact", "f1"),
    [
        (["Broncos"], ["the Broncos"], 1, 1.0),
        # One of two words right: P = 1/2, R = 1.
        (["Denver Broncos"], ["Broncos"], 0, 0.67),
        # Numbers of the gold span must be met, whatever else is.
        (["4 yards"], ["3 yards"], 0, 0.0),
        (["3"], ["3 yards"], 0, 0.67),
        # Without numbers in the gold span, they are words like others.
        (["3 yards"], ["yards"], 0, 0.67),
        # Order of spans does not matter, their number does.
        (["blue", "red"], ["red", "blue"], 1, 1.0),
        (["red"], ["red", "blue"], 0, 0.5),
        (["red", "red"], ["red", "blue"], 0, 0.5),
        # p q r - p (.5) and p q - p q (1): mean .75.
        (["p q", "p"], ["p q r", "p q"], 0, 0.75),
        # A repeated word counts once: bags are sets.
        (["very very good"], ["very good"], 0, 1.0),
        ([""], ["red"], 0, 0.0),
    ],
)
def test_worked_cases(predicted: list[str], gold: list[str], exact: int, f1: float) -> None:
    assert drop_scores(predicted, gold) == (exact, f1)


def test_the_alignment_is_optimal_and_not_greedy() -> None:
    """Taking the best pair first leaves nothing to the rest."""
    gold, predicted = ["p q", "p z"], ["p q", "q"]
    # p q - p q (1) and p z - q (0): mean .5; p q - q (.67) and p z - p q (.5): mean .58.
    assert drop_scores(predicted, gold)[1] == 0.58


@given(ANSWERS, ANSWERS)
def test_f1_is_the_best_of_all_alignments(predicted: list[str], gold: list[str]) -> None:
    n = max(len(predicted), len(gold))
    padded = [*predicted, *[None] * (n - len(predicted))]
    sides = [*gold, *[None] * (n - len(gold))]
    best = max(
        sum(
            _pair(mine, right)
            for mine, right in zip(order, sides, strict=True)
            if mine is not None and right is not None
        )
        for order in itertools.permutations(padded)
    )
    assert drop_scores(predicted, gold)[1] == pytest.approx(best / n, abs=0.006)


def _pair(mine: str, right: str) -> float:
    """F1 from precision and recall, as the paper words it."""
    bags = set(normalised(mine).split()), set(normalised(right).split())
    numbers = {one for one in bags[1] if one.replace(".", "").isdigit()}
    if numbers and not numbers & bags[0]:
        return 0.0
    shared = len(bags[0] & bags[1])
    precision = shared / len(bags[0]) if bags[0] else 1.0
    recall = shared / len(bags[1]) if bags[1] else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(ANSWERS, ANSWERS)
def test_exact_match_has_f1_one_and_scores_stay_in_range(a: list[str], b: list[str]) -> None:
    exact, f1 = drop_scores(a, b)
    # Spans that stand twice count twice in F1 and once in exact match: so in the official one.
    twice = len({normalised(one) for one in a}) < len(a)
    assert 0 <= f1 <= 1 and (exact == 0 or f1 == 1 or twice)
    assert drop_scores(a, a) == (1, 1)
    assert drop_scores(list(reversed(a)), b)[0] == exact


def test_the_grader_takes_the_best_annotator_and_tells_both_scores() -> None:
    item = Item("x", (Text("?"),), target=("red | blue", "green"))
    graded = [Graded(item, "", " blue | red\n"), Graded(item, "", "green house")]
    both, one = DropF1().grade(graded)
    assert (both.score, both.answer) == (1.0, "blue | red")
    assert (one.score, one.explanation) == (0.67, "exact match 0, F1 0.67")
    assert [v.score for v in DropF1(metric="exact_match").grade(graded)] == [1.0, 0.0]
    assert spans_of("a|b | c") == ["a", "b", "c"]
