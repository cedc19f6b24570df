"""How far people agree: Krippendorff's alpha, weighted kappa, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from foresight.evals.statistics import (
    Estimate,
    Floats,
    cluster_codes,
    difference_estimate,
    mean_estimate,
)

DRAWS = 2000


@dataclass(frozen=True)
class Coefficient:
    """1: agreement without exception; 0: as by chance. None where all values are equal, interval
    None where it cannot be told. Interval at 95 %: percentiles of clusters drawn again."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Agreed:
    """Of things that two or more people judged. `same`: share of pairs of people who said the
    same; `alpha`: Krippendorff's."""

    n: int
    same: Estimate
    alpha: Coefficient


@dataclass(frozen=True)
class Beside:
    """Two graders on the same things, scores in [0, 1]: share of equal scores, quadratic weighted
    kappa (of scores 0 and 1 that is Cohen's), and the mean difference first - second."""

    first: str
    second: str
    n: int
    same: Estimate
    kappa: Coefficient
    difference: Estimate


def agreed(units: Sequence[Sequence[float]], clusters: Sequence[Hashable]) -> Agreed | None:
    """Of values in [0, 1], those of each unit by different people, who need not be the same from
    unit to unit. None if no unit has two."""
    several = [
        (unit, cluster) for unit, cluster in zip(units, clusters, strict=True) if len(unit) > 1
    ]
    if not several:
        return None
    kept, of = [unit for unit, _ in several], [cluster for _, cluster in several]
    same = [float(np.mean([a == b for a, b in combinations(unit, 2)])) for unit in kept]
    return Agreed(len(kept), mean_estimate(same, 1.0, of), alpha(kept, of))


def alpha(units: Sequence[Sequence[float]], clusters: Sequence[Hashable]) -> Coefficient:
    """Krippendorff's alpha with squared differences as distance (the interval scale): a tie, .5,
    lies between a win and a loss (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").
    Units with one value say nothing and are left out."""
    values = sorted({value for unit in units for value in unit})
    distance = np.subtract.outer(values, values) ** 2
    pairs = np.zeros((len(units), len(values), len(values)))
    for at, unit in enumerate(units):
        if len(unit) > 1:
            counts = np.array([unit.count(value) for value in values], float)
            pairs[at] = (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)

    def of(weights: Floats) -> Floats:
        coincidences = np.tensordot(weights, pairs, 1)
        totals = coincidences.sum(-1)
        n = totals.sum(-1)
        expected = np.einsum("dv,vw,dw->d", totals, distance, totals) / (n * (n - 1))
        found: Floats = 1 - (coincidences * distance).sum((1, 2)) / n / expected
        return found

    return _bootstrap(of, clusters)


def beside(
    names: tuple[str, str],
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
) -> Beside:
    """Two graders of the same things, values in [0, 1]."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    equal = [float(one == 0) for one in differences]
    return Beside(
        *names,
        len(differences),
        mean_estimate(equal, 1.0, clusters),
        weighted_kappa(first, second, clusters),
        difference_estimate(differences, [1.0] * len(equal), clusters),
    )


def weighted_kappa(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable]
) -> Coefficient:
    """Kappa with squared differences as weights (Cohen 1968): 1 - mean (x - y)^2 over its mean if
    every x met every y. From moments, so values need no categories."""
    x, y = np.asarray(first, float), np.asarray(second, float)
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)

    def of(weights: Floats) -> Floats:
        n, sx, sy, sxx, syy, sxy = (weights @ moments).T
        found: Floats = 1 - (sxx - 2 * sxy + syy) / (sxx - 2 * sx * sy / n + syy)
        return found

    return _bootstrap(of, clusters)


def _bootstrap(of: Callable[[Floats], Floats], clusters: Sequence[Hashable]) -> Coefficient:
    """`of` maps weights of the units, (draws, units), to values. Seeded: same data, same answer."""
    index = cluster_codes(clusters)
    n = int(index.max()) + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        value = of(np.ones((1, len(index))))[0]
        if not np.isfinite(value):
            return Coefficient(None, None, None)
        if n < 2:
            return Coefficient(float(value), None, None)
        drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)
        values = of(drawn[:, index].astype(float))
    low, high = np.percentile(values[np.isfinite(values)], [2.5, 97.5])
    return Coefficient(float(value), float(low), float(high))
