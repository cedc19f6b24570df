"""Back-tests: hide the top rungs, forecast them from those below, and learn from the misses.

Three things are learned, each from forecasts of rungs that the fit had not seen
(design/forecasting.md, protocol, points 2 and 3; design/recipe.md section 6, points 3 and 4):

- the weights of the laws in the stack (forward chaining, never in-sample fit);
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
from numpy.typing import NDArray

from foresight.forecast.draws import student_quantile
from foresight.forecast.law import FORMS
from foresight.forecast.posterior import Posterior, fit_posterior
from foresight.forecast.rungs import Rungs

Array = NDArray[np.float64]

MIN_RUNGS = 3
"""Fewest rungs a back-test fits."""
NEXT = 2
"""The stack is scored on so many rungs beyond each cut."""
DRIFT_SCALE = 0.005
"""Prior scale (half-t4) of the drift, in log loss per e-fold of compute beyond the ladder."""
DRIFTS = np.geomspace(1e-4, 0.1, 61)
MIN_RESIDUALS, MIN_CUTS = 10, 3
"""A calibration needs so many residuals at a matched ratio, from so many different cuts."""
LEVELS = (50, 80, 95)


@dataclass(frozen=True)
class Residual:
    """One back-test forecast: rungs below `cut` fitted, rung `hidden` forecast.

    `observed` is its mean log loss; `medians` and `sds` (one per law) are of the log loss;
    `horizon` = ln(C_hidden / C_largest_fitted); `log_compute` = ln C_hidden.
    """

    cut: int
    hidden: int
    log_compute: float
    horizon: float
    observed: float
    medians: tuple[float, ...]
    sds: tuple[float, ...]


@dataclass(frozen=True)
class Scored:
    """A residual as the stack of its time saw it: `error` = observed - predicted log loss, `sd`
    its predicted sd from laws and noise, `z` = error / sd with the drift of the *other* cuts."""

    residual: Residual
    predicted: float
    error: float
    sd: float
    z: float


@dataclass(frozen=True)
class Backtest:
    """`weights`: of each law in `FORMS`; `drift`: posterior mass (len(DRIFTS),)."""

    scored: tuple[Scored, ...]
    weights: tuple[float, ...]
    drift: Array

    def drift_sd(self) -> float:
        """Root mean square drift, in log loss per e-fold."""
        return math.sqrt(float(self.drift @ DRIFTS**2))


def centre_and_spread(draws: Array) -> tuple[float, float]:
    """Median, and half the central 68.3 %: a sd that single far draws do not move."""
    low, middle, high = np.quantile(draws, [0.15866, 0.5, 0.84134])
    return float(middle), float(high - low) / 2


def fit_all(rungs: Rungs) -> tuple[Posterior, ...]:
    """The posterior of every law of the stack."""
    return tuple(fit_posterior(form, rungs) for form in FORMS)


def run_backtest(rungs: Rungs) -> Backtest:
    """Back-test at every cut that leaves `MIN_RUNGS` rungs to fit and one to forecast."""
    residuals: list[Residual] = []
    for cut in range(MIN_RUNGS, len(rungs)):
        posteriors = fit_all(rungs.take(slice(0, cut)))
        for hidden in range(cut, len(rungs)):
            x = float(rungs.x[hidden])
            pairs = [
                centre_and_spread(posterior.log_loss(x, float(rungs.variance[hidden])))
                for posterior in posteriors
            ]
            residuals.append(
                Residual(
                    cut=cut,
                    hidden=hidden,
                    log_compute=x,
                    horizon=x - float(rungs.x[cut - 1]),
                    observed=float(rungs.y[hidden]),
                    medians=tuple(pair[0] for pair in pairs),
                    sds=tuple(pair[1] for pair in pairs),
                )
            )
    return _judge(residuals)


def _judge(residuals: Sequence[Residual]) -> Backtest:
    mixed = []
    for item in residuals:
        # What a forecaster standing at this cut could have known: misses on rungs below it.
        weights = stack_weights([past for past in residuals if past.hidden < item.cut])
        mean, sd = _mixture(item, weights)
        mixed.append((item, mean, sd))
    scored = []
    for item, mean, sd in mixed:
        others = [entry for entry in mixed if entry[0].cut != item.cut]
        drift = drift_posterior(others)
        total = math.sqrt(sd**2 + float(drift @ DRIFTS**2) * item.horizon**2)
        error = item.observed - mean
        scored.append(Scored(item, mean, error, sd, error / total))
    return Backtest(tuple(scored), stack_weights(residuals), drift_posterior(mixed))


def _mixture(item: Residual, weights: Sequence[float]) -> tuple[float, float]:
    """Mean and sd of the stack's prediction of one hidden rung."""
    means, sds, w = np.array(item.medians), np.array(item.sds), np.array(weights)
    mean = float(w @ means)
    return mean, math.sqrt(float(w @ (sds**2 + (means - mean) ** 2)))


def stack_weights(residuals: Sequence[Residual]) -> tuple[float, ...]:
    """Weights of the laws that maximise the mixture's forward-chaining log score.

    Stacking of predictive distributions (Yao, Vehtari, Simpson, Gelman 2018) on the `NEXT` rungs
    after each cut, with a Dirichlet prior in the prior weights of the forms (so few residuals
    move little), by EM. Scores are Student-t4 and carry the prior drift: no law may win by
    being over-sure of a rung near by.
    """
    prior = np.array([form.weight for form in FORMS])
    weights = prior / prior.sum()
    near = [item for item in residuals if item.hidden < item.cut + NEXT]
    if not near:
        return tuple(float(value) for value in weights)
    means, sds = np.array([i.medians for i in near]), np.array([i.sds for i in near])
    horizon = np.array([i.horizon for i in near])[:, None]
    observed = np.array([i.observed for i in near])[:, None]
    variance = sds**2 + (DRIFT_SCALE * horizon) ** 2
    log_score = -0.5 * np.log(variance) - 2.5 * np.log1p((observed - means) ** 2 / (2 * variance))
    score = np.exp(log_score - log_score.max(axis=1, keepdims=True))
    for _ in range(200):
        share = weights * score
        share /= share.sum(axis=1, keepdims=True)
        weights = (prior + share.sum(axis=0)) / (prior.sum() + len(near))
    return tuple(float(value) for value in weights)


def drift_posterior(mixed: Sequence[tuple[Residual, float, float]]) -> Array:
    """Posterior mass over `DRIFTS` given (residual, predicted log loss, its sd).

    An error at horizon h is Student-t4 with variance sd^2 + (drift h)^2. Errors of one cut share
    its fit and go wrong together, so each cut counts as one observation in all.
    """
    log_mass = -2.5 * np.log1p((DRIFTS / DRIFT_SCALE) ** 2 / 4.0) + np.log(DRIFTS)
    cuts = [item.cut for item, _, _ in mixed]
    for item, mean, sd in mixed:
        variance = sd**2 + (DRIFTS * item.horizon) ** 2
        error = item.observed - mean
        log_score = -0.5 * np.log(variance) - 2.5 * np.log1p(error**2 / (2.0 * variance))
        log_mass = log_mass + log_score / cuts.count(item.cut)
    mass = np.exp(log_mass - log_mass.max())
    return np.asarray(mass / mass.sum())


def widening(backtest: Backtest, horizon: float, rungs: int) -> tuple[bool, dict[int, float]]:
    """(calibrated, factor by which to stretch the interval of each level about its median).

    Calibrated: there are `MIN_RESIDUALS` back-test residuals whose horizon is within half of and
    twice this one; then one factor, the conformal 80 % quantile of their |z| over the normal's,
    limited to [0.8, 4]. Otherwise the normal quantile is replaced by Student's with rungs - 1
    degrees of freedom (recipe.md section 6, point 4).
    """
    matched = [s for s in backtest.scored if horizon / 2 <= s.residual.horizon <= 2 * horizon]
    if len(matched) >= MIN_RESIDUALS and len({s.residual.cut for s in matched}) >= MIN_CUTS:
        sizes = sorted(abs(entry.z) for entry in matched)
        rank = min(math.ceil(0.8 * (len(sizes) + 1)), len(sizes))
        factor = min(max(sizes[rank - 1] / 1.2816, 0.8), 4.0)
        return True, dict.fromkeys(LEVELS, factor)
    degrees = max(rungs - 1, 2)
    normal = {50: 0.67449, 80: 1.28155, 95: 1.95996}
    return False, {
        level: student_quantile(0.5 + level / 200, degrees) / normal[level] for level in LEVELS
    }
