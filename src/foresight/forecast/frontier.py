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

from foresight.forecast.rungs import cluster
from foresight.forecast.table import Row

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
ROUNDS = 4
"""Refinements of the smooth frontier."""


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
    """The frontier of a table in rising compute; dominated and inefficient points left out.

    A ladder (one size at a compute, each size once) is its own frontier. Else the vertices of
    parabolas, where there are `MIN_POINTS` of them; else the most efficient run of each size
    (`_touching`); where even sizes are few, the best run of each budget that lies within `HULL`
    of the lower hull, on which the curves of neighbouring sizes touch the frontier, the smallest
    and the largest size counting only where it meets the others. A point is dominated if a
    cheaper one is better by more than both their errors.
    """
    gathered = cluster(rows, SAME_BUDGET)
    best = [_point(budget) for budget in gathered]
    ladder = is_ladder(rows)
    vertices = _falling([point for point in best if point.sigma is not None])
    if not ladder and len(vertices) >= MIN_POINTS:
        return vertices
    points = _falling(best)
    if ladder or len(points) < MIN_POINTS:
        return points
    touching = _falling(_touching(rows, points))
    if len(touching) >= MIN_POINTS:
        return touching
    return _between_edges(_near_hull(points), rows)


def is_ladder(rows: Sequence[Row]) -> bool:
    """One size per compute and one compute per size, or no sizes at all: nothing to choose from."""
    gathered = cluster(rows, SAME_BUDGET)
    return all(sizes(budget) <= 1 for budget in gathered) and sizes(rows) in (0, len(gathered))


def _touching(rows: Sequence[Row], points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """The run of each size that comes nearest to, or farthest below, a smooth frontier.

    Longer runs of a size that lie on the lower envelope only because the next size was not
    trained are inefficient all the same, and would flatten the frontier (Gadre et al. 2024 train
    each size up to 32 times its efficient tokens). The smooth frontier is a quadratic in log-log
    through the points chosen so far. Sizes that stay `HULL` above the lower hull of the others
    were never trained efficiently.
    """
    chosen = list(points)
    for _ in range(ROUNDS):
        x = np.log([point.compute_flops for point in chosen])
        y = np.log([point.loss for point in chosen])
        curve = np.polyfit(x - x.mean(), y, 2 if len(chosen) > MIN_POINTS else 1)
        efficient: list[Row] = []
        for runs in _by_size(rows):
            at = np.log([run.compute_flops for run in runs]) - x.mean()
            excess = np.log([run.loss for run in runs]) - np.polyval(curve, at)
            best = runs[int(np.argmin(excess))]
            efficient += [run for run in runs if run.compute_flops == best.compute_flops]
        touching = [_point(budget) for budget in cluster(efficient, SAME_BUDGET)]
        if len(touching) < MIN_POINTS:
            break
        chosen = touching
    return _near_hull(chosen)


def _by_size(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows gathered by size, sizes within `SIZE_STEP` of each other being one."""
    groups: list[list[Row]] = []
    last = 0.0
    for row in sorted((row for row in rows if row.params), key=lambda row: row.params or 0.0):
        size = row.params or 0.0
        if groups and size < SIZE_STEP * last:
            groups[-1].append(row)
        else:
            groups.append([row])
        last = size
    return groups


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
