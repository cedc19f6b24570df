"""Rungs: runs of equal compute gathered, with their seed noise measured and pooled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foresight.forecast.draws import Array
from foresight.forecast.table import Row

Item = TypeVar("Item")

SAME_RUNG = 0.02
"""Runs whose compute differs by less than this share of it are replicates of one rung."""
MAX_RUNGS = 20
"""A denser ladder is merged to so many rungs: a law has fewer parameters, and fits take longer."""
PRIOR_NOISE = 0.001
"""Prior sd of log loss between seeds (recipe.md section 5: 0.0002-0.0014 for real models)."""
PRIOR_DEGREES = 2.0
"""How many replicates' worth the prior counts for: a few measured seeds overrule it."""
SMOOTH_RUNGS, SMOOTH_DEGREES = 4, 8
"""From so many replicated rungs and degrees of freedom on, noise may depend on compute."""
SLOPE_PRIOR_SD = 0.3
"""Prior sd of d ln(variance) / d ln(C): noise falls with scale, about C^-0.2 in recipe.md."""


@dataclass(frozen=True)
class NoiseModel:
    """Variance of log loss between seeds: exp(level + slope * (ln C - centre)), clamped outside
    the range [low, high] of ln C in which replicates were measured."""

    level: float
    slope: float
    centre: float
    low: float
    high: float
    degrees: int

    def variance(self, x: Array | float) -> Array:
        """Variance of the log loss of one run at ln C = x; same shape as x."""
        inside = np.clip(np.asarray(x, dtype=np.float64), self.low, self.high)
        return np.asarray(np.exp(self.level + self.slope * (inside - self.centre)))


@dataclass(frozen=True)
class Rungs:
    """Distinct computes in rising order: `x` = ln C, `y` = mean log loss over the `count` runs,
    `variance` = seed noise of that mean; each of shape (rungs,)."""

    x: Array
    y: Array
    variance: Array
    count: NDArray[np.int64]
    noise: NoiseModel

    def __len__(self) -> int:
        return len(self.x)

    def take(self, chosen: slice) -> Rungs:
        """A part of the ladder. The noise model stays: it says how seeds scatter, not where."""
        return Rungs(
            self.x[chosen], self.y[chosen], self.variance[chosen], self.count[chosen], self.noise
        )


def alike(
    rising: Iterable[Item], scale: Callable[[Item], float], within: float = SAME_RUNG
) -> list[list[Item]]:
    """Items in rising scale, gathered where it is equal to the group's first (`within` a share)."""
    groups: list[list[Item]] = []
    for item in rising:
        if groups and scale(item) <= scale(groups[-1][0]) * (1 + within):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def cluster(rows: Sequence[Row], within: float = SAME_RUNG) -> list[list[Row]]:
    """Rows gathered into rungs of equal compute (`within` a share of it), in rising order."""
    rising = sorted(rows, key=lambda row: (row.compute_flops, row.loss, row.run))
    return alike(rising, lambda row: row.compute_flops, within)


def rung_means(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Mean scale and value of the points of each rung, in rising order."""
    rungs = alike(sorted(points, key=itemgetter(0)), itemgetter(0))
    return [(float(x), float(y)) for x, y in (np.mean(rung, axis=0) for rung in rungs)]


def gather(rows: Sequence[Row]) -> Rungs:
    """Rungs of the rows given.

    Replicates at a rung are averaged in log loss. Their mean is *one* point of the law: the
    recipe jitter of the rung (which width, which rounding, how well tuned) is common to its
    seeds and does not average out, so it is added once, by the likelihood.
    """
    groups = cluster(rows)
    x = np.array([np.mean([math.log(row.compute_flops) for row in group]) for group in groups])
    logs = [np.array([math.log(row.loss) for row in group]) for group in groups]
    count = np.array([len(group) for group in groups])
    noise = pool_noise(x, logs)
    measured = np.array([np.mean([(row.sigma or 0.0) ** 2 for row in group]) for group in groups])
    variance = (noise.variance(x) + measured) / count
    return _merge(Rungs(x, np.array([values.mean() for values in logs]), variance, count, noise))


def _merge(rungs: Rungs) -> Rungs:
    """At most `MAX_RUNGS` rungs: neighbours in bins of equal width in ln C, the mean of each bin
    for ln C and log loss (a law is straight over so short a piece)."""
    if len(rungs) <= MAX_RUNGS:
        return rungs
    share = (rungs.x - rungs.x[0]) / (rungs.x[-1] - rungs.x[0])
    bins = np.minimum((share * MAX_RUNGS).astype(int), MAX_RUNGS - 1)
    members = [np.flatnonzero(bins == index) for index in np.unique(bins)]
    # The top rung stays itself: horizons are counted from it.
    if len(members[-1]) > 1:
        members[-1:] = [members[-1][:-1], members[-1][-1:]]
    return Rungs(
        np.array([rungs.x[at].mean() for at in members]),
        np.array([rungs.y[at].mean() for at in members]),
        np.array([rungs.variance[at].sum() / len(at) ** 2 for at in members]),
        np.array([rungs.count[at].sum() for at in members]),
        rungs.noise,
    )


def pool_noise(x: Array, logs: Sequence[Array]) -> NoiseModel:
    """Seed noise pooled over rungs.

    The replicate variances of log loss, each with its degrees of freedom, are pooled into one
    and shrunk to `PRIOR_NOISE`: the mean of an inverse-gamma posterior, whose prior weighs
    `PRIOR_DEGREES`. With enough replicates the variance may follow a power of C: a weighted
    line through the log variances (whose sampling variance is about 2 / degrees), with a ridge
    that pulls the slope to none. Source: recipe.md section 5.
    """
    degrees = np.array([len(values) - 1.0 for values in logs])
    replicated = degrees > 0
    variances = np.array([values.var(ddof=1) if len(values) > 1 else 0.0 for values in logs])
    total = float(degrees.sum())
    pooled = (PRIOR_DEGREES * PRIOR_NOISE**2 + float(degrees @ variances)) / (PRIOR_DEGREES + total)
    if replicated.sum() < SMOOTH_RUNGS or total < SMOOTH_DEGREES:
        centre = float(x.mean())
        return NoiseModel(math.log(pooled), 0.0, centre, centre, centre, int(total))
    at, weight = x[replicated], degrees[replicated] / 2.0
    centre = float(np.average(at, weights=weight))
    # A variance estimated as nothing (equal losses) must not send its logarithm to -inf.
    heights = np.log(np.maximum(variances[replicated], 1e-3 * pooled))
    spread = at - centre
    slope = float(weight @ (spread * heights)) / (
        float(weight @ spread**2) + 1.0 / SLOPE_PRIOR_SD**2
    )
    # The line keeps the pooled variance as its average over the replicates.
    level = math.log(pooled) - math.log(np.average(np.exp(slope * spread), weights=weight))
    return NoiseModel(level, slope, centre, float(at.min()), float(at.max()), int(total))
