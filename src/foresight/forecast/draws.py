"""Deterministic draws and quantiles: no random numbers, so the same table gives the same bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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


def rounded(value: Any, digits: int = 10) -> Any:
    """The same JSON value with every float rounded to so many significant digits.

    The last bits of a float depend on the BLAS and the processor; hashes must not.
    """
    if isinstance(value, float):
        return float(f"{value:.{digits - 1}e}")
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value
