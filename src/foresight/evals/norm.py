"""How large a vector of means is in all, signs left out: the sum of |mean|, with an interval.

The sum over sample means is too large: noise adds wherever a mean is near nought. What it adds
depends on all the true means, which nobody knows, so the interval inverts a test along a line:
sizes t times a shape, with normal noise of the estimated covariance. A larger t gives a larger
sum (Anderson 1955), so that a quantile of the sum belongs to one t. Noise adds most to shapes with
noughts and least to those without, hence three shapes:

- low end: means within 2 standard errors of nought are nought (moment selection at the kink, after
  Andrews and Soares 2010);
- point (the size of which the sum seen is the median): the means as seen;
- high end: no mean is smaller than its standard error. A sum that is small even for means of
  nought is luck, which must not pass for precision: chances are divided by that of nought (CLs,
  Read 2002), so that the end is never nought itself.

`bench/calibration.py` measures the coverage of what this gives, and what simpler ways give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 1000
"""Draws of noise; each is used with both signs."""
GRID = 64
SIGNIFICANT = 2.0
"""Standard errors beyond which a mean counts as not nought."""


@dataclass(frozen=True)
class Means:
    """A vector of means and how each cluster moves it.

    value: (B,). influence: (C, B), what each of C independent clusters adds to `value` less its
    share; columns sum to nought. Their products summed are the covariance (Liang and Zeger 1986).
    """

    value: Floats
    influence: Floats

    @property
    def plug_in(self) -> float:
        return float(np.abs(self.value).sum())


@dataclass(frozen=True)
class NormEstimate:
    """Sum of |mean|: as read off the sample (`plug_in`), median-unbiased along the shape seen
    (`debiased`), and its 95 % interval; None where one cluster tells no error."""

    plug_in: float
    debiased: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class NormDifference:
    """Second less first debiased sum, with its 95 % interval; None as in `NormEstimate`."""

    difference: float
    low: float | None
    high: float | None


def norm_estimate(means: Means, draws: int = DRAWS) -> NormEstimate:
    """Sum of |mean| with its 95 % interval. The same means give the same numbers."""
    if len(means.influence) < 2:
        return NormEstimate(means.plug_in, means.plug_in, None, None)
    point, ((low, high),) = norm_intervals(means, (0.95,), draws)
    return NormEstimate(means.plug_in, point, low, high)


def norm_intervals(
    means: Means, levels: Sequence[float], draws: int = DRAWS
) -> tuple[float, list[tuple[float, float]]]:
    """The debiased sum and an interval for each level, of two clusters or more."""
    noise = _noise(means.influence, draws)
    errors = np.sqrt((means.influence**2).sum(axis=0))
    if not errors.any():
        return means.plug_in, [(means.plug_in, means.plug_in)] * len(levels)
    sizes = np.abs(means.value)
    scores = np.divide(sizes, errors, out=np.zeros_like(sizes), where=errors > 0)
    beyond = scores >= min(SIGNIFICANT, scores.max())
    signs = np.where(means.value < 0, -1.0, 1.0)
    reach = 4.0 * errors.sum()
    grid = np.linspace(max(0.0, means.plug_in - reach), means.plug_in + reach, GRID)

    def inverted(shape: Floats, chances: Sequence[float], relative: bool = False) -> Floats:
        """Sizes at which a sum not above the one seen has these chances (relative to size 0)."""
        line = signs * (shape if shape.any() else errors)
        line = line / np.abs(line).sum()
        below = [(np.abs(t * line + noise).sum(axis=1) <= means.plug_in).mean() for t in grid]
        # Falling but for the draws' own noise; the end of the grid stands for what is beyond.
        falling = np.minimum.accumulate(below)
        unit = falling[0] if relative else 1.0
        found: Floats = np.interp(-unit * np.asarray(chances), -falling, grid)
        return found

    lows = inverted(np.where(beyond, sizes, 0.0), [(1 + level) / 2 for level in levels])
    highs = inverted(np.maximum(sizes, errors), [(1 - level) / 2 for level in levels], True)
    (point,) = inverted(sizes, [0.5])
    return float(point), [
        (float(min(low, point)), float(max(high, point)))
        for low, high in zip(lows, highs, strict=True)
    ]


def norm_difference(first: Means, second: Means, draws: int = DRAWS) -> NormDifference:
    """Second less first, of the same clusters in the same order.

    From the two intervals and the correlation of the two sums (MOVER, Zou 2007), which is that of
    sums drawn with the noise of both. A sum whose interval reaches nought may be noise alone, which
    is a bias and not an error that others make up for: all of it is then added.
    """
    before, after = (norm_estimate(one, draws) for one in (first, second))
    difference = after.debiased - before.debiased
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return NormDifference(difference, None, None)
    noise = _noise(np.hstack([first.influence, second.influence]), draws)
    split = len(first.value)
    sums = [
        np.abs(one.value + part).sum(axis=1)
        for one, part in ((first, noise[:, :split]), (second, noise[:, split:]))
    ]
    still = min(np.ptp(sums[0]), np.ptp(sums[1])) == 0
    together = 0.0 if still else float(np.corrcoef(*sums)[0, 1])

    def reach(one: float, other: float, biased: bool) -> float:
        shared = -1.0 if biased else together
        return math.sqrt(max(one**2 + other**2 - 2 * shared * one * other, 0.0))

    below = reach(after.debiased - after.low, before.high - before.debiased, after.low == 0)
    above = reach(after.high - after.debiased, before.debiased - before.low, before.low == 0)
    return NormDifference(difference, difference - below, difference + above)


def _noise(influence: Floats, draws: int) -> Floats:
    """(2 draws, B) draws of what chance adds to the means, by Student's t of C - 1 degrees."""
    clusters, size = influence.shape
    random = np.random.default_rng(0)
    covariance = influence.T @ influence * clusters / (clusters - 1)
    normal = random.multivariate_normal(np.zeros(size), covariance, draws, "ignore", method="eigh")
    scale = np.sqrt((clusters - 1) / random.chisquare(clusters - 1, draws))
    half = normal * scale[:, None]
    return np.concatenate([half, -half])
