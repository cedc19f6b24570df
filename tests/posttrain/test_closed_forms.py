"""The optimum is one: no other policy has a larger objective, and its value is the formula's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.posttrain.closed_forms import (
    best_value,
    calibration_after,
    objective,
    optimum,
)


@given(st.integers(0, 2**31), st.floats(0.02, 3))
def test_nothing_is_better_than_the_optimum(seed: int, beta: float) -> None:
    random = np.random.default_rng(seed)
    reference, other = random.dirichlet(np.ones(6), (2, 8))
    rewards = random.normal(size=(8, 6))
    best = optimum(reference, rewards, beta)
    assert np.allclose(best.sum(-1), 1)
    value = objective(best, reference, rewards, beta)
    assert np.allclose(value, best_value(reference, rewards, beta))
    for policy in (reference, other, 0.9 * best + 0.1 * other):
        assert (objective(policy, reference, rewards, beta) <= value + 1e-9).all()


def test_what_the_reference_never_says_stays_unsaid() -> None:
    best = optimum(np.array([0.5, 0.5, 0.0]), np.array([0.0, 1.0, 100.0]), 1.0)
    assert best[2] == 0 and best[1] == pytest.approx(np.e / (1 + np.e))


def test_answers_get_surer_the_smaller_beta() -> None:
    """A calibrated reference of .5, .3, .2: the design's numbers rise the same way."""
    truth = np.array([0.5, 0.3, 0.2])
    confidence = [calibration_after(truth, truth, beta)[0] for beta in (1e9, 1.0, 0.3, 0.1, 0.03)]
    assert confidence[0] == pytest.approx(0.5) and confidence == sorted(confidence)
    assert confidence[-1] > 0.99
