"""L(N, D) = E + A N^-alpha + B D^-beta, for runs that are not compute-efficient.

The frontier's law says what the best run of a compute reaches; this says by how much a run of a
given size and length misses it. Fits of L(N, D) over whole grids extrapolate worse than a law of
the frontier (design/forecasting.md, lesson 1), so only this difference is taken from it, and runs
count the less the farther they lie above the frontier.

Variable projection (Golub & Pereyra 1973): for exponents on a grid, the three amplitudes are
linear and found by non-negative least squares with robust weights; the grid is weighed by the
profile likelihood and a weak prior on the exponents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foresight.errors import UserError
from foresight.forecast.draws import Array
from foresight.forecast.frontier import FrontierPoint
from foresight.forecast.table import Row

EXPONENTS = np.geomspace(0.12, 0.9, 12)
PRIOR = (0.35, 0.35)
"""Median and sd of the log of alpha and beta (Hoffmann et al. 2022: .34, .28; Besiroglu et al.
2024: .35, .37)."""
JITTER, MISFIT = 0.004, 0.3
"""Scatter of log loss on the frontier, and more of it per log loss above the frontier."""
REWEIGHTINGS = 5
MIN_RUNS = 8
SIZES = 200
"""Sizes among which the best of a compute is looked for."""


@dataclass(frozen=True)
class Surface:
    """Grid of fits: `weights` (k,) sum to 1, `exponents` (k, 2), `amplitudes` (k, 3) of 1,
    (N / N0)^-alpha and (D / D0)^-beta; `centre` = (ln N0, ln D0)."""

    weights: Array
    exponents: Array
    amplitudes: Array
    centre: tuple[float, float]

    def log_loss(self, params: Array, tokens: Array) -> Array:
        """ln L of every fit at every (N, D): (k, n)."""
        n, d = np.log(params) - self.centre[0], np.log(tokens) - self.centre[1]
        terms = np.stack(
            [
                np.ones((len(self.weights), len(n))),
                np.exp(-self.exponents[:, :1] * n),
                np.exp(-self.exponents[:, 1:] * d),
            ]
        )
        return np.asarray(np.log(np.einsum("kj,jkn->kn", self.amplitudes, terms)))

    def excess(self, params: float, tokens: float) -> tuple[float, float]:
        """Mean and sd of ln L(N, D) - min over N' of ln L(N', C / 6 N'), C = 6 N D."""
        compute = 6.0 * params * tokens
        tried = params * np.geomspace(1e-3, 1e3, SIZES)
        best = self.log_loss(tried, compute / (6.0 * tried)).min(axis=1)
        own = self.log_loss(np.array([params]), np.array([tokens]))[:, 0]
        values = np.maximum(own - best, 0.0)
        mean = float(self.weights @ values)
        return mean, math.sqrt(float(self.weights @ (values - mean) ** 2))

    def to_json(self) -> dict[str, float]:
        """The most likely fit: E, A, B, alpha, beta, in the units of the table."""
        at = int(np.argmax(self.weights))
        (alpha, beta), (e, a, b) = self.exponents[at], self.amplitudes[at]
        n, d = self.centre
        return {
            "E": float(e),
            "A": float(a * math.exp(alpha * n)),
            "B": float(b * math.exp(beta * d)),
            "alpha": float(alpha),
            "beta": float(beta),
        }


def can_fit(rows: Sequence[Row]) -> bool:
    """Enough runs with sizes and tokens, of sizes and tokens per parameter that differ."""
    sized = [row for row in rows if row.params and row.tokens]
    if len(sized) < MIN_RUNS:
        return False
    n = np.log([row.params or 1.0 for row in sized])
    d = np.log([row.tokens or 1.0 for row in sized])
    return bool(np.ptp(n) >= math.log(2) and np.ptp(d - n) >= math.log(2))


def fit_surface(rows: Sequence[Row], points: Sequence[FrontierPoint]) -> Surface:
    """Fit the runs that have sizes and tokens; `points` are their frontier.

    Raises UserError with fewer than `MIN_RUNS` such runs, or if size or tokens per parameter do
    not vary.
    """
    if not can_fit(rows):
        raise UserError(
            f"L(N, D) needs {MIN_RUNS} runs with params and tokens, of sizes and of tokens per "
            f"parameter that differ at least twofold"
        )
    sized = [row for row in rows if row.params and row.tokens]
    n = np.log([row.params or 1.0 for row in sized])
    d = np.log([row.tokens or 1.0 for row in sized])
    y = np.log([row.loss for row in sized])
    scale = np.hypot(JITTER, MISFIT * _above(sized, points))
    centre = (float(n.mean()), float(d.mean()))
    exponents = np.array([(a, b) for a in EXPONENTS for b in EXPONENTS])
    fits = [_amplitudes(a, b, n - centre[0], d - centre[1], y, scale) for a, b in exponents]
    score = np.array([fit[1] for fit in fits])
    score -= 0.5 * ((np.log(exponents / PRIOR[0]) / PRIOR[1]) ** 2).sum(axis=1)
    weights = np.exp(score - score.max())
    return Surface(weights / weights.sum(), exponents, np.array([fit[0] for fit in fits]), centre)


def _above(rows: Sequence[Row], points: Sequence[FrontierPoint]) -> Array:
    """How far each run lies above a smooth frontier, in log loss; at least 0."""
    x = np.log([point.compute_flops for point in points])
    y = np.log([point.loss for point in points])
    curve = np.polyfit(x - x.mean(), y, min(2, len(points) - 1))
    at = np.log([row.compute_flops for row in rows]) - x.mean()
    return np.asarray(np.maximum(np.log([row.loss for row in rows]) - np.polyval(curve, at), 0.0))


def _amplitudes(
    alpha: float, beta: float, n: Array, d: Array, y: Array, scale: Array
) -> tuple[Array, float]:
    """Amplitudes (3,) and log likelihood (Student-t4) at one pair of exponents."""
    from scipy.optimize import nnls

    design = np.stack([np.ones_like(n), np.exp(-alpha * n), np.exp(-beta * d)], axis=1)
    weight = 1.0 / scale
    for _ in range(REWEIGHTINGS):
        # Relative errors are errors of log loss while they are small.
        relative = weight * np.exp(-y)
        found, _ = nnls(design * relative[:, None], np.exp(y) * relative)
        residual = np.log(np.maximum(design @ found, 1e-12)) - y
        weight = 1.0 / (scale * np.sqrt(1.0 + 0.5 * (residual / scale) ** 2))
    return found, float(-2.5 * np.log1p(0.5 * (residual / scale) ** 2).sum())
