"""Back-tests: hide the top rungs, forecast them from those below, and learn from the misses.

Three things are learned, each from forecasts of rungs that the fit had not seen
(design/forecasting.md, protocol, points 2 and 3; design/recipe.md section 6, points 3 and 4):

- the weights of the laws in the stack: their forward-chaining scores. The marginal likelihood of a
  ladder is the product of the densities with which each rung was predicted from those below it
  (Dawid 1984, "The prequential approach"); in-sample fit plays no part;
- the drift: how much the truth departs from any of the laws per e-fold of extrapolation. On tiny
  ladders the slope still steepens (issue 2, probe), and a posterior that trusts its law is too
  sure; the drift makes the interval grow with the logarithm of the extrapolation ratio;
- the calibration: |residual| / predicted sd at matched ratios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foresight.forecast.draws import Array
from foresight.forecast.law import FORMS, PURE
from foresight.forecast.posterior import Posterior, fit_posterior
from foresight.forecast.priors import LEARNED, Prior
from foresight.forecast.rungs import Rungs

MIN_RUNGS = 3
"""Fewest rungs a back-test fits."""
MAX_CUTS = 8
"""A long ladder is cut at so many places, evenly."""
DRIFT_SCALE = 0.005
"""Prior scale (half-t4) of the drift, in log loss per e-fold of compute beyond the ladder."""
DRIFTS = np.geomspace(1e-4, 0.1, 61)
MIN_RESIDUALS, MIN_CUTS = 10, 3
"""A calibration needs so many residuals at a matched ratio, from so many different cuts."""


@dataclass(frozen=True)
class Residual:
    """One back-test forecast: rungs below `cut` fitted, rung `hidden` forecast.

    `observed` and `predicted` are log losses, the second the mean of the stack and `sd` its sd;
    `horizon` = ln(C_hidden / C_largest_fitted); `log_compute` = ln C_hidden.
    """

    cut: int
    hidden: int
    log_compute: float
    horizon: float
    observed: float
    predicted: float
    sd: float

    @property
    def error(self) -> float:
        return self.observed - self.predicted


@dataclass(frozen=True)
class Scored:
    """A residual, and `z` = error / sd with the drift of the *other* cuts in the sd."""

    residual: Residual
    z: float


@dataclass(frozen=True)
class Backtest:
    """`drift`: posterior mass (len(DRIFTS),)."""

    scored: tuple[Scored, ...]
    drift: Array

    def drift_sd(self) -> float:
        """Root mean square drift, in log loss per e-fold."""
        return math.sqrt(float(self.drift @ DRIFTS**2))


def centre_and_spread(draws: Array) -> tuple[float, float]:
    """Median, and half the central 68.3 %: a sd that single far draws do not move."""
    low, middle, high = np.quantile(draws, [0.15866, 0.5, 0.84134])
    return float(middle), float(high - low) / 2


@dataclass(frozen=True)
class Stack:
    """The laws fitted to one ladder, and their `weights` (sum 1)."""

    posteriors: tuple[Posterior, ...]
    weights: tuple[float, ...]

    def moments(self, x: float, seed_variance: float) -> tuple[float, float]:
        """Mean and sd of the log loss of one new run at ln C = x."""
        pairs = [centre_and_spread(one.log_loss(x, seed_variance)) for one in self.posteriors]
        means, sds = np.array(pairs).T
        weights = np.array(self.weights)
        mean = float(weights @ means)
        return mean, math.sqrt(float(weights @ (sds**2 + (means - mean) ** 2)))


def fit_stack(rungs: Rungs, prior: Prior = LEARNED) -> Stack:
    """Every law of the stack, weighted by its forward-chaining score."""
    posteriors = tuple(fit_posterior(form, rungs, prior) for form in FORMS)
    scores = np.array([one.log_evidence for one in posteriors])
    shared = (1.0 - prior.pure_weight) / (len(FORMS) - 1)
    before = np.array([prior.pure_weight if form is PURE else shared for form in FORMS])
    weights = before * np.exp(scores - scores.max())
    return Stack(posteriors, tuple(float(value) for value in weights / weights.sum()))


def run_backtest(rungs: Rungs, prior: Prior = LEARNED) -> Backtest:
    """Back-test at the cuts that leave `MIN_RUNGS` rungs to fit and one to forecast; of many, at
    `MAX_CUTS` evenly spread ones."""
    residuals: list[Residual] = []
    cuts = np.arange(MIN_RUNGS, len(rungs))
    if len(cuts) > MAX_CUTS:
        cuts = cuts[np.linspace(0, len(cuts) - 1, MAX_CUTS).round().astype(int)]
    for cut in (int(value) for value in cuts):
        stack = fit_stack(rungs.take(slice(0, cut)), prior)
        for hidden in range(cut, len(rungs)):
            x = float(rungs.x[hidden])
            mean, sd = stack.moments(x, float(rungs.variance[hidden]))
            horizon = x - float(rungs.x[cut - 1])
            residuals.append(Residual(cut, hidden, x, horizon, float(rungs.y[hidden]), mean, sd))
    return _judge(residuals)


def _judge(residuals: Sequence[Residual]) -> Backtest:
    scored = []
    for item in residuals:
        drift = drift_posterior([other for other in residuals if other.cut != item.cut])
        total = math.sqrt(item.sd**2 + float(drift @ DRIFTS**2) * item.horizon**2)
        scored.append(Scored(item, item.error / total))
    return Backtest(tuple(scored), drift_posterior(residuals))


def drift_posterior(residuals: Sequence[Residual]) -> Array:
    """Posterior mass over `DRIFTS` given back-test forecasts.

    An error at horizon h is Student-t4 with variance sd^2 + (drift h)^2. Errors of one cut share
    its fit and go wrong together, so each cut counts as one observation in all.
    """
    log_mass = -2.5 * np.log1p((DRIFTS / DRIFT_SCALE) ** 2 / 4.0) + np.log(DRIFTS)
    cuts = [item.cut for item in residuals]
    for item in residuals:
        variance = item.sd**2 + (DRIFTS * item.horizon) ** 2
        log_score = -0.5 * np.log(variance) - 2.5 * np.log1p(item.error**2 / (2.0 * variance))
        log_mass = log_mass + log_score / cuts.count(item.cut)
    mass = np.exp(log_mass - log_mass.max())
    return np.asarray(mass / mass.sum())


def widening(backtest: Backtest, horizon: float) -> float | None:
    """Factor by which to stretch the intervals about their median; None: not calibrated.

    There must be `MIN_RESIDUALS` back-test residuals whose horizon is within half of and twice this
    one; the factor is the conformal 80 % quantile of their |z| over the normal's, limited to
    [0.9, 4]: a few clean back-tests are little licence to narrow them (LOG.md has the coverage of
    simulated families with 0.8, 0.9 and 1). Uncalibrated intervals stand as the
    posterior gives them: widening them by Student's t with rungs - 1 degrees of freedom
    (recipe.md section 6, point 4) over-covered on public ladders, where the learned prior and the
    drift say what is not known (LOG.md).
    """
    matched = [s for s in backtest.scored if horizon / 2 <= s.residual.horizon <= 2 * horizon]
    if len(matched) < MIN_RESIDUALS or len({s.residual.cut for s in matched}) < MIN_CUTS:
        return None
    sizes = sorted(abs(entry.z) for entry in matched)
    rank = min(math.ceil(0.8 * (len(sizes) + 1)), len(sizes))
    return min(max(sizes[rank - 1] / 1.2816, 0.9), 4.0)
