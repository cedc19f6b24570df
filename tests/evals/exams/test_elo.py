"""The rating of programming contests against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from foresight.evals.exams.elo import contest_rating, equilibrium, expected_solved

LOW, HIGH = 0.0, 4000.0
PROBLEMS = st.lists(st.integers(800, 3500).map(float), min_size=2, max_size=8)


def expected(rating: float, problems: list[float]) -> float:
    """Elo's formula as it is written."""
    return sum(1 / (1 + 10 ** ((one - rating) / 400)) for one in problems)


@given(PROBLEMS, st.floats(0, 4000))
def test_expected_result(problems: list[float], rating: float) -> None:
    assert expected_solved(rating, problems) == pytest.approx(expected(rating, problems))


@given(PROBLEMS, st.data())
@settings(max_examples=25, deadline=None)
def test_updates_end_where_expected_is_actual(problems: list[float], data: st.DataObject) -> None:
    solved = data.draw(st.integers(1, len(problems) - 1))
    root = brentq(lambda r: expected(r, problems) - solved, -3000, 9000, xtol=1e-9)
    found = equilibrium(problems, solved, LOW, HIGH)
    assert found == pytest.approx(min(max(root, LOW), HIGH), abs=0.5)


@pytest.mark.parametrize("solved", [1, 2, 3, 4, 5])
def test_problems_of_one_rating(solved: int) -> None:
    closed = 1500 + 400 * math.log10(solved / (6 - solved))
    assert equilibrium([1500.0] * 6, solved, LOW, HIGH) == pytest.approx(closed, abs=1e-4)


def test_nothing_and_everything_have_no_equilibrium() -> None:
    assert equilibrium([900.0, 1200.0], 0, 7.0, 3000.0) == 7.0
    assert equilibrium([900.0, 1200.0], 2, 7.0, 3000.0) == 3000.0


def exact(problems: list[float], passed: list[float]) -> tuple[float, float]:
    """Mean and standard deviation of a simulation's rating: over all outcomes of the problems."""
    mean = square = 0.0
    for outcome in itertools.product((0, 1), repeat=len(problems)):
        chance = math.prod(p if hit else 1 - p for hit, p in zip(outcome, passed, strict=True))
        rating = equilibrium(problems, sum(outcome), LOW, HIGH)
        mean, square = mean + chance * rating, square + chance * rating**2
    return mean, math.sqrt(square - mean**2)


def test_the_simulation_approaches_its_expectation() -> None:
    problems, passed = [800.0, 1100.0, 1600.0, 1900.0, 2400.0, 2900.0], [0.9, 0.6, 0.3, 0.1, 0, 0]
    mean, sd = exact(problems, passed)
    n = 20_000
    found = contest_rating(problems, passed, n, seed=1)
    assert abs(found - mean) < 4 * sd / math.sqrt(n)
    # A hundred simulations, as in the report, are this far from it.
    hundred = [contest_rating(problems, passed, 100, seed) for seed in range(200)]
    assert np.std(hundred) == pytest.approx(sd / 10, rel=0.25)


def test_shares_that_are_swapped_would_show() -> None:
    """Outcomes follow the shares of each problem: with others the expectation is another."""
    problems = [800.0, 1100.0, 2900.0]
    mean, sd = exact(problems, [0.9, 0.9, 0.1])
    found = contest_rating(problems, [0.1, 0.1, 0.9], 2000, seed=1)
    assert abs(found - mean) > 10 * sd / math.sqrt(2000)


def test_same_seed_same_rating() -> None:
    some = [contest_rating([1000.0, 1500.0], [0.5, 0.5], 50, seed) for seed in (3, 3, 4)]
    assert some[0] == some[1] != some[2]
