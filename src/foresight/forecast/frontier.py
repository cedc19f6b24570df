"""The compute-efficient frontier: from clouds of runs to the best loss at each compute.

Ladders are their own frontier. In isoFLOP clouds (several sizes at one compute) the frontier is
the vertex of a parabola of log loss in log N at each budget (Hoffmann et al. 2022, approach 2),
with its standard error. In mixed tables it is the lower envelope: runs that no cheaper run
beats. Runs off the frontier are over- or under-trained for their compute and would bend a law
of compute alone (design/forecasting.md, lesson 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.forecast.rungs import cluster
from foresight.forecast.table import Row

Array = NDArray[np.float64]

SAME_BUDGET = 0.06
"""Runs whose compute differs by less than this share of it belong to one budget."""
MIN_SIZES = 4
"""Distinct sizes that a parabola needs."""
NEAR = 0.08
"""A parabola is fitted to runs within so much log loss of the best of their budget."""
SIZE_STEP = 1.1
"""Sizes that differ by less than this factor are one size."""
HULL = 0.01
"""How far, in log loss, an efficient run may lie above the hull."""
MIN_POINTS = 4
"""A frontier of fewer points is left as it is."""


@dataclass(frozen=True)
class FrontierPoint:
    """Best loss at one compute. `sigma` is the standard error of its log where a parabola gave it,
    else None; `params` the size at the optimum; `runs` the names of the runs behind it; `edge`:
    the best size is the smallest or largest tried, so that the true optimum may lie beyond."""

    compute_flops: float
    loss: float
    sigma: float | None
    params: float | None
    tokens: float | None
    runs: tuple[str, ...]
    edge: bool


def sizes(rows: Sequence[Row]) -> int:
    """Number of distinct sizes."""
    logs = sorted(math.log(row.params) for row in rows if row.params)
    return sum(
        1 for at, value in enumerate(logs) if at == 0 or value - logs[at - 1] > math.log(SIZE_STEP)
    )


def frontier(rows: Sequence[Row]) -> list[FrontierPoint]:
    """The frontier of a table in rising compute; dominated, inefficient and edge points left out.

    A point is dominated if a cheaper one is better by more than both their errors. Where sizes
    were chosen freely, a point without a parabola must lie within `HULL` of the lower convex
    hull of log loss over log compute, on which the curves of neighbouring sizes touch the
    frontier; and of the points whose size is the smallest or largest of all, only the one next
    to the others counts: beyond it a better size was not tried.
    """
    gathered = cluster(rows, SAME_BUDGET)
    points = _falling([_point(budget) for budget in gathered])
    if is_ladder(rows) or len(points) < MIN_POINTS:
        return points
    return _between_edges(_near_hull(points), rows)


def is_ladder(rows: Sequence[Row]) -> bool:
    """One size per compute and one compute per size, or no sizes at all: nothing to choose from."""
    gathered = cluster(rows, SAME_BUDGET)
    return all(sizes(budget) <= 1 for budget in gathered) and sizes(rows) in (0, len(gathered))


def _falling(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    kept: list[FrontierPoint] = []
    best, best_sigma = math.inf, 0.0
    for point in points:
        slack = 2.0 * math.hypot(point.sigma or 0.0, best_sigma)
        if math.log(point.loss) < best + slack:
            kept.append(point)
        if math.log(point.loss) < best:
            best, best_sigma = math.log(point.loss), point.sigma or 0.0
    return kept


def _near_hull(points: list[FrontierPoint]) -> list[FrontierPoint]:
    x = np.log([point.compute_flops for point in points])
    y = np.log([point.loss for point in points])
    hull: list[int] = []
    for at in range(len(points)):
        while len(hull) >= 2:
            first, second = hull[-2:]
            chord = (y[at] - y[first]) / (x[at] - x[first])
            if y[second] <= y[first] + chord * (x[second] - x[first]):
                break
            hull.pop()
        hull.append(at)
    below = np.interp(x, x[hull], y[hull])
    return [
        point
        for point, own, least in zip(points, y, below, strict=True)
        if point.sigma is not None or own - least < HULL
    ]


def _between_edges(points: list[FrontierPoint], rows: Sequence[Row]) -> list[FrontierPoint]:
    tried = [row.params for row in rows if row.params]
    if not tried:
        return points
    small = [p for p in points if p.params and p.params < SIZE_STEP * min(tried)]
    large = [p for p in points if p.params and p.params > max(tried) / SIZE_STEP]
    out = {id(point) for point in (*small[:-1], *large[1:])}
    return [point for point in points if id(point) not in out]


def _point(budget: Sequence[Row]) -> FrontierPoint:
    if sizes(budget) >= MIN_SIZES:
        fitted = _vertex(budget)
        if fitted is not None:
            return fitted
    by_size: dict[float | None, list[Row]] = {}
    for row in budget:
        by_size.setdefault(row.params, []).append(row)
    levels = {size: _mean_loss(runs) for size, runs in by_size.items()}
    best = min(levels, key=lambda size: (levels[size], size or 0.0))
    tried = [size for size in levels if size]
    edge = sizes(budget) > 1 and best in (min(tried), max(tried))
    runs = by_size[best]
    return FrontierPoint(
        compute_flops=runs[0].compute_flops,
        loss=levels[best],
        sigma=None,
        params=best,
        tokens=runs[0].tokens,
        runs=tuple(run.run for run in runs),
        edge=edge,
    )


def _mean_loss(runs: Sequence[Row]) -> float:
    """Repetitions of one size are averaged in log loss, as `rungs.gather` does."""
    return math.exp(float(np.mean([math.log(run.loss) for run in runs])))


def _vertex(budget: Sequence[Row]) -> FrontierPoint | None:
    """Vertex of the parabola through the runs near the best; None if it does not bend upward
    inside the sizes that were tried."""
    rows = [row for row in budget if row.params]
    lowest = min(row.loss for row in rows)
    near = [row for row in rows if math.log(row.loss / lowest) < NEAR]
    if sizes(near) < MIN_SIZES:
        return None
    x = np.log([float(row.params or 1) for row in near])
    y = np.log([row.loss for row in near])
    middle = float(x.mean())
    design = np.stack([np.ones_like(x), x - middle, (x - middle) ** 2], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    level, slope, bend = (float(value) for value in coefficients)
    if bend <= 0:
        return None
    at = -slope / (2 * bend)
    if not x.min() <= at + middle <= x.max():
        return None
    residual = y - design @ coefficients
    spare = max(len(near) - 3, 1)
    variance = float(residual @ residual) / spare
    row = np.array([1.0, at, at * at])
    error = math.sqrt(max(variance * float(row @ np.linalg.pinv(design.T @ design) @ row), 0.0))
    compute = math.exp(float(np.mean(np.log([one.compute_flops for one in near]))))
    params = math.exp(at + middle)
    return FrontierPoint(
        compute_flops=compute,
        loss=math.exp(level + slope * at + bend * at * at),
        sigma=error,
        params=params,
        tokens=compute / (6.0 * params),
        runs=tuple(one.run for one in near),
        edge=False,
    )
