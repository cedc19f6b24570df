"""The whole loss curve of a run that has not started, by curve collapse.

Runs of one recipe trace the same curve once loss is divided by its final value and time by the
length of the run (Qiu et al. 2025, "Scaling collapse reveals universal dynamics in compute-
optimally trained neural networks"; recipe.md section 4e saw it at 1e11 FLOPs within 2 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foresight.errors import UserError
from foresight.forecast.draws import Array, rounded, student_quantile

GRID = np.linspace(0.05, 1.0, 20)
WINDOW = 0.05
"""Losses are averaged over the last so much of the run before each fraction."""


@dataclass(frozen=True)
class Curve:
    """Expected training loss and its 95 % band at each fraction (0..1] of the run."""

    fractions: tuple[float, ...]
    loss: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return rounded(asdict(self))


def smooth(fractions: Array, losses: Array, grid: Array = GRID) -> Array:
    """Mean loss over the `WINDOW` that ends at each grid fraction; shape of `grid`.

    A window without a logged step takes the value interpolated between its neighbours.
    """
    values = np.interp(grid, fractions, losses)
    for index, end in enumerate(grid):
        inside = (fractions > end - WINDOW) & (fractions <= end + 1e-12)
        if inside.any():
            values[index] = losses[inside].mean()
    return values


@dataclass(frozen=True)
class Collapse:
    """How the ladder's curves give the target's: `weights` (K,) that sum to one, each curve's
    residuals from the trend (K, ...), and the degrees of freedom left in them."""

    weights: Array
    residuals: Array
    freedom: int

    @property
    def variance(self) -> Array:
        """Variance of a new curve about the weighted mean, shape of one curve."""
        later = later_weights(len(self.weights))
        spread = later @ self.residuals**2 * (len(later) / self.freedom)
        return np.asarray(spread * (1 + self.weights @ self.weights))


def later_weights(count: int) -> Array:
    """Nearer to the target counts more: 1, 2, 3, ... over their sum, smallest run first."""
    weights = np.arange(1.0, count + 1)
    return np.asarray(weights / weights.sum())


def collapse(ratios: Array, finals: Array, target: float) -> Collapse:
    """Extrapolate log ratios (K, B) of loss to final loss, linearly in log final loss (K,), to
    the target's.

    Losses with a floor collapse only once it is subtracted (Qiu et al. 2025, section 3), and the
    floor is not known; what is left of it is a trend along the ladder. With two curves, or
    finals that do not differ, there is no trend to see, and the weighted mean is taken.
    """
    later = later_weights(len(ratios))
    away = finals - later @ finals
    variance = float(later @ away**2)
    if len(ratios) < 3 or variance < 1e-12:
        return Collapse(later, ratios - later @ ratios, max(len(ratios) - 1, 1))
    lever = later * away / variance
    trend = np.outer(away, lever @ ratios)
    weights = later + lever * (target - later @ finals)
    return Collapse(weights, ratios - later @ ratios - trend, len(ratios) - 2)


def predict_curve(
    curves: Sequence[tuple[Array, Array]],
    finals: Sequence[float],
    final: tuple[float, float, float],
    grid: Array = GRID,
) -> Curve:
    """Curve of a run whose final training loss is forecast as `final` = (point, low, high).

    `curves` are (fractions of the run, losses) of the ladder, smallest run first, and `finals`
    their final losses. The band adds the spread of the collapse (see `collapse`) to the interval
    of the final loss, in log loss. Raises UserError with fewer than two curves: there is no
    spread then.
    """
    if len(curves) < 2:
        raise UserError(f"a predicted curve needs at least 2 ladder curves, got {len(curves)}")
    ratios = np.log(
        [smooth(t, loss, grid) / end for (t, loss), end in zip(curves, finals, strict=True)]
    )
    point, low, high = (float(value) for value in np.log(final))
    found = collapse(ratios, np.log(finals), point)
    spread = np.sqrt(found.variance)
    quantile = student_quantile(0.975, max(found.freedom, 2))
    below = np.hypot(point - low, quantile * spread)
    above = np.hypot(high - point, quantile * spread)
    loss = point + found.weights @ ratios
    return Curve(
        fractions=tuple(float(t) for t in grid),
        loss=tuple(float(v) for v in np.exp(loss)),
        low=tuple(float(v) for v in np.exp(loss - below)),
        high=tuple(float(v) for v in np.exp(loss + above)),
    )
