"""What may be concluded from scores: intervals, paired tests, pass@k.

Scores lie in [0, 1]. Every interval is at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from foresight.evals.record import Record, cluster
from foresight.forecast.coverage import wilson

Floats = NDArray[np.float64]
POWER_Z = 0.8416212335729143
"""Normal quantile of 80 %."""
EXACT_FLIPS = 12
"""Up to so many clusters that differ, all sign flips are enumerated."""
FLIPS = 20_000
"""Sign flips drawn beyond that."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and 95 % interval; None where one cluster tells no error."""

    mean: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    method: Literal["wilson", "clustered", "none"]


def t_quantile(degrees: int, p: float = 0.975) -> float:
    """Quantile of Student's t."""
    return float(special.stdtrit(degrees, p))


def mean_estimate(
    scores: Sequence[float], weights: Sequence[float] | float, clusters: Sequence[Hashable]
) -> Estimate:
    """Weighted mean of scores in [0, 1]; one weight is that of all.

    Independent equally weighted 0/1 scores: Wilson. Otherwise the standard error adds residuals up
    within clusters (Liang and Zeger 1986; Miller 2024), and the interval is Wilson's with the
    sample size that would give this error and Student's t of clusters - 1 (Dean and Pagano 2015):
    it stays inside [0, 1] and does not shrink to nothing when all scores are equal.
    """
    values = np.asarray(scores, float)
    share = np.broadcast_to(np.asarray(weights, float), values.shape)
    n, groups = len(values), len(set(clusters))
    if n == 0 or share.sum() <= 0:
        raise ValueError("no scores with a weight")
    mean = float(values @ share / share.sum())
    if groups == n and np.isin(values, (0.0, 1.0)).all() and np.ptp(share) == 0:
        se = math.sqrt(mean * (1 - mean) / n)
        return Estimate(mean, se, *wilson(mean * n, n), n, n, "wilson")
    if groups < 2:
        return Estimate(mean, None, None, None, n, groups, "none")
    se = _cluster_se(values - mean, share, clusters)
    # No design makes n items worth more than n; equal scores say no more than their clusters.
    spread = mean * (1 - mean)
    effective = min(max(spread / se**2, 1.0), float(n)) if se > 1e-12 else float(groups)
    low, high = wilson(mean * effective, effective, t_quantile(groups - 1))
    return Estimate(mean, se, max(low, 0.0), min(high, 1.0), n, groups, "clustered")


def mean_of(records: Sequence[Record]) -> Estimate:
    """Weighted mean score of those records that have one, by cluster."""
    scored = [one for one in records if one.score is not None]
    return mean_estimate(
        [one.score for one in scored if one.score is not None],
        [one.weight for one in scored],
        [cluster(one) for one in scored],
    )


def difference_estimate(
    differences: Sequence[float], weights: Sequence[float], clusters: Sequence[Hashable]
) -> Estimate:
    """Weighted mean of paired differences in [-1, 1], with Student's t interval over clusters.

    Where all clusters differ alike, the interval reaches as far as a share of other clusters could
    be without one of them having been seen (rate 1 - .025^(1/clusters)).
    """
    values, share = np.asarray(differences, float), np.asarray(weights, float)
    n, groups = len(values), len(set(clusters))
    mean = float(values @ share / share.sum())
    if groups < 2:
        return Estimate(mean, None, None, None, n, groups, "none")
    se = _cluster_se(values - mean, share, clusters)
    half = t_quantile(groups - 1) * se if se > 1e-12 else 1.0 - 0.025 ** (1.0 / groups)
    return Estimate(mean, se, max(mean - half, -1.0), min(mean + half, 1.0), n, groups, "clustered")


def _cluster_se(residuals: Floats, weights: Floats, clusters: Sequence[Hashable]) -> float:
    sums = _cluster_sums(residuals * weights, clusters)
    groups = len(sums)
    return float(np.sqrt(groups / (groups - 1) * (sums @ sums)) / weights.sum())


def cluster_codes(clusters: Sequence[Hashable]) -> NDArray[np.intp]:
    """Clusters numbered from 0 in the order in which they occur."""
    codes: dict[Hashable, int] = {}
    return np.array([codes.setdefault(cluster, len(codes)) for cluster in clusters], np.intp)


def _cluster_sums(values: Floats, clusters: Sequence[Hashable]) -> Floats:
    sums: Floats = np.bincount(cluster_codes(clusters), weights=values).astype(float)
    return sums


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p of equal error rates, from the items that just one of the two has right
    (McNemar 1947, with the binomial distribution instead of chi-square)."""
    n = only_first + only_second
    if n == 0:
        return 1.0
    return min(1.0, 2.0 * float(special.bdtr(min(only_first, only_second), n, 0.5)))


def permutation_p(
    differences: Sequence[float], weights: Sequence[float], clusters: Sequence[Hashable], seed: int
) -> float:
    """Two-sided p that the mean difference is zero, by flipping the signs of whole clusters
    (Fisher 1935): all flips of up to 12 clusters that differ, else 20,000 drawn ones, where the
    observed one counts among them."""
    sums = _cluster_sums(np.asarray(differences, float) * np.asarray(weights, float), clusters)
    sums = sums[np.abs(sums) > 1e-12]
    if len(sums) == 0:
        return 1.0
    observed = abs(sums.sum()) - 1e-9
    if len(sums) <= EXACT_FLIPS:
        flips = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float((np.abs((1.0 - 2.0 * flips) @ sums) >= observed).mean())
    random, hits = np.random.default_rng(seed), 0
    for _ in range(FLIPS // 1000):
        signs = random.integers(0, 2, (1000, len(sums)), dtype=np.int8) * 2.0 - 1.0
        hits += int((np.abs(signs @ sums) >= observed).sum())
    return (hits + 1) / (FLIPS + 1)


def detectable(se: float, degrees: int) -> float:
    """Smallest true difference that a two-sided 5 % test finds with 80 % power."""
    return (t_quantile(degrees) + POWER_Z) * se


def unpaired_p(first: Estimate, second: Estimate) -> float | None:
    """Two-sided p of the z test that takes the two sets for independent samples."""
    if first.se is None or second.se is None:
        return None
    se = math.hypot(first.se, second.se)
    if se == 0:
        return 1.0 if first.mean == second.mean else 0.0
    return float(2.0 * special.ndtr(-abs(first.mean - second.mean) / se))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several tests, adjusted so that the chance of any false alarm is bounded
    (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def pass_at_k(n: int, right: int, k: int) -> float:
    """Unbiased chance that one of k samples is right, from n samples of which `right` are:
    1 - C(n - c, k) / C(n, k), as a product that cannot overflow (Chen et al. 2021)."""
    if not 1 <= k <= n or not 0 <= right <= n:
        raise ValueError(f"pass@{k} of {n} samples with {right} right")
    if n - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / at for at in range(n - right + 1, n + 1))
