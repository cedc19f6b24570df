"""Bradley-Terry strengths: closed forms, an independent optimum, coverage, what has no maximum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from foresight.evals.people.bradley_terry import ELO, BradleyTerry, Match, bradley_terry
from foresight.evals.statistics import t_quantile


def fit(matches: list[Match]) -> BradleyTerry:
    found = bradley_terry(matches)
    assert found is not None
    return found


def strengths(matches: list[Match]) -> dict[str, float]:
    return {one.model: one.strength for one in fit(matches).strengths}


def duel(wins: int, ties: int, losses: int) -> list[Match]:
    scores = [1.0] * wins + [0.5] * ties + [0.0] * losses
    return [Match("a", "b", score, at) for at, score in enumerate(scores)]


def test_two_models_have_a_closed_form() -> None:
    found = fit(duel(12, 6, 5))
    rate, n = 15 / 23, 23
    assert found.strengths[0].model == "a" and not found.unbounded
    assert found.strengths[0].strength == pytest.approx(special.logit(rate) / 2, abs=1e-9)
    assert found.strengths[0].elo == pytest.approx(ELO * special.logit(rate) / 2)
    # The sandwich of a mean: sum of squared residuals over n^2, by the slope of the logit.
    residuals = np.array([1.0] * 12 + [0.5] * 6 + [0.0] * 5) - rate
    se = math.sqrt(residuals @ residuals * n / (n - 1)) / n / (rate * (1 - rate)) / 2
    high = found.strengths[0].strength + t_quantile(n - 1) * se
    assert found.strengths[0].high == pytest.approx(high, abs=1e-9)


def test_repeated_votes_on_one_prompt_do_not_narrow_the_interval() -> None:
    single = duel(12, 6, 5)
    thrice = [one for one in single for _ in range(3)]
    apart = [Match(one.first, one.second, one.score, at) for at, one in enumerate(thrice)]
    width = [one.high - one.low for one in (fit(ms).strengths[0] for ms in (single, thrice, apart))
             if one.high is not None and one.low is not None]  # fmt: skip
    assert width[1] == pytest.approx(width[0], rel=1e-9)
    assert width[2] < 0.65 * width[0], "the control: taken for independent they would"


matches = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=20,
    max_size=60,
).map(
    lambda rows: [
        Match("wxyz"[a], "wxyz"[(a + step) % 4], score, at)
        for at, (a, step, score) in enumerate(rows)
    ]
)


@settings(max_examples=40, deadline=None)
@given(matches)
def test_it_is_the_maximum(some: list[Match]) -> None:
    found = bradley_terry(some)
    if found is None or found.unbounded:
        return
    names = sorted(one.model for one in found.strengths)

    def loss(free: np.ndarray) -> float:
        at = dict(zip(names, [0.0, *free], strict=True))
        gaps = np.array([at[one.first] - at[one.second] for one in some])
        scores = np.array([one.score for one in some])
        return -float(scores @ special.log_expit(gaps) + (1 - scores) @ special.log_expit(-gaps))

    best = optimize.minimize(loss, np.zeros(len(names) - 1), method="BFGS", options={"gtol": 1e-9})
    optimum = np.array([0.0, *best.x])
    ours = np.array([strengths(some)[name] for name in names])
    np.testing.assert_allclose(ours, optimum - optimum.mean(), atol=2e-5)
    turned = [Match(one.second, one.first, 1 - one.score, one.cluster) for one in some]
    assert strengths(turned) == pytest.approx(strengths(some), abs=1e-8)


def test_intervals_hold_what_they_promise() -> None:
    truth, inside = {"a": 0.8, "b": 0.1, "c": -0.9}, []
    random = np.random.default_rng(3)
    for _ in range(300):
        some = []
        for prompt in range(60):
            for first, second in (("a", "b"), ("b", "c"), ("a", "c")):
                p = special.expit(truth[first] - truth[second])
                some.append(Match(first, second, float(random.random() < p), prompt))
        inside += [
            one.low <= truth[one.model] <= one.high
            for one in fit(some).strengths
            if one.low is not None and one.high is not None
        ]
    assert 0.925 < np.mean(inside) < 0.975


def test_a_model_that_never_lost_is_told() -> None:
    found = fit(duel(20, 0, 0))
    assert found.unbounded
    # Haldane's logit: (20 + .5) / (20 + 1).
    assert found.strengths[0].strength == pytest.approx(math.log(20.5 / 0.5) / 2, abs=1e-9)
    assert found.strengths[0].low is not None and found.strengths[0].low < 1
    chain = [Match("a", "b", 1.0, 0), Match("b", "c", 0.5, 1), Match("a", "c", 1.0, 2)]
    assert fit(chain).unbounded and fit(chain).strengths[0].model == "a"
    assert not fit([*chain, Match("a", "c", 0.5, 3)]).unbounded


def test_parts_that_never_met_have_no_common_scale() -> None:
    assert bradley_terry([Match("a", "b", 0.5, 0), Match("c", "d", 1.0, 1)]) is None
    assert bradley_terry([]) is None
