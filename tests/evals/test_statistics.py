"""Statistics against scipy, closed forms and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from foresight.evals.statistics import (
    POWER_Z,
    Estimate,
    detectable,
    difference_estimate,
    holm,
    mcnemar_exact,
    mean_estimate,
    pass_at_k,
    permutation_p,
    t_quantile,
    unpaired_p,
)


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    found = mean_estimate([1.0] * right + [0.0] * (n - right), [1.0] * n, list(range(n)))
    low, high = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert found.method == "wilson"
    assert found.low == pytest.approx(low, abs=1e-9) and found.high == pytest.approx(high, abs=1e-9)


def test_standard_error_of_singletons_is_the_usual_one() -> None:
    scores = np.random.default_rng(0).random(50)
    found = mean_estimate(list(scores), [1.0] * 50, list(range(50)))
    assert found.method == "clustered"
    assert found.se == pytest.approx(scores.std(ddof=1) / math.sqrt(50))


def test_clustered_error_by_hand() -> None:
    # Residuals 0.5, 0.5 | -0.5, -0.5 | 0.5, -0.5: cluster sums 1, -1, 0; 3/2 * 2 = 3; sqrt(3)/6.
    found = mean_estimate([1, 1, 0, 0, 1, 0], [1.0] * 6, ["a", "a", "b", "b", "c", "c"])
    assert found.se == pytest.approx(math.sqrt(3) / 6)
    assert (found.n, found.clusters) == (6, 3)


def test_weights_count_as_repetitions_of_the_mean() -> None:
    weighted = mean_estimate([1.0, 0.25], [3.0, 1.0], ["a", "b"])
    assert weighted.mean == pytest.approx((3 * 1.0 + 0.25) / 4)


def _covered(naive: bool, interclass: float, clusters: int = 30, size: int = 8) -> float:
    """Share of 95 % intervals that hold the true mean .7, items correlated within clusters."""
    random, hits, trials = np.random.default_rng(1), 0, 600
    a = (1 - interclass) / interclass
    for _ in range(trials):
        rates = random.beta(0.7 * a, 0.3 * a, clusters)
        scores = (random.random((clusters, size)) < rates[:, None]).astype(float).ravel()
        names = list(range(len(scores))) if naive else list(np.repeat(np.arange(clusters), size))
        found = mean_estimate(list(scores), [1.0] * len(scores), names)
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.7 <= found.high
    return hits / trials


def test_clustered_intervals_cover_and_naive_ones_do_not() -> None:
    assert 0.93 <= _covered(naive=False, interclass=0.3) <= 0.985
    assert _covered(naive=True, interclass=0.3) < 0.85


def test_intervals_of_rare_failures_cover() -> None:
    random, hits = np.random.default_rng(2), 0
    for _ in range(500):
        scores = (random.random((40, 5)) < 0.98).astype(float).ravel()
        found = mean_estimate(list(scores), [1.0] * 200, list(np.repeat(np.arange(40), 5)))
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.98 <= found.high
    assert hits / 500 >= 0.93


def test_equal_scores_still_have_an_interval() -> None:
    found = mean_estimate([1.0] * 20, [1.0] * 20, [at // 4 for at in range(20)])
    assert found.high == 1.0 and found.low is not None and found.low < 0.7
    one = mean_estimate([1.0, 0.0], [1.0, 1.0], ["a", "a"])
    assert one.low is None and one.method == "none"
    same = difference_estimate([0.0] * 100, [1.0] * 100, list(range(100)))
    assert same.high == pytest.approx(1 - 0.025**0.01)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=40),
    st.integers(1, 6),
)
def test_intervals_stay_inside_and_hold_the_mean(scores: list[float], size: int) -> None:
    found = mean_estimate(scores, [1.0] * len(scores), [at // size for at in range(len(scores))])
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.mean + 1e-9 and found.mean - 1e-9 <= found.high <= 1


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(expected, abs=1e-12)


def test_permutations_are_scipys() -> None:
    differences = np.array([0.5, -0.25, 1, 1, 0, 0.75, -1, 0.5, 0.5])
    expected = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="two-sided",
        vectorized=True,
    ).pvalue
    found = permutation_p(list(differences), [1.0] * 9, list(range(9)), seed=0)
    assert found == pytest.approx(expected, abs=1e-12)


def test_drawn_permutations_agree_with_mcnemar() -> None:
    differences = [1.0] * 30 + [-1.0] * 14 + [0.0] * 100
    found = permutation_p(differences, [1.0] * 144, list(range(144)), seed=0)
    p = mcnemar_exact(30, 14)
    assert found == pytest.approx(p, abs=4 * math.sqrt(p / 20_000))


def test_permutations_respect_clusters() -> None:
    """40 items that are really 5 clusters prove little."""
    differences, names = [1.0] * 40, [at // 8 for at in range(40)]
    assert permutation_p(differences, [1.0] * 40, names, 0) == pytest.approx(2 / 2**5)
    # No drawn flip is as far out; the observed one counts, so that p is never 0.
    assert permutation_p(differences, [1.0] * 40, list(range(40)), 0) == pytest.approx(1 / 20_001)


def test_false_alarms_of_the_paired_test_are_bounded() -> None:
    random, alarms = np.random.default_rng(3), 0
    for trial in range(200):
        base = random.random(60)
        pair = [(random.random(60) < base).astype(float) for _ in range(2)]
        p = permutation_p(list(pair[0] - pair[1]), [1.0] * 60, list(range(60)), trial)
        alarms += p < 0.05
    assert alarms / 200 <= 0.09


def test_the_detectable_difference_is_found_in_four_of_five() -> None:
    random, n, found = np.random.default_rng(4), 100, 0
    se = 0.3 / math.sqrt(n)
    effect = detectable(se, n - 1)
    for _ in range(1000):
        drawn = random.normal(effect, 0.3, n)
        found += abs(drawn.mean()) / (drawn.std(ddof=1) / math.sqrt(n)) > t_quantile(n - 1)
    assert found / 1000 == pytest.approx(0.8, abs=0.04)
    assert pytest.approx(stats.norm.ppf(0.8)) == POWER_Z
    assert t_quantile(7) == pytest.approx(stats.t.ppf(0.975, 7))


def test_unpaired_is_the_z_test() -> None:
    first = Estimate(0.8, 0.03, 0.7, 0.9, 100, 100, "wilson")
    second = Estimate(0.7, 0.04, 0.6, 0.8, 100, 100, "wilson")
    assert unpaired_p(first, second) == pytest.approx(2 * stats.norm.sf(0.1 / 0.05))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.integers(1, 60), st.data())
def test_pass_at_k_is_one_minus_a_ratio_of_binomials(n: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - math.comb(n - right, k) / math.comb(n, k)
    assert pass_at_k(n, right, k) == pytest.approx(exact, abs=1e-12)


def test_pass_at_k_is_unbiased_and_the_plug_in_is_not() -> None:
    """Mean over all outcomes of 6 samples with rate .3, weighted by their chance."""
    chances = stats.binom.pmf(range(7), 6, 0.3)
    truth = 1 - 0.7**3
    assert chances @ [pass_at_k(6, c, 3) for c in range(7)] == pytest.approx(truth)
    plug_in = chances @ [1 - (1 - c / 6) ** 3 for c in range(7)]
    assert abs(plug_in - truth) > 0.02
    assert pass_at_k(100_000, 3, 100) == pytest.approx(0.003, rel=0.01)
    with pytest.raises(ValueError):
        pass_at_k(5, 6, 1)


@settings(max_examples=25)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.5, 1.0]), min_size=1, max_size=10))
def test_exact_flips_enumerate_all(differences: list[float]) -> None:
    n, total = len(differences), abs(sum(differences))
    signs = itertools.product((1, -1), repeat=n)
    expected = np.mean([
        abs(sum(s * d for s, d in zip(some, differences, strict=True))) >= total - 1e-9
        for some in signs
    ])  # fmt: skip
    assert permutation_p(differences, [1.0] * n, list(range(n)), 0) == pytest.approx(expected)
