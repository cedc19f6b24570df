"""Posterior of one law on a grid that closes in on its mass, its evidence, predictive draws.

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

from foresight.forecast.draws import Array, normal, student4, uniform
from foresight.forecast.grid import settle
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

DRAWS = 2000
JITTER_SCALE = 0.005
JITTERS = np.geomspace(3e-4, 0.04, 6)
AGEING = 0.3
"""Growth of the jitter per e-fold of compute below the largest rung, in units of the jitter."""
SLOPE_RANGE, FLOOR_RANGE = (2e-3, 1.0), (1e-3, 0.995)
OFFSET_RANGE, FADE_RANGE = (1 / 30, 30.0), (2e-3, 1.0)
"""C0 in units of the smallest rung; the excess at the smallest rung as a share of the loss."""
FADE_EXPONENTS = (0.4, 1.2)
CHUNK = 20_000
"""Numbers handled at a time: they stay in the cache, which is several times faster."""


@dataclass(frozen=True)
class _Effort:
    """Jitters of the grid, and steps towards the mode of the level under the Student-t."""

    jitters: Array
    reweightings: int


FULL, SEARCH = _Effort(JITTERS, 3), _Effort(JITTERS[1::2], 1)
"""The search for where the mass is needs less."""


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


def fit_posterior(form: Form, rungs: Rungs, prior: Prior = LEARNED) -> Posterior:
    """Posterior of `form` given the rungs; deterministic.

    A grid turns and closes in on the mass (`grid`), once for each exponent of the fading excess;
    given theta and jitter the level is normal about its mode (Laplace). Draws are taken by
    systematic resampling of the cells and spread evenly inside them.
    """
    assert len(rungs) >= 2, "a law needs two rungs"
    centre = float(rungs.x.mean())
    parts = [_Part(form, m, rungs, prior) for m in (FADE_EXPONENTS if form.fading else (1.0,))]
    log_mass = np.concatenate([part.log_mass.ravel() for part in parts])
    log_mass -= math.log(len(parts))
    highest = float(log_mass.max())
    total = np.cumsum(np.exp(log_mass - highest))
    positions = (np.arange(DRAWS) + 0.5) / DRAWS * total[-1]
    cells = np.minimum(np.searchsorted(total, positions), len(total) - 1)
    first = np.searchsorted(cells, parts[0].log_mass.size)
    inside = spread_points()
    draws = [parts[0].draws(cells[:first], inside[:first])]
    if len(parts) > 1:
        draws.append(parts[1].draws(cells[first:] - parts[0].log_mass.size, inside[first:]))
    theta, level, jitter = (np.concatenate(column) for column in zip(*draws, strict=True))
    return Posterior(form, centre, theta, level, jitter, highest + math.log(float(total[-1])))


class _Part:
    """Posterior mass of `form` with one exponent of the excess, on a settled grid.

    The grid's coordinates are ln slope, logit floor and ln of offset or excess in units of the
    smallest rung, those that the form has. `log_mass` (cells, jitters).
    """

    def __init__(self, form: Form, fade_exponent: float, rungs: Rungs, prior: Prior) -> None:
        self.form, self.fade_exponent, self.prior = form, fade_exponent, prior
        self.rungs, self.delta = rungs, rungs.x - rungs.x.mean()
        box = [_log(SLOPE_RANGE)]
        box += [_logit(FLOOR_RANGE)] if form.floor else []
        box += [_log(OFFSET_RANGE)] if form.offset else []
        box += [_log(FADE_RANGE)] if form.fading else []
        self.box = np.array(box)
        self.grid = settle(self.box, lambda points: _sum_exp(self._evaluate(points, SEARCH)[0]))
        log_mass, self.levels, self.widths = self._evaluate(self.grid.points(), FULL)
        self.log_mass = log_mass + self.grid.log_cell

    def theta(self, points: Array) -> Array:
        """theta (n, 5) at points (n, d)."""
        theta = np.zeros((len(points), 5))
        theta[:, SLOPE] = np.exp(points[:, 0])
        theta[:, FADE_EXPONENT] = self.fade_exponent
        if self.form.floor:
            theta[:, FLOOR_SHARE] = np.clip(1 / (1 + np.exp(-points[:, 1])), 1e-6, 1 - 1e-6)
        if self.form.offset:
            theta[:, OFFSET_RATIO] = np.exp(points[:, 2] + self.delta[0])
        if self.form.fading:
            theta[:, FADE] = np.exp(points[:, 2] + self.fade_exponent * self.delta[0])
        return theta

    def _evaluate(self, points: Array, effort: _Effort) -> tuple[Array, Array, Array]:
        """Log density times the jitter's prior, level and its sd, each (n, jitters)."""
        theta = self.theta(points)
        log_density, level, width = _likelihood(theta, self.rungs, self.delta, effort)
        log_prior = _log_prior(self.form, self.prior, theta, float(self.delta[-1]))
        if self.form.floor:  # the prior is per unit of the floor, the grid per unit of its logit
            log_prior += np.log(theta[:, FLOOR_SHARE]) + np.log1p(-theta[:, FLOOR_SHARE])
        if len(self.box) == 3:
            log_prior -= math.log(self.box[2, 1] - self.box[2, 0])
        outside = ((points < self.box[:, 0]) | (points > self.box[:, 1])).any(axis=1)
        log_prior[outside] = -1e9
        return log_density + log_prior[:, None], level, width

    def draws(self, cells: NDArray[np.int64], inside: Array) -> tuple[Array, Array, Array]:
        """Theta, level and jitter of cells of `log_mass`, moved evenly inside their cells."""
        point, jitter = np.unravel_index(cells, self.log_mass.shape)
        within = (inside[:, : len(self.box)] - 0.5) @ self.grid.edges.T
        level = self.levels[point, jitter] + self.widths[point, jitter] * normal(inside[:, 3])
        return self.theta(self.grid.points()[point] + within), level, JITTERS[jitter]


def _log(bounds: tuple[float, float]) -> tuple[float, float]:
    return math.log(bounds[0]), math.log(bounds[1])


def _logit(bounds: tuple[float, float]) -> tuple[float, float]:
    return math.log(bounds[0] / (1 - bounds[0])), math.log(bounds[1] / (1 - bounds[1]))


def _sum_exp(values: Array) -> Array:
    """ln of the sum of exp over the last axis."""
    highest = values.max(axis=-1, keepdims=True)
    return np.asarray(highest[..., 0] + np.log(np.exp(values - highest).sum(axis=-1)))


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


def _likelihood(
    theta: Array, rungs: Rungs, delta: Array, effort: _Effort
) -> tuple[Array, Array, Array]:
    """Log likelihood with the level integrated out, times the jitter's prior; mode and sd of the
    level; each (k, jitters)."""
    size = max(CHUNK // (len(delta) * len(effort.jitters)), 1)
    parts = [
        _chunk_likelihood(theta[start : start + size], rungs, delta, effort)
        for start in range(0, len(theta), size)
    ]
    mass, level, width = (np.concatenate(column) for column in zip(*parts, strict=True))
    return mass, level, width


def _chunk_likelihood(
    theta: Array, rungs: Rungs, delta: Array, effort: _Effort
) -> tuple[Array, Array, Array]:
    jitters, ones = effort.jitters, np.ones(len(delta))  # sums by products: faster on short axes
    residual = (rungs.y - shape(theta, delta))[:, None, :]  # (k, 1, R)
    ageing = 1.0 + (AGEING * (delta[-1] - delta)) ** 2
    variance = rungs.variance + jitters[:, None] ** 2 * ageing  # (T, R)
    precision = 1.0 / variance
    half_precision = 0.5 * precision
    level = residual[:, 0] @ (precision / precision.sum(axis=1, keepdims=True)).T
    for _ in range(effort.reweightings):
        weight = precision / (1.0 + half_precision * (residual - level[:, :, None]) ** 2)
        level = (weight * residual) @ ones / (weight @ ones)
    # t4 with variance v: density = 3/8 sqrt(2) / sqrt(v) (1 + e^2 / (2 v))^-5/2
    squared = half_precision * (residual - level[:, :, None]) ** 2
    curvature = 2.5 * precision * (1.0 - squared) / (1.0 + squared) ** 2 @ ones
    # Rungs that disagree can make the mode a saddle; their spread then stays below this.
    curvature = np.maximum(curvature, 0.25 * precision.sum(axis=1))
    log_density = -2.5 * np.log1p(squared) @ ones - 0.5 * np.log(variance).sum(axis=1)
    log_density += len(delta) * math.log(0.375 * math.sqrt(2.0)) - 0.5 * np.log(curvature)
    spacing = math.log(jitters[1] / jitters[0])
    half_normal = math.log(2.0 / math.sqrt(2.0 * math.pi) / JITTER_SCALE)
    prior_jitter = half_normal - 0.5 * (jitters / JITTER_SCALE) ** 2 + np.log(jitters * spacing)
    return log_density + prior_jitter, level, 1.0 / np.sqrt(curvature)
