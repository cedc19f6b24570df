"""A product grid that turns and closes in on where a density has its mass.

Quadrature for posteriors of one to three parameters that are correlated, often so strongly that
a grid along the parameters would need thousands of points an axis to see the ridge. Each round
lays the axes along the covariance of the density as the last grid saw it. While that is but a few
points, the density is flattened (raised to a power below one) until enough points carry it, so
that the first rounds neither miss the ridge nor lose its direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foresight.forecast.draws import Array

COUNTS = {1: (48,), 2: (22, 18), 3: (12, 10, 10)}
"""Cells along each axis, by the number of axes; the first is the longest."""
ENOUGH, ENOUGH_ALONG = {1: 4.0, 2: 10.0, 3: 25.0}, 2.5
"""Points that must carry the density before a grid is laid along it, as an effective number: in
all, by the number of axes, and along every axis alone."""
TAIL = 5e-5
"""Mass left out at either end of an axis."""
REACH, LEAST_REACH = 3.0, 2.05
"""Half length of an axis, where the density was flattened: in standard deviations of the density
and, since these are guesses then, of the flattened one."""
ROUNDS = 14


@dataclass(frozen=True)
class Grid:
    """`count` cells along each edge: column j of `edges` (d, d) is the edge of one cell."""

    centre: Array
    edges: Array
    count: tuple[int, ...]

    @classmethod
    def over(cls, box: Array) -> Grid:
        """The grid over a box (d, 2), along its sides."""
        count = COUNTS[len(box)]
        return cls(box.mean(axis=1), np.diag((box[:, 1] - box[:, 0]) / count), count)

    def points(self) -> Array:
        """Midpoints of the cells, (n, d)."""
        steps = [np.arange(n) - (n - 1) / 2 for n in self.count]
        mesh = np.meshgrid(*steps, indexing="ij")
        return np.asarray(
            self.centre + np.stack([axis.ravel() for axis in mesh], axis=1) @ self.edges.T
        )

    @property
    def log_cell(self) -> float:
        """ln of the volume of a cell."""
        return float(np.linalg.slogdet(self.edges)[1])

    def closer(self, log_density: Array) -> tuple[Grid, bool]:
        """The next grid, and whether it differs little from this one; `log_density` (n,) at the
        points."""
        weight, power = _flattened(log_density.reshape(self.count))
        points = self.points()
        mean = weight @ points
        moved = points - mean
        covariance = (weight[:, None] * moved).T @ moved + self.edges @ self.edges.T / 12
        root = np.linalg.cholesky(covariance)
        inverse = np.linalg.inv(root)
        tail = TAIL
        if power < 1.0:
            tail = 0.5 * math.erfc(max(REACH * math.sqrt(power), LEAST_REACH) / math.sqrt(2))
        low, high = _support(moved @ inverse.T, weight, tail)
        margin = 0.5 * np.abs(inverse @ self.edges).sum(axis=1)
        low, high = low - margin, high + margin
        result = Grid(
            mean + root @ ((low + high) / 2), root * ((high - low) / self.count), self.count
        )
        return result, power == 1.0 and -0.3 < result.log_cell - self.log_cell < 0.12


def _flattened(log_density: Array) -> tuple[Array, float]:
    """Normalised weights (n,) of the density to the largest power <= 1 at which enough points
    carry it; that power. `log_density` has an axis for each of the grid's."""
    axes = range(log_density.ndim)
    highest = log_density.max()

    def weights(power: float) -> Array:
        weight = np.exp(power * (log_density - highest))
        return np.asarray(weight / weight.sum())

    def enough(weight: Array) -> bool:
        along = (weight.sum(axis=tuple(set(axes) - {axis})) for axis in axes)
        return 1 / (weight**2).sum() >= ENOUGH[len(axes)] and all(
            1 / (marginal**2).sum() >= ENOUGH_ALONG for marginal in along
        )

    if enough(weights(1.0)):
        return weights(1.0).ravel(), 1.0
    low, high = math.log(1e-9), 0.0
    for _ in range(16):
        middle = (low + high) / 2
        if enough(weights(math.exp(middle))):
            low = middle
        else:
            high = middle
    return weights(math.exp(low)).ravel(), math.exp(low)


def _support(coordinates: Array, weight: Array, tail: float) -> tuple[Array, Array]:
    """Per axis, the range of `coordinates` (n, d) that holds all but the tails of the weight."""
    order = np.argsort(coordinates, axis=0)
    held = np.cumsum(weight[order], axis=0)
    first = (held < tail).sum(axis=0)
    last = np.minimum((held < 1 - tail).sum(axis=0), len(weight) - 1)
    axes = np.arange(coordinates.shape[1])
    return coordinates[order[first, axes], axes], coordinates[order[last, axes], axes]


def settle(box: Array, log_density: Callable[[Array], Array]) -> Grid:
    """The grid on which `log_density` ((n, d) points to (n,)) has nearly all of its mass, from
    the box (d, 2) that holds it."""
    grid = Grid.over(box)
    for _ in range(ROUNDS):
        grid, settled = grid.closer(log_density(grid.points()))
        if settled:
            break
    return grid
