"""Temperature scaling: one number that all log-probabilities are divided by (Guo et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from foresight.evals.choices import Choices
from foresight.evals.statistics import t_quantile

Floats = NDArray[np.float64]
LIMIT = 400.0
"""Temperatures are looked for from 1 / LIMIT to LIMIT."""


@dataclass(frozen=True)
class Temperature:
    """The temperature of least log loss, with its 95 % interval (sandwich variance of its logarithm
    by cluster, Student's t; None where one cluster tells no error)."""

    value: float
    low: float | None
    high: float | None


def fit_temperature(choices: Choices) -> Temperature | None:
    """None if no finite temperature is best: all answers right, a right option held impossible, or
    log-probabilities that say nothing about what is right."""
    ends = [-math.log(LIMIT), math.log(LIMIT)]
    slopes = [float(_slopes(choices, math.exp(end))[0].sum()) for end in ends]
    # The log likelihood is concave in 1 / temperature: one change of sign at most.
    if not all(map(math.isfinite, slopes)) or not slopes[0] > 0 > slopes[1]:
        return None
    log_inverse = float(
        optimize.brentq(lambda x: _slopes(choices, math.exp(x))[0].sum(), *ends, xtol=1e-10)
    )
    value = math.exp(-log_inverse)
    slope, curvature = _slopes(choices, 1 / value)
    sums = np.bincount(choices.cluster, weights=slope)
    clusters = len(sums)
    if clusters < 2:
        return Temperature(value, None, None)
    error = math.sqrt(clusters / (clusters - 1) * float(sums @ sums)) / float(curvature.sum())
    half = t_quantile(clusters - 1) * error * value  # of log T: d log T = -T d(1/T)
    return Temperature(value, value * math.exp(-half), value * math.exp(half))


def cross_fitted(choices: Choices, seed: int = 0) -> Floats | None:
    """(n, K) probabilities under a temperature that was chosen without their own cluster: clusters
    are dealt into two halves, each scaled by what is best for the other. None if either half has
    no best temperature."""
    clusters = int(choices.cluster.max()) + 1
    dealt = np.random.default_rng(seed).permutation(clusters) % 2
    half = dealt[choices.cluster]
    scale = np.ones(len(choices))
    for side in (0, 1):
        others = np.flatnonzero(half != side)
        fitted = fit_temperature(choices.take(others.tolist())) if len(others) else None
        if fitted is None:
            return None
        scale[half == side] = fitted.value
    return choices.probabilities(scale)


def _slopes(choices: Choices, inverse: float) -> tuple[Floats, Floats]:
    """(n,) each: derivative of the weighted log likelihood in 1 / temperature, and its negative
    second derivative (the variance of the log-probabilities under their own distribution)."""
    shares = choices.probabilities(1 / inverse)
    # What is impossible has no share, at any temperature.
    logs = np.where(shares > 0, choices.logprobs, 0.0)
    chosen = choices.logprobs[np.arange(len(choices)), choices.target]
    mean = (shares * logs).sum(axis=1)
    variance = (shares * (logs - mean[:, None]) ** 2).sum(axis=1)
    return choices.weight * (chosen - mean), choices.weight * variance
