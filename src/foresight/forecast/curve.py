"""The whole loss curve of a run that has not started, by curve collapse.

Runs of one recipe trace the same curve once loss is divided by its final value and time by the
length of the run (Qiu et al. 2025, "Scaling collapse reveals universal dynamics in compute-
optimally trained neural networks"; recipe.md section 4e saw it at 1e11 FLOPs within 2 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.draws import rounded, student_quantile

Array = NDArray[np.float64]

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
        value: dict[str, Any] = rounded(
            {name: list(getattr(self, name)) for name in ("fractions", "loss", "low", "high")}
        )
        return value


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


def predict_curve(
    curves: Sequence[tuple[Array, Array]],
    finals: Sequence[float],
    final: tuple[float, float, float],
    grid: Array = GRID,
) -> Curve:
    """Curve of a run whose final training loss is forecast as `final` = (point, low, high).

    `curves` are (fractions of the run, losses) of the ladder, smallest run first, and `finals`
    their final losses. Later runs, nearer to the target, weigh more (1, 2, 3, ...). The band adds
    the spread of the collapse to the interval of the final loss, in log loss. Raises UserError
    with fewer than two curves: there is no spread then.
    """
    if len(curves) < 2:
        raise UserError(f"a predicted curve needs at least 2 ladder curves, got {len(curves)}")
    ratios = np.log(
        [smooth(t, loss, grid) / end for (t, loss), end in zip(curves, finals, strict=True)]
    )
    weights = np.arange(1.0, len(curves) + 1)
    weights /= weights.sum()
    mean = weights @ ratios
    spread = np.sqrt(weights @ (ratios - mean) ** 2)
    quantile = student_quantile(0.975, max(len(curves) - 1, 2))
    point, low, high = (float(value) for value in np.log(final))
    below = np.hypot(point - low, quantile * spread)
    above = np.hypot(high - point, quantile * spread)
    loss = point + mean
    return Curve(
        fractions=tuple(float(t) for t in grid),
        loss=tuple(float(v) for v in np.exp(loss)),
        low=tuple(float(v) for v in np.exp(loss - below)),
        high=tuple(float(v) for v in np.exp(loss + above)),
    )
