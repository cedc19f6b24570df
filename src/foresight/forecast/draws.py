"""Deterministic draws and quantiles: no random numbers, so the same table gives the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Json = TypeVar("Json")

LEVELS = (50, 80, 95)
"""Central intervals that every forecast has, in per cent."""
TAILS = np.array([0.5, *(0.5 + sign * level / 200 for level in LEVELS for sign in (-1, 1))])
"""Probabilities of their median and ends."""


@dataclass(frozen=True)
class Estimate:
    """Median and intervals (low, high) by level."""

    point: float
    intervals: dict[int, tuple[float, float]]

    @classmethod
    def at(cls, quantiles: Array) -> Estimate:
        """From the values at `TAILS`."""
        point, *ends = (float(end) for end in quantiles)
        pairs = zip(ends[::2], ends[1::2], strict=True)
        return cls(point, dict(zip(LEVELS, pairs, strict=True)))

    @classmethod
    def of(cls, draws: Array) -> Estimate:
        return cls.at(np.quantile(draws, TAILS))

    def to_json(self) -> dict[str, Any]:
        return rounded(asdict(self))


def uniform(count: int, dimensions: int) -> Array:
    """Evenly spread points of the unit cube, shape (count, dimensions).

    The additive recurrence on the generalised golden ratio (M. Roberts 2018, "The unreasonable
    effectiveness of quasirandom sequences").
    """
    ratio = 2.0
    for _ in range(60):  # fixed point of x^(d+1) = x + 1
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1)
    return np.asarray((0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0)


def student4(u: Array) -> Array:
    """Quantiles of Student's t with 4 degrees of freedom, scaled to unit variance.

    The closed form for 4 degrees (Shaw 2006, "Sampling Student's T distribution").
    """
    inside = np.clip(u, 1e-9, 1 - 1e-9)
    alpha = 4.0 * inside * (1.0 - inside)
    q = np.cos(np.arccos(np.sqrt(alpha)) / 3.0) / np.sqrt(alpha)
    # The variance of t4 is 2; hence sqrt(2) where the textbook has 2.
    return np.asarray(np.sign(inside - 0.5) * math.sqrt(2.0) * np.sqrt(np.maximum(q - 1.0, 0.0)))


def normal(u: Array) -> Array:
    """Quantiles of the standard normal, to about 1e-6: its integral, tabulated and inverted."""
    x = np.linspace(-8.0, 8.0, 16_001)
    density = np.exp(-0.5 * x * x)
    area = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return np.asarray(np.interp(np.clip(u, 1e-9, 1 - 1e-9), area / area[-1], x))


def student_quantile(probability: float, degrees: float) -> float:
    """Quantile, for probability > 0.5, of Student's t by inverting its integral."""
    assert 0.5 < probability < 0.999 and degrees >= 2
    x = np.linspace(0.0, 60.0, 60_001)
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    density = np.exp(constant - (degrees + 1) / 2 * np.log1p(x * x / degrees))
    density /= math.sqrt(degrees * math.pi)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) * 0.5 * x[1])])
    return float(np.interp(probability - 0.5, area, x))


def weighted_quantiles(values: Array, weights: Array, probabilities: Array) -> Array:
    """Quantiles of a weighted sample (n,), linear between the mid-points of the steps."""
    order = np.argsort(values, kind="stable")
    sorted_weights = weights[order]
    positions = np.cumsum(sorted_weights) - 0.5 * sorted_weights
    return np.asarray(np.interp(probabilities, positions / sorted_weights.sum(), values[order]))


def rounded(value: Json, digits: int = 10) -> Json:
    """As a JSON value (keys are text, tuples lists), every float with so many significant digits.

    The last bits of a float depend on the BLAS and the processor; hashes must not.
    """
    result: Any = value
    if isinstance(value, float):
        result = float(f"{value:.{digits - 1}e}")
    elif isinstance(value, Mapping):
        result = {str(key): rounded(item, digits) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        result = [rounded(item, digits) for item in value]
    return cast("Json", result)


def equally_likely(point: float, intervals: Mapping[int, tuple[float, float]], count: int) -> Array:
    """Rising values (count,) of a positive quantity, known by its median and central intervals.

    Its logarithm is piecewise linear in the normal score through the ends of the intervals, and
    goes on beyond the widest as between the last two.
    """
    scores, logs = [0.0], [math.log(point)]
    for level, ends in sorted(intervals.items()):
        score = NormalDist().inv_cdf(0.5 + level / 200)
        scores = [-score, *scores, score]
        logs = [math.log(ends[0]), *logs, math.log(ends[1])]
    u = (np.arange(count) + 0.5) / count
    z = np.array([NormalDist().inv_cdf(value) for value in u])
    values = np.interp(z, scores, logs)
    low = logs[0] + (z - scores[0]) * (logs[1] - logs[0]) / (scores[1] - scores[0])
    high = logs[-1] + (z - scores[-1]) * (logs[-1] - logs[-2]) / (scores[-1] - scores[-2])
    return np.asarray(np.exp(np.where(z < scores[0], low, np.where(z > scores[-1], high, values))))
