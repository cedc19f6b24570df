"""What a ladder would tell before it is trained: expected width of the interval at a target.

Pre-posterior analysis (Chaloner & Verdinelli 1995, "Bayesian experimental design: a review") in
two ways. A *screen* of a few milliseconds, to rank hundreds of designs: the posterior variance of
the target's log loss that is expected after a design is the residual variance of a regression, over
draws of the law, of the target on what the design would show (Strong, Oakley, Brennan 2014,
"Estimating multiparameter partial expected value of perfect information from a probabilistic
sensitivity analysis sample"). And *simulation*, whose numbers are the ones to quote: ladders are
drawn, fitted by `forecast.fit` as any table is, and their intervals measured.

What may be true is drawn from the whole stack of laws, so doubt about the form is in it. Without
runs the draws come from the priors: they are the posterior of a ladder too noisy to say anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from foresight.errors import UserError
from foresight.forecast.backtest import Stack, fit_stack, run_backtest
from foresight.forecast.draws import Array
from foresight.forecast.forecast import Fit, fit
from foresight.forecast.posterior import AGEING
from foresight.forecast.rungs import SAME_RUNG, NoiseModel, Rungs, pool_noise
from foresight.forecast.table import Row, RunTable

DRAWS = 2000
"""Draws of the laws behind the screen."""
GRID = 120
"""Points of log compute between which the screen interpolates each draw."""
SAYS_NOTHING = 1e4
"""Variance of log loss of the rungs whose posterior is the prior."""
DECADES_BELOW = 8.0
"""How far below the target rungs may lie."""
MAX_RUNGS = 12
TRUTHS = 12
"""Simulated ladders behind a width that is quoted."""
SEED = 20251125


@dataclass(frozen=True)
class Design:
    """Rungs to train: `compute_flops` of each run, rising, and `seeds`, how many runs of each."""

    compute_flops: tuple[float, ...]
    seeds: tuple[int, ...]

    @property
    def cost_flops(self) -> float:
        return sum(c * s for c, s in zip(self.compute_flops, self.seeds, strict=True))

    @property
    def x(self) -> Array:
        """ln C of each rung."""
        return np.log(self.compute_flops)


NOTHING = Design((), ())


@dataclass(frozen=True)
class Width:
    """Simulated half-width of the 95 % interval, as the natural log of a factor (0.01 is 1 %).

    `half_width95` is the geometric mean over simulated ladders, `standard_error` that of its log.
    """

    half_width95: float
    standard_error: float


@dataclass(frozen=True)
class Prospect:
    """What may be true of the law, and of the `target_flops` under it.

    `stack`: the laws and their weights. `fitted`: the fit to the runs there are, None
    before the first; then the level of the loss is unknown and every draw has level 0.
    """

    target_flops: float
    stack: Stack
    noise: NoiseModel
    drift_sd: float
    fitted: Fit | None

    @classmethod
    def of_runs(cls, fitted: Fit, target_flops: float) -> Prospect:
        """From the fit to a pilot ladder. Raises UserError if it has too few rungs."""
        if fitted.rungs is None or fitted.stack is None or fitted.backtest is None:
            raise UserError(
                "the runs have fewer than 3 eligible rungs: too few to plan from; "
                "leave them out to plan from the priors alone"
            )
        drift_sd = fitted.backtest.drift_sd()
        return cls(target_flops, fitted.stack, fitted.rungs.noise, drift_sd, fitted)

    @classmethod
    def of_priors(cls, low_flops: float, high_flops: float, target_flops: float) -> Prospect:
        """Before the first run, for rungs between two computes."""
        x = np.log([low_flops, high_flops])
        noise = pool_noise(x, [np.zeros(1), np.zeros(1)])
        blank = Rungs(x, np.zeros(2), np.full(2, SAYS_NOTHING), np.ones(2, np.int64), noise)
        blind = fit_stack(blank)
        level = tuple(replace(one, level=np.zeros_like(one.level)) for one in blind.posteriors)
        drift_sd = run_backtest(blank).drift_sd()
        return cls(target_flops, replace(blind, posteriors=level), noise, drift_sd, fitted=None)

    @property
    def rungs(self) -> Array:
        """ln C of the rungs there are."""
        return np.zeros(0) if self.fitted is None or self.fitted.rungs is None else (
            self.fitted.rungs.x
        )  # fmt: skip

    def horizon(self, design: Design) -> float:
        """ln of the extrapolation ratio that is left after a design."""
        top = max([*self.rungs, *design.x], default=-math.inf)
        return max(math.log(self.target_flops) - top, 0.0)

    def log_losses(self, x: Array) -> tuple[Array, Array]:
        """Draws of the laws, as many of each as its weight says: log losses at x (DRAWS, len(x)),
        and jitters (DRAWS,)."""
        ends = np.round(np.cumsum(self.stack.weights) * DRAWS).astype(int)
        losses, jitters = [], []
        for posterior, count in zip(self.stack.posteriors, np.diff(ends, prepend=0), strict=True):
            # Draws come in the order of the grid: every so many of them spreads over all of it.
            chosen = np.linspace(0, len(posterior.jitter) - 1, count).astype(int)
            losses.append(np.stack([posterior.mean_log_loss(float(at))[chosen] for at in x], 1))
            jitters.append(posterior.jitter[chosen])
        return np.concatenate(losses), np.concatenate(jitters)

    @cached_property
    def _grid(self) -> tuple[Array, Array, Array, Array]:
        """ln C (GRID,), log losses there (DRAWS, GRID), jitters, and noise for any ladder."""
        target = math.log(self.target_flops)
        x = np.linspace(target - DECADES_BELOW * math.log(10), target, GRID)
        noise = np.random.default_rng(SEED).standard_normal((DRAWS, MAX_RUNGS))
        return x, *self.log_losses(x), noise

    def screen(self, design: Design) -> float:
        """Expected half-width of the 95 % interval at the target after `design`, in log loss;
        for ranking only: it does not know how drift and calibration will learn."""
        grid, curves, jitter, noise = self._grid
        place = (design.x - grid[0]) / (grid[1] - grid[0])
        left = np.clip(place.astype(int), 0, GRID - 2)
        losses = curves[:, left] + (curves[:, left + 1] - curves[:, left]) * (place - left)
        variance = self.noise.variance(design.x) / np.array(design.seeds, dtype=np.float64)
        below = design.x.max(initial=-math.inf) - design.x
        scatter = np.sqrt(variance + jitter[:, None] ** 2 * (1.0 + (AGEING * below) ** 2))
        seen = losses + scatter * noise[:, : len(left)]
        law = _residual_variance(
            seen, curves[:, -1], design.x, scatter.mean(axis=0), self.fitted is not None
        )
        run = float(self.noise.variance(grid[-1])) + float(np.mean(jitter**2))
        drift = (self.drift_sd * self.horizon(design)) ** 2
        return 1.96 * math.sqrt(law + run + drift)

    def _truth(self, number: int) -> int:
        """Which draw is the truth of a simulated ladder: each `TRUTHS` of them spread over how
        much the loss falls, on which widths depend most, and between those before."""
        losses, _ = self.log_losses(math.log(self.target_flops) - np.array([0.0, math.log(100.0)]))
        order = np.argsort(losses[:, 1] - losses[:, 0], kind="stable")
        place = (number % TRUTHS + 0.5) / TRUTHS + number // TRUTHS * 0.618 / TRUTHS
        return int(order[int(place % 1.0 * DRAWS)])

    def simulate(self, design: Design, number: int) -> float:
        """Log of the 95 % half-width that `forecast.fit` gives after one simulated ladder;
        the same `number` is the same truth in every design."""
        rng = np.random.default_rng([SEED, number])
        truth = self._truth(number)
        losses, jitter = self.log_losses(design.x)
        # Where runs have shown how laws go wrong beyond a ladder, the truth may go wrong so.
        beyond = np.maximum(design.x - max(self.rungs, default=math.inf), 0.0)
        means = losses[truth] + self.drift_sd * rng.standard_normal() * beyond
        rows = [] if self.fitted is None else list(self.fitted.table.fitted)
        group = rows[0].group if rows else None
        for at, (compute, seeds) in enumerate(zip(design.compute_flops, design.seeds, strict=True)):
            common = means[at] + self._common(design.x[at], means[at], jitter[truth], rng)
            each = math.sqrt(float(self.noise.variance(math.log(compute))))
            for seed in range(seeds):
                loss = math.exp(common + each * rng.standard_normal())
                rows.append(Row(f"planned {at}/{seed}", compute, loss, seed=seed, group=group))
        return math.log(half_width95(fit(RunTable(tuple(rows))), self.target_flops))

    def _common(self, x: float, mean: float, jitter: float, rng: np.random.Generator) -> float:
        """What the recipe's jitter adds to every run of a rung; at a rung there is, its runs have
        told about it (the conjugate normal posterior)."""
        z = jitter * float(rng.standard_normal())
        rungs = None if self.fitted is None else self.fitted.rungs
        if rungs is None or np.abs(rungs.x - x).min() > SAME_RUNG:
            return z
        at = int(np.abs(rungs.x - x).argmin())
        told = jitter**2 / (jitter**2 + float(rungs.variance[at]))
        return told * (float(rungs.y[at]) - mean) + math.sqrt(1.0 - told) * z


def width_of(log_half_widths: Sequence[float]) -> Width:
    """Their geometric mean and its standard error."""
    values = np.array(log_half_widths)
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return Width(math.exp(float(values.mean())), error)


def half_width95(fitted: Fit, target_flops: float) -> float:
    """Half the log ratio of the 95 % interval's ends, whatever the verdict."""
    forecast = fitted.predict(target_flops, force=True)
    assert forecast.intervals is not None, "a forced forecast has intervals"
    low, high = forecast.intervals[95]
    return math.log(high / low) / 2


def _residual_variance(
    seen: Array, target: Array, x: Array, scatter: Array, level_known: bool
) -> float:
    """Typical variance of `target` (n,) that is left after regressing it on what a design shows.

    That is `seen` (n, R), summarised by weighted orthogonal polynomials of log compute up to the
    cubic, their products and cubes. With the level unknown only contrasts may speak, so the level
    seen is taken off the target.
    """
    columns = [np.ones(len(target))]
    if len(x):
        powers = (x[:, None] - x.mean()) ** np.arange(min(len(x), 4))
        orthogonal, _ = np.linalg.qr(powers / scatter[:, None])
        summary = (seen / scatter) @ orthogonal
        if not level_known:
            level = orthogonal[:, 0] / scatter
            target = target - seen @ (level / level.sum())
            summary = summary[:, 1:]
        first = (summary - summary.mean(axis=0)) / summary.std(axis=0)
        products = [first[:, i] * first[:, j] for i in range(first.shape[1]) for j in range(i + 1)]
        columns += [*first.T, *products, *(first**3).T]
    basis, _ = np.linalg.qr(np.stack(columns, axis=1))
    residual = target - basis @ (basis.T @ target)
    # The geometric mean of squares, as that of widths is quoted; for a normal it is e^-1.27 of
    # the mean of squares.
    return math.exp(float(np.mean(np.log(residual**2 + 1e-12))) + 1.27)
