"""Rolling back-tests of the pass-rate law, and the stretch that they ask for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.forecast.capability_backtest import (
    STRETCH,
    HiddenRung,
    backtests,
    stretch_of,
    stretched,
)
from foresight.forecast.counts import Counts
from foresight.forecast.pass_law import PassPosterior, fit_pass_law


def ladder(seed: int, jump: float = 0.0, rungs: int = 5, models: int = 2) -> Counts:
    """Exact power laws of 24 problems by two models of each rung; from the fourth rung on the
    exponent is greater by `jump`."""
    rng = np.random.default_rng(seed)
    compute = np.repeat(10 ** np.linspace(10, 13, rungs), models)
    u = np.log(compute / compute[0])
    knee = float(np.log(10) * 2.0)
    level = rng.normal(1.6, 0.5, 24)
    eta = level[:, None] - 0.2 * u - jump * np.maximum(u - knee, 0)
    eta += 0.03 * rng.standard_normal(len(u))
    passes = rng.binomial(60, np.exp(-np.exp(eta)))
    none = np.zeros_like(passes)
    return Counts(
        tuple(map(str, range(24))), tuple(map(str, range(len(u)))), compute, passes,
        np.full_like(passes, 60), none, none,
    )  # fmt: skip


def fit(counts: Counts) -> PassPosterior:
    return fit_pass_law(counts.passes.astype(float), counts.samples.astype(float), counts.compute)


def test_a_ladder_that_keeps_to_its_law_is_not_stretched_and_one_that_jumps_is() -> None:
    straight = backtests(ladder(0), fit, 0)
    assert [(rung.models, round(rung.ratio, 1)) for rung in straight] == [(2, 5.6), (2, 5.6)]
    assert stretch_of(straight) < 1.3
    broken = backtests(ladder(0, jump=0.6), fit, 0)
    # Better than forecast, all thirds.
    assert all(z < -1 for z in broken[0].z)
    assert stretch_of(broken) > 1.5 * stretch_of(straight)


def test_three_rungs_below_at_least() -> None:
    assert len(backtests(ladder(0, rungs=4), fit, 0)) == 1
    assert backtests(ladder(0, rungs=3), fit, 0) == ()
    assert stretch_of(()) == 1.0


def rung(*z: float) -> HiddenRung:
    return HiddenRung(1e12, 3, 2.0, z)


def test_the_factor_by_hand_and_within_bounds() -> None:
    # (2 + 1 + 9) / (2 + 2) = 3
    assert stretch_of((rung(1, 1, -1), rung(3, 3, -3))) == pytest.approx(np.sqrt(3))
    assert stretch_of((rung(0, 0, 0),)) == STRETCH[0]
    assert stretch_of((rung(50, 50, 50),)) == STRETCH[1]


@settings(max_examples=30, deadline=None)
@given(factor=st.floats(0.9, 4.0), seed=st.integers(0, 1000))
def test_only_what_problems_have_in_common_is_stretched(factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = 0.3 * rng.standard_normal((400, 1)) + 0.2 * rng.standard_normal((400, 30))
    inside = np.arange(20)
    found = np.log(-stretched(-np.exp(x), inside, factor))
    common = x[:, inside] - np.median(x[:, inside], axis=0)
    expected = x + (factor - 1) * common.mean(axis=1, keepdims=True)
    assert found == pytest.approx(expected, abs=1e-9)
    # Rates stay rates, also of problems that are always solved.
    assert (stretched(np.zeros((5, 3)), np.arange(3), factor) <= 0).all()
