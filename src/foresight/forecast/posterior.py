"""Posterior of one law, on a grid that zooms in, its evidence, and its predictive draws.

Likelihood (design/recipe.md section 6, point 2): the mean log loss of rung i is Student-t with
4 degrees of freedom about the law, with variance sigma_i^2 / seeds_i + jitter_i^2: the measured
seed noise, and a free "recipe jitter" that all seeds of a rung share. It grows by `AGEING` per
e-fold of compute below the largest rung, because laws are approximations and a forecast of larger
runs should listen to the upper rungs.

Priors, all free of units: `priors.Prior` for exponent and floor; offset C0 log-uniform between
1/30 and 30 of the smallest rung; fading excess log-uniform between 0.2 % and 100 % of the loss at
the smallest rung, its exponent one of two; jitter half-normal, scale 0.5 % (recipe.md has 0.1 %
for tuned ladders above 1e15 FLOPs; pocket ladders are rougher and the data overrule either).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.forecast.draws import normal, student4, uniform
from foresight.forecast.law import (
    FADE,
    FADE_EXPONENT,
    FLOOR_SHARE,
    OFFSET_RATIO,
    SLOPE,
    Form,
    PowerLaw,
    closed_form,
    exponent,
    lasting,
    shape,
)
from foresight.forecast.priors import LEARNED, Prior
from foresight.forecast.rungs import Rungs

Array = NDArray[np.float64]

DRAWS = 2000
JITTER_SCALE = 0.005
JITTERS = np.geomspace(3e-4, 0.04, 6)
AGEING = 0.3
"""Growth of the jitter per e-fold of compute below the largest rung, in units of the jitter."""
SLOPE_RANGE, FLOOR_RANGE = (2e-3, 1.0), (1e-3, 0.995)
OFFSET_RANGE, FADE_RANGE = (1 / 30, 30.0), (2e-3, 1.0)
"""C0 in units of the smallest rung; the excess at the smallest rung as a share of the loss."""
FADE_EXPONENTS = (0.4, 1.2)
POINTS = (16, 12, 6)
"""Grid points of the slope, of the floor, and of offset or fading excess."""
ZOOMS = 2
REWEIGHTINGS = 3
"""Steps towards the mode of the level under the Student-t likelihood."""
CHUNK = 20_000
"""Numbers handled at a time: they stay in the cache, which is several times faster."""


@dataclass(frozen=True)
class Posterior:
    """Equally weighted draws: `theta` (n, 5), `level` (n,) = ln L(centre), `jitter` (n,);
    `centre` = ln C_centre; `log_evidence` = ln of the marginal likelihood of the rungs."""

    form: Form
    centre: float
    theta: Array
    level: Array
    jitter: Array
    log_evidence: float

    def mean_log_loss(self, x: float) -> Array:
        """Draws (n,) of the law's log loss at ln C = x, without noise."""
        return self.level + shape(self.theta, np.array([x - self.centre]))[:, 0]

    def log_loss(self, x: float, seed_variance: float) -> Array:
        """Draws (n,) of the log loss of one new run at ln C = x: law, jitter and seed noise."""
        scatter = np.sqrt(self.jitter**2 + seed_variance)
        return self.mean_log_loss(x) + scatter * student4(spread_points()[:, 4])

    def floor_shares(self, x: float) -> Array:
        """Draws (n,) of c / L at ln C = x, L without the fading excess."""
        log_ratio = lasting(self.theta, np.array([x - self.centre]))[:, 0]
        return np.asarray(self.theta[:, FLOOR_SHARE] * np.exp(-log_ratio))

    def summary(self) -> PowerLaw:
        """The written law at the medians of the draws' coordinates."""
        return closed_form(float(np.median(self.level)), np.median(self.theta, axis=0), self.centre)


def spread_points() -> Array:
    """The uniforms behind the draws, (DRAWS, 7): 0-3 place a draw in its grid cell, 4 is the
    noise of the new run, 5 and 6 are the drift's size and sign (`forecast.Fit.predict`)."""
    return uniform(DRAWS, 7)


@dataclass(frozen=True)
class _Axes:
    """Grid of the parameters: one axis each; a term that the form lacks has the one value 0."""

    slopes: Array
    floors: Array
    offsets: Array
    fades: Array
    fade_exponents: Array

    @classmethod
    def wide(cls, form: Form, smallest: float) -> _Axes:
        """`smallest` = C_min / C_centre. Fades are of the smallest rung here."""
        nothing = np.zeros(1)
        return cls(
            np.geomspace(*SLOPE_RANGE, POINTS[0]),
            np.linspace(*FLOOR_RANGE, POINTS[1]) if form.floor else nothing,
            np.geomspace(*OFFSET_RANGE, POINTS[2]) * smallest if form.offset else nothing,
            np.geomspace(*FADE_RANGE, POINTS[2]) if form.fading else nothing,
            np.array(FADE_EXPONENTS) if form.fading else nothing,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in (
            self.slopes, self.floors, self.offsets, self.fades, self.fade_exponents,
        ))  # fmt: skip

    def zoom(self, form: Form, mass: Array) -> _Axes:
        """The part of each axis that holds its mass; `mass` (points,)."""
        cells = mass.reshape(self.shape)

        def marginal(axis: int) -> Array:
            return np.asarray(cells.sum(axis=tuple(i for i in range(5) if i != axis)))

        return _Axes(
            np.geomspace(*_support(self.slopes, marginal(SLOPE)), POINTS[0]),
            np.linspace(*_support(self.floors, marginal(FLOOR_SHARE)), POINTS[1])
            if form.floor
            else self.floors,
            np.geomspace(*_support(self.offsets, marginal(OFFSET_RATIO)), POINTS[2])
            if form.offset
            else self.offsets,
            np.geomspace(*_support(self.fades, marginal(FADE)), POINTS[2])
            if form.fading
            else self.fades,
            self.fade_exponents,
        )

    def theta(self, delta_bottom: float) -> Array:
        """Every grid point as theta (k, 5), fades taken from the smallest rung to the centre."""
        mesh = np.meshgrid(self.slopes, self.floors, self.offsets, self.fades,
                           self.fade_exponents, indexing="ij")  # fmt: skip
        theta = np.stack([axis.ravel() for axis in mesh], axis=1)
        theta[:, FADE] *= np.exp(theta[:, FADE_EXPONENT] * delta_bottom)
        return theta

    def log_cell(self, form: Form) -> float:
        """ln of the prior mass that a cell has by its size, where the prior is uniform in the
        axis; for slope and floor its volume (their prior is a density, see `_log_prior`)."""
        result = math.log(_log_step(self.slopes))
        if form.floor:
            result += math.log(float(self.floors[1] - self.floors[0]))
        if form.offset:
            result += math.log(
                _log_step(self.offsets) / math.log(OFFSET_RANGE[1] / OFFSET_RANGE[0])
            )
        if form.fading:
            result += math.log(_log_step(self.fades) / math.log(FADE_RANGE[1] / FADE_RANGE[0]))
            result -= math.log(len(FADE_EXPONENTS))
        return result


def _log_step(axis: Array) -> float:
    return float(np.log(axis[1] / axis[0]))


def _support(axis: Array, mass: Array) -> tuple[float, float]:
    """The part of an axis that holds all but 1e-4 of the mass, and one cell more either way."""
    total = np.cumsum(mass) / mass.sum()
    first = int(np.searchsorted(total, 5e-5))
    last = int(np.searchsorted(total, 1 - 5e-5))
    return float(axis[max(first - 1, 0)]), float(axis[min(last + 1, len(axis) - 1)])


def fit_posterior(form: Form, rungs: Rungs, prior: Prior = LEARNED) -> Posterior:
    """Posterior of `form` given the rungs; deterministic.

    The axes of `theta` start wide and close in on the mass, `ZOOMS` times; given theta and jitter
    the level is normal about its mode (Laplace). Draws are taken by systematic resampling of the
    cells and spread evenly inside them.
    """
    assert len(rungs) >= 2, "a law needs two rungs"
    centre = float(rungs.x.mean())
    delta = rungs.x - centre
    bottom = float(delta[0])
    axes = _Axes.wide(form, math.exp(bottom))
    for zoom in range(ZOOMS + 1):
        theta = axes.theta(bottom)
        log_mass, levels, widths = _likelihood(theta, rungs, delta)
        log_mass += _log_prior(form, prior, theta, float(delta[-1]))[:, None] + axes.log_cell(form)
        highest = float(log_mass.max())
        mass = np.exp(log_mass - highest)
        if zoom < ZOOMS:
            axes = axes.zoom(form, mass.sum(axis=1))
    inside = spread_points()
    positions = (np.arange(DRAWS) + 0.5) / DRAWS * mass.sum()
    cells = np.minimum(np.searchsorted(np.cumsum(mass.ravel()), positions), mass.size - 1)
    point, jitter = np.unravel_index(cells, mass.shape)
    level = levels[point, jitter] + widths[point, jitter] * normal(inside[:, 3])
    return Posterior(
        form,
        centre,
        _spread(form, axes, theta[point], inside - 0.5),
        level,
        JITTERS[jitter],
        highest + math.log(float(mass.sum())),
    )


def _spread(form: Form, axes: _Axes, theta: Array, inside: Array) -> Array:
    """Draws moved from their grid points to evenly spread places in their cells."""
    theta = theta.copy()
    theta[:, SLOPE] *= np.exp(inside[:, 0] * _log_step(axes.slopes))
    if form.floor:
        theta[:, FLOOR_SHARE] += inside[:, 1] * (axes.floors[1] - axes.floors[0])
        theta[:, FLOOR_SHARE] = np.clip(theta[:, FLOOR_SHARE], 1e-6, 1 - 1e-6)
    if form.offset:
        theta[:, OFFSET_RATIO] *= np.exp(inside[:, 2] * _log_step(axes.offsets))
    if form.fading:
        theta[:, FADE] *= np.exp(inside[:, 2] * _log_step(axes.fades))
    return theta


def _log_prior(form: Form, prior: Prior, theta: Array, delta_top: float) -> Array:
    """Log prior density of (ln slope, floor) at theta (n, 5).

    The prior speaks of ln b and of c as a share of the law at the largest rung; the Jacobian
    takes them to the slope and floor at the centre.
    """
    median, sd = (
        (prior.exponent_median, prior.exponent_sd_log)
        if form.floor
        else (prior.free_exponent_median, prior.free_exponent_sd_log)
    )
    b = exponent(theta)
    result = -0.5 * (np.log(b / median) / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi))
    if form.floor:
        p, q = prior.floor_alpha, prior.floor_beta
        floor = theta[:, FLOOR_SHARE]
        # share = c / L(top) = floor / L(top) * L(centre)
        log_top = lasting(theta, np.array([delta_top]))[:, 0]
        share = np.minimum(floor * np.exp(-log_top), 1 - 1e-12)
        log_decay = np.log(np.maximum(np.exp(log_top) - floor, 1e-300)) - np.log1p(-floor)
        log_beta = math.lgamma(p) + math.lgamma(q) - math.lgamma(p + q)
        result = result + (p - 1) * np.log(share) + (q - 1) * np.log1p(-share) - log_beta
        result = result + log_decay - 2.0 * log_top
    return np.asarray(result)


def _likelihood(theta: Array, rungs: Rungs, delta: Array) -> tuple[Array, Array, Array]:
    """Log likelihood with the level integrated out, times the jitter's prior; mode and sd of the
    level; each (k, jitters)."""
    size = max(CHUNK // (len(delta) * len(JITTERS)), 1)
    parts = [
        _chunk_likelihood(theta[start : start + size], rungs, delta)
        for start in range(0, len(theta), size)
    ]
    mass, level, width = (np.concatenate(column) for column in zip(*parts, strict=True))
    return mass, level, width


def _chunk_likelihood(theta: Array, rungs: Rungs, delta: Array) -> tuple[Array, Array, Array]:
    residual = (rungs.y - shape(theta, delta))[:, None, :]  # (k, 1, R)
    ageing = 1.0 + (AGEING * (delta[-1] - delta)) ** 2
    variance = rungs.variance + JITTERS[:, None] ** 2 * ageing  # (T, R)
    precision = 1.0 / variance
    half_precision = 0.5 * precision
    level = residual[:, 0] @ (precision / precision.sum(axis=1, keepdims=True)).T
    for _ in range(REWEIGHTINGS):
        weight = precision / (1.0 + half_precision * (residual - level[:, :, None]) ** 2)
        level = (weight * residual).sum(axis=2) / weight.sum(axis=2)
    # t4 with variance v: density = 3/8 sqrt(2) / sqrt(v) (1 + e^2 / (2 v))^-5/2
    squared = half_precision * (residual - level[:, :, None]) ** 2
    curvature = (2.5 * precision * (1.0 - squared) / (1.0 + squared) ** 2).sum(axis=2)
    # Rungs that disagree can make the mode a saddle; their spread then stays below this.
    curvature = np.maximum(curvature, 0.25 * precision.sum(axis=1))
    log_density = -2.5 * np.log1p(squared).sum(axis=2) - 0.5 * np.log(variance).sum(axis=1)
    log_density += len(delta) * math.log(0.375 * math.sqrt(2.0)) - 0.5 * np.log(curvature)
    spacing = _log_step(JITTERS)
    half_normal = math.log(2.0 / math.sqrt(2.0 * math.pi) / JITTER_SCALE)
    prior_jitter = half_normal - 0.5 * (JITTERS / JITTER_SCALE) ** 2 + np.log(JITTERS * spacing)
    return log_density + prior_jitter, level, 1.0 / np.sqrt(curvature)
