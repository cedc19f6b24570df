"""Which size for which budget: the power law of the best size over the frontier's points.

log N_opt = intercept + exponent * log C by least squares over the frontier (Hoffmann et al. 2022,
approach 2), with Student's t-interval of the line at the target: the estimand is the optimum
itself, so the scatter of single optima enters through the standard errors of the line only.
Tokens follow from C = 6 N D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foresight.forecast.draws import student_quantile
from foresight.forecast.frontier import FrontierPoint, is_ladder
from foresight.forecast.table import Row

MIN_OPTIMA = 4
"""Optima that a line with an interval needs."""
BEYOND = 1.05
"""A target beyond the optima's range of compute by more than this factor is extrapolated."""


@dataclass(frozen=True)
class Recommendation:
    """Parameters and tokens for one compute, in FLOPs.

    `params_interval95` is about the optimum at that compute; `exponent` is d log N / d log C with
    its own 95 % interval; `optima` counts the points behind it. `basis` says what they are:
    "isoflop" (vertices of parabolas), "envelope" (the best of the sizes tried) or "ladder" (one
    size per compute, chosen by whoever trained them: the rule is continued, nothing is known of
    the optimum, and there are no intervals). `flags`: "extrapolated" beyond the optima's range.
    Optima at the smallest or largest size tried are left out.
    """

    compute_flops: float
    params: float
    params_interval95: tuple[float, float] | None
    tokens: float
    exponent: float
    exponent_interval95: tuple[float, float] | None
    optima: int
    basis: str
    flags: tuple[str, ...]


def recommend(
    points: Sequence[FrontierPoint], rows: Sequence[Row], compute_flops: float
) -> Recommendation | None:
    """Size and tokens for `compute_flops`, from the frontier `points` of `rows`.

    None where sizes are unknown, do not vary, or fewer than `MIN_OPTIMA` optima lie inside the
    sizes that were tried.
    """
    ladder = is_ladder(rows)
    inside = [point for point in points if point.params and not point.edge]
    vertices = [point for point in inside if point.sigma is not None]
    # The best of a few sizes is off by up to half a step either way; a vertex is not.
    chosen = vertices if len(vertices) >= MIN_OPTIMA else inside
    if len(chosen) < MIN_OPTIMA or len({point.params for point in chosen}) < 2:
        return None
    basis = "ladder" if ladder else ("isoflop" if chosen is vertices else "envelope")
    x = np.log([point.compute_flops for point in chosen])
    y = np.log([float(point.params or 1) for point in chosen])
    spread = x - x.mean()
    square = float(spread @ spread)
    exponent = float(spread @ y) / square
    residual = y - y.mean() - exponent * spread
    variance = float(residual @ residual) / (len(x) - 2)
    ahead = math.log(compute_flops) - float(x.mean())
    middle = float(y.mean()) + exponent * ahead
    t = student_quantile(0.975, len(x) - 2)
    error = t * math.sqrt(variance * (1 / len(x) + ahead**2 / square))
    slope_error = t * math.sqrt(variance / square)
    flags = []
    if not x.min() - math.log(BEYOND) <= math.log(compute_flops) <= x.max() + math.log(BEYOND):
        flags.append("extrapolated")
    return Recommendation(
        compute_flops=compute_flops,
        params=math.exp(middle),
        params_interval95=None if ladder else (math.exp(middle - error), math.exp(middle + error)),
        tokens=compute_flops / (6.0 * math.exp(middle)),
        exponent=exponent,
        exponent_interval95=None if ladder else (exponent - slope_error, exponent + slope_error),
        optima=len(chosen),
        basis=basis,
        flags=tuple(flags),
    )
