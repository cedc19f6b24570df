"""Posterior of one law, on a dense grid that zooms in, and its predictive draws.

Likelihood (design/recipe.md section 6, point 2): the mean log loss of rung i is Student-t with
4 degrees of freedom about the law, with variance sigma_i^2 / seeds_i + jitter^2: the measured
seed noise, and a free "recipe jitter" that all seeds of a rung share.

Priors, all weak and all free of units:
- exponent b: log-normal, see `law.py`;
- floor c as a share of the law's value at the largest rung: Beta(1, 2), density 2 (1 - share).
  It keeps c between 0 and the smallest loss; small shares are not ruled out, since a ladder far
  above its floor shows none: ours fell along one straight line for four decades (`LOG.md`).
  Beta(2, 2) was worse there and on public ladders (forecasting.md, lesson 2, on why any prior);
- offset C0: log-uniform between 1/30 and 30 of the smallest rung;
- jitter: half-normal, scale 0.5 % (recipe.md has 0.1 % for tuned ladders above 1e15 FLOPs; our
  pocket ladders are rougher and the data overrule either).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.forecast.draws import student4, uniform
from foresight.forecast.law import Form, PowerLaw, closed_form, exponent, shape
from foresight.forecast.rungs import Rungs

Array = NDArray[np.float64]

DRAWS = 2000
JITTER_SCALE = 0.005
JITTERS = np.geomspace(2e-4, 0.05, 8)
OFFSET_RANGE = (1 / 30, 30.0)
"""Of C0, in units of the smallest rung."""
POINTS = (24, 20, 9)
"""Grid points of the slope, floor and offset axes."""
SLOPE_RANGE = (2e-3, 1.0)
FLOOR_RANGE = (1e-3, 0.995)
LEVELS = np.linspace(-4.5, 4.5, 11)
"""Grid of the level, in units of its standard error."""
ZOOMS = 3


@dataclass(frozen=True)
class Posterior:
    """Equally weighted draws: `theta` (n, 3), `level` (n,) = ln L(centre), `jitter` (n,);
    `centre` = ln C_centre."""

    form: Form
    centre: float
    theta: Array
    level: Array
    jitter: Array

    def mean_log_loss(self, x: float) -> Array:
        """Draws (n,) of the law's log loss at ln C = x, without noise."""
        return self.level + shape(self.theta, np.array([x - self.centre]))[:, 0]

    def log_loss(self, x: float, seed_variance: float) -> Array:
        """Draws (n,) of the log loss of one new run at ln C = x: law, jitter and seed noise."""
        scatter = np.sqrt(self.jitter**2 + seed_variance)
        return self.mean_log_loss(x) + scatter * student4(spread_points()[:, 4])

    def summary(self) -> PowerLaw:
        """The written law at the medians of the draws' coordinates."""
        return closed_form(float(np.median(self.level)), np.median(self.theta, axis=0), self.centre)


def spread_points() -> Array:
    """The uniforms behind the draws, (DRAWS, 7): 0-3 place a draw in its grid cell, 4 is the
    noise of the new run, 5 and 6 are the drift's size and sign (`forecast.Fit.predict`)."""
    return uniform(DRAWS, 7)


def fit_posterior(form: Form, rungs: Rungs) -> Posterior:
    """Posterior of `form` given the rungs; deterministic.

    The axes of `theta` start wide and close in on the mass, `ZOOMS` times; the level is
    gridded about its conditional mean. Draws are taken by systematic resampling of the cells
    and spread evenly inside them.
    """
    if form.top_rungs is not None:
        rungs = rungs.take(slice(-form.top_rungs, None))
    assert len(rungs) >= 2, "a law needs two rungs"
    centre = float(rungs.x.mean())
    smallest = float(np.exp(rungs.x[0] - centre))
    slopes = np.geomspace(*SLOPE_RANGE, POINTS[0])
    floors = np.linspace(*FLOOR_RANGE, POINTS[1]) if form.floor else np.zeros(1)
    offsets = np.geomspace(*OFFSET_RANGE, POINTS[2]) * smallest if form.offset else np.zeros(1)
    theta, levels, mass = _evaluate(form, rungs, centre, (slopes, floors, offsets))
    for _ in range(ZOOMS):
        cells = mass.sum(axis=(1, 2)).reshape(len(slopes), len(floors), len(offsets))
        slopes = np.geomspace(*_support(slopes, cells.sum(axis=(1, 2))), POINTS[0])
        if form.floor:
            floors = np.linspace(*_support(floors, cells.sum(axis=(0, 2))), POINTS[1])
        if form.offset:
            offsets = np.geomspace(*_support(offsets, cells.sum(axis=(0, 1))), POINTS[2])
        theta, levels, mass = _evaluate(form, rungs, centre, (slopes, floors, offsets))
    inside = spread_points() - 0.5
    point, level, jitter = _resample(levels, mass, inside[:, 3])
    theta = theta[point]
    theta[:, 0] *= np.exp(inside[:, 0] * np.log(slopes[1] / slopes[0]))
    if form.floor:
        theta[:, 1] += inside[:, 1] * (floors[1] - floors[0])
        theta[:, 1] = np.clip(theta[:, 1], 1e-6, 1 - 1e-6)
    if form.offset:
        theta[:, 2] *= np.exp(inside[:, 2] * np.log(offsets[1] / offsets[0]))
    return Posterior(form, centre, theta, level, jitter)


def _support(axis: Array, mass: Array) -> tuple[float, float]:
    """The part of an axis that holds all but 1e-4 of the mass, and one cell more either way."""
    total = np.cumsum(mass) / mass.sum()
    first = int(np.searchsorted(total, 5e-5))
    last = int(np.searchsorted(total, 1 - 5e-5))
    return float(axis[max(first - 1, 0)]), float(axis[min(last + 1, len(axis) - 1)])


def _log_prior(form: Form, theta: Array, delta_top: float) -> Array:
    """Log prior density of theta (n, 3) in its own coordinates, up to a constant.

    The priors speak of b and of c at the largest rung; the Jacobian takes them to slope and
    floor at the centre. The slope axis is logarithmic, and so is the prior of b.
    """
    b = exponent(theta)
    result = -0.5 * (np.log(b / form.exponent_median) / form.exponent_sd_log) ** 2
    if form.floor:
        floor = theta[:, 1]
        # share = c / L(top) = floor / L(top) * L(centre)
        log_top = shape(theta, np.array([delta_top]))[:, 0]
        share = np.minimum(floor * np.exp(-log_top), 1 - 1e-12)
        log_decay = np.log(np.maximum(np.exp(log_top) - floor, 1e-300)) - np.log1p(-floor)
        result = result + np.log1p(-share) + log_decay - 2.0 * log_top
    return np.asarray(result)


def _evaluate(
    form: Form, rungs: Rungs, centre: float, axes: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """Grid points theta (k, 3), levels (k, jitters, levels), and posterior mass of that shape."""
    mesh = np.meshgrid(*axes, indexing="ij")
    theta = np.stack([axis.ravel() for axis in mesh], axis=1)
    residual = rungs.y - shape(theta, rungs.x - centre)  # (k, R)
    variance = rungs.variance + JITTERS[:, None] ** 2  # (T, R)
    weight = 1.0 / variance
    width = 1.0 / np.sqrt(weight.sum(axis=1))  # (T,)
    middle = residual @ (weight / weight.sum(axis=1, keepdims=True)).T  # (k, T)
    levels = middle[:, :, None] + (width[:, None] * LEVELS)[None]  # (k, T, M)
    logp = np.zeros_like(levels)
    for rung in range(len(rungs)):  # a loop keeps the memory at one (k, T, M) array
        error = residual[:, rung, None, None] - levels
        # t4 with variance v: density ~ v^-1/2 (1 + e^2 / (2 v))^-5/2
        logp -= 2.5 * np.log1p(error**2 / (2.0 * variance[:, rung, None]))
    prior_jitter = np.log(JITTERS) - 0.5 * (JITTERS / JITTER_SCALE) ** 2  # log-spaced axis
    per_jitter = prior_jitter + np.log(width) - 0.5 * np.log(variance).sum(axis=1)
    logp += per_jitter[None, :, None]
    logp += _log_prior(form, theta, float(rungs.x[-1] - centre))[:, None, None]
    mass = np.exp(logp - logp.max())
    return theta, levels, mass / mass.sum()


def _resample(levels: Array, mass: Array, inside: Array) -> tuple[NDArray[np.intp], Array, Array]:
    """Rows of theta, levels and jitters, (DRAWS,) each; `inside` in (-1/2, 1/2) places the level
    in its cell."""
    positions = (np.arange(DRAWS) + 0.5) / DRAWS
    cells = np.minimum(np.searchsorted(np.cumsum(mass.ravel()), positions), mass.size - 1)
    point, jitter, level = np.unravel_index(cells, mass.shape)
    step = levels[point, jitter, 1] - levels[point, jitter, 0]
    return point, levels[point, jitter, level] + inside * step, JITTERS[jitter]
