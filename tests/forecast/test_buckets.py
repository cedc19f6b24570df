"""Difficulty buckets: halves that are independent, means that are unbiased."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from foresight.errors import UserError
from foresight.forecast.buckets import ASIDE, assign_buckets
from foresight.forecast.counts import Counts


def counts_of(passes: np.ndarray, samples: np.ndarray, marked: np.ndarray | None = None) -> Counts:
    problems, models = passes.shape
    none = np.zeros_like(passes)
    return Counts(
        tuple(map(str, range(problems))), tuple(map(str, range(models))),
        10.0 ** np.arange(18, 18 + models), passes, samples,
        none if marked is None else marked[0], none if marked is None else marked[1],
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 5))
def test_thinning_keeps_every_sample_once(seed: int, most: int, buckets: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, most + 1, (12, 4))
    passes = rng.binomial(samples, 0.8)
    made = None
    try:
        made = assign_buckets(counts_of(passes, samples), buckets, seed)
    except UserError as error:
        assert "buckets of" in str(error)
        return
    assert (made.passes >= 0).all() and (made.passes <= made.samples).all()
    assert (abs(2 * made.samples - samples) <= 1).all()
    assert ((passes - made.passes) <= (samples - made.samples)).all()
    sizes = np.bincount(made.of[made.of != ASIDE], minlength=1)
    assert sizes.max() - sizes.min() <= 1
    never = (passes - made.passes).sum(axis=1) == 0
    assert ((made.of == ASIDE) == never).all()


def test_the_halves_are_independent() -> None:
    """Binomial counts split by thinning do not correlate; split by sorting they would."""
    rng = np.random.default_rng(0)
    samples = np.full((4000, 5), 20)
    passes = rng.binomial(samples, 0.3)
    rest = assign_buckets(counts_of(passes, samples), 2).passes
    correlation = np.corrcoef(rest.ravel(), (passes - rest).ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(rest.size)
    # Negative control: the first half in order of success is not independent of the second.
    first = np.minimum(passes, 10)
    assert abs(np.corrcoef(first.ravel(), (passes - first).ravel())[0, 1]) > 0.1
    # Each half is binomial itself.
    expected = stats.binom.pmf(np.arange(11), 10, 0.3)
    seen = np.bincount(rest.ravel(), minlength=11) / rest.size
    assert abs(seen - expected).max() < 0.01


def test_shown_means_are_unbiased_and_naive_ones_are_not() -> None:
    naive, ours = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rate = np.exp(-np.exp(rng.normal(0.7, 0.5, (60, 1)) - 0.2 * np.arange(5.0)))
        samples = np.full(rate.shape, 4)
        passes = rng.binomial(samples, rate)
        made = assign_buckets(counts_of(passes, samples), 3, seed)
        order = np.argsort(-passes.sum(axis=1), kind="stable")
        for bucket, found in ((0, []), (2, [])):
            inside = np.flatnonzero(made.of == bucket)
            ours.append((bucket, (made.observed(inside) - rate[inside].mean(axis=0)).mean()))
            raw = order[:20] if bucket == 0 else order[-20:]
            found.append((passes[raw] / samples[raw]).mean() - rate[raw].mean())
            naive.append((bucket, found[0]))

    def mean(rows: list[tuple[int, float]], bucket: int) -> tuple[float, float]:
        values = np.array([value for of, value in rows if of == bucket])
        return float(values.mean()), float(values.std() / np.sqrt(len(values)))

    for bucket in (0, 2):
        bias, error = mean(ours, bucket)
        assert abs(bias) < 3.5 * error
    assert mean(naive, 0)[0] > 5 * mean(naive, 0)[1]  # the easiest look too easy
    assert mean(naive, 2)[0] < -5 * mean(naive, 2)[1]  # the hardest too hard


def test_marked_rows_do_the_assigning() -> None:
    samples = np.full((4, 3), 10)
    passes = np.tile([[5], [5], [5], [5]], 3)
    marked = np.tile([[0], [1], [9], [4]], 3)
    made = assign_buckets(counts_of(passes, samples, (marked, samples)), 3)
    assert made.of.tolist() == [ASIDE, 2, 0, 1]
    assert (made.passes == passes).all() and made.method == "marked rows"


def test_a_problem_that_only_large_models_tried_is_not_easy() -> None:
    """Difficulty is against the same models: without that, problem 0 would be the easiest."""
    marked = np.array([[0, 0, 7], [1, 4, 9], [0, 3, 8], [2, 5, 10]])
    tried = np.array([[0, 0, 10], [10, 10, 10], [10, 10, 10], [10, 10, 10]])
    made = assign_buckets(counts_of(marked, tried, (marked, tried)), 4)
    assert made.of.tolist() == [2, 1, 3, 0] or made.of[0] >= 2


def test_more_buckets_than_problems_is_refused() -> None:
    passes = np.full((4, 3), 5)
    with pytest.raises(UserError, match="6 buckets of 4 problems"):
        assign_buckets(counts_of(passes, passes * 2), 6)
    with pytest.raises(UserError, match="buckets: 0"):
        assign_buckets(counts_of(passes, passes * 2), 0)
