"""Log likelihood of binomial counts over a linear predictor, tabulated."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]

STEP = 0.05
LOGS: Array = np.arange(281, dtype=np.float64) * STEP - 9.0
"""Table points of log(-log p): p from 0.9999 to e^-148."""
ETAS: Array = np.arange(461, dtype=np.float64) * STEP - 9.0
"""Table points of eta, the linear predictor."""
SCATTERS = np.geomspace(0.05, 1.6, 11)
"""Standard deviations of log(-log p) about the law at which tables are kept."""
_WEIGHTS = np.array([[0, -1, 2, -1], [2, 0, -5, 3], [0, 1, 4, -3], [0, 0, -1, 1]]) / 2
_SLOPES = np.array([[-1, 4, -3, 0], [0, -10, 9, 0], [1, 8, -9, 0], [0, -2, 3, 0]]) / 2
"""Cubic convolution (Keys 1981): polynomials in the share of the step, by power, of the weights
of the four points near, and their derivatives. Linear interpolation has kinks, and they would
hold the search."""


class LikelihoodTable:
    """Log likelihood of every distinct (passes, samples) over eta, per scatter; differences of
    log likelihood beyond 690 count as that."""

    def __init__(self, passes: Array, samples: Array) -> None:
        pairs = np.stack([passes.ravel(), samples.ravel()], axis=1)
        unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
        # (M, P, 1), as offsets into a raveled table.
        self.row = (inverse.reshape(passes.shape).T * len(ETAS))[:, :, None]
        # A binomial of n samples is at least 1 / sqrt(0.65 n) wide in log(-log p): two points.
        finer = max(1, math.ceil(2 * STEP * math.sqrt(0.65 * samples.max())))
        fine = LOGS[0] + STEP / finer * np.arange((len(LOGS) - 1) * finer + 1)
        log_p = -np.exp(fine)
        logs = unique[:, :1] * log_p + (unique[:, 1:] - unique[:, :1]) * np.log(-np.expm1(log_p))
        top = logs.max(axis=1, keepdims=True)
        likelihood = np.exp(logs - top)
        tables = []
        for scatter in SCATTERS:
            kernel = np.exp(-0.5 * ((fine[:, None] - LOGS) / scatter) ** 2)
            kernel /= kernel.sum(axis=0)
            tables.append(top + np.log(np.maximum(likelihood @ kernel, 1e-300)))
        self.tables = np.stack(tables)
        self.log_step = math.log(SCATTERS[1] / SCATTERS[0])

    def at(self, scatter: float, log_link: float) -> Array:
        """The raveled table over eta at a scatter and a link."""
        value, _ = log_power(ETAS, math.exp(log_link))
        near, weights = _cubic((value - LOGS[0]) / STEP, len(LOGS))
        return _blend(self._scattered(scatter, _WEIGHTS), near, weights).ravel()

    def slopes(self, scatter: float, log_link: float) -> tuple[Array, Array]:
        """Derivatives of `at` by the logs of scatter and link, raveled."""
        value, by_link = log_power(ETAS, math.exp(log_link))
        place = (value - LOGS[0]) / STEP
        near, weights = _cubic(place, len(LOGS))
        _, slopes = _cubic(place, len(LOGS), _SLOPES)
        link = _blend(self._scattered(scatter, _WEIGHTS), near, slopes * (by_link / STEP))
        by_scatter = _blend(self._scattered(scatter, _SLOPES), near, weights)
        return by_scatter.ravel() / self.log_step, link.ravel()

    def _scattered(self, scatter: float, coefficients: Array) -> Array:
        """The table over log(-log p) at a scatter, or its derivative by the place of it."""
        place = np.array([math.log(scatter / SCATTERS[0]) / self.log_step])
        near, weights = _cubic(place, len(SCATTERS), coefficients)
        return np.asarray(sum(weights[one, 0] * self.tables[near[one, 0]] for one in range(4)))


def _cubic(place: Array, count: int, coefficients: Array = _WEIGHTS) -> tuple[Index, Array]:
    """The four points near places (k,), in steps of `count` points, and weights: (4, k) each."""
    place = np.clip(place, 0.0, count - 1.000001)
    low = place.astype(np.intp)
    t = place - low
    near = np.clip(low + np.arange(-1, 3)[:, None], 0, count - 1)
    return near, coefficients @ np.stack([np.ones_like(t), t, t * t, t * t * t])


def _blend(table: Array, near: Index, weights: Array) -> Array:
    total = table.take(near[0], axis=1) * weights[0]
    for one in range(1, 4):
        total += table.take(near[one], axis=1) * weights[one]
    return np.asarray(total)


def log_power(eta: Array, link: float | Array) -> tuple[Array, Array]:
    """log(-log p) = log(log(1 + link e^eta) / link) and its derivative by log link."""
    z = eta + np.log(link)
    inside = np.logaddexp(0.0, z)
    by_link = np.exp(z - inside) / inside - 1.0
    return np.log(inside) - np.log(link), by_link


def place(eta: Array) -> tuple[Index, Array]:
    """Index of the table point below eta and the share of the step above it; the ends stand for
    what is beyond."""
    position = np.clip((eta - ETAS[0]) / STEP, 0.0, len(ETAS) - 1.001)
    at = position.astype(np.intp)
    return at, position - at
