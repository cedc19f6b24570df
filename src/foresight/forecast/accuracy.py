"""Accuracies by compute: -log(accuracy) as a loss, fitted by the laws for losses.

The law is -log(a) = A C^-k [+ c] of the accuracy a itself, and of the share above chance
(a - chance) / (1 - chance); which of the two holds differs from task to task, so both are fitted
and weighed by how well each foretold hidden rungs (forward chaining), never by in-sample fit.
The form is that of the pass-rate law (OpenAI 2023, "GPT-4 technical report", section 3.2); it beat
a two-step fit through the loss on public ladders (design/forecasting.md, lesson 8).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from foresight.errors import UserError
from foresight.forecast.codes import reasons_json, worst
from foresight.forecast.draws import (
    TAILS,
    Array,
    Estimate,
    equally_likely,
    rounded,
    uniform,
    weighted_quantiles,
)
from foresight.forecast.forecast import Fit, fit
from foresight.forecast.priors import ERROR
from foresight.forecast.reasons import Code
from foresight.forecast.scores import ScoreRow, ScoreTable
from foresight.forecast.table import Row, RunTable

DRAWS = 1000
WIDEN = 2.3
"""Stretches the intervals of log(-log a). Those of `fit` are made for losses; on the C4 ladder of
Gadre et al. (46 tasks, bench/accuracy.py) their 80 % had to be stretched about so far. The other
ladders there had been looked at when it was set, so that they are no clean hold-out."""
MAX_HALF_WIDTH = 0.10
"""A 95 % interval wider than so much accuracy either way is called wide."""


@dataclass(frozen=True)
class AccuracyForecast:
    """Accuracy (0..1) that will be measured at `compute_flops`: median `point`, `intervals` 50, 80,
    95, inside 0..1; None where refused. `weights`: of each law ("direct", "above chance")."""

    compute_flops: float
    point: float | None
    intervals: dict[int, tuple[float, float]] | None
    extrapolation_ratio: float | None
    verdict: str
    reasons: tuple[Code, ...]
    calibrated: bool
    weights: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return rounded(asdict(self) | {"reasons": reasons_json(self.reasons)})


@dataclass(frozen=True)
class AccuracyLaw:
    """One of the laws: `chance` is what it takes off, `weight` its share in the forecast."""

    name: str
    chance: float
    fitted: Fit
    weight: float


@dataclass(frozen=True)
class AccuracyFit:
    """The laws fitted to a table of accuracies."""

    table: ScoreTable
    laws: tuple[AccuracyLaw, ...]

    @property
    def weights(self) -> dict[str, float]:
        return rounded({law.name: law.weight for law in self.laws})

    def predict(self, compute_flops: float, *, force: bool = False) -> AccuracyForecast:
        """Forecast the accuracy at `compute_flops`; reasons and errors as in `Fit.predict`."""
        made = [(law, law.fitted.predict(compute_flops, force=force)) for law in self.laws]
        codes = {code for _, one in made for code in one.reasons} - {Code.WIDE_INTERVAL}
        able = [(law, one) for law, one in made if one.verdict != "refused" or one.point]
        weights = {law.name: law.weight for law, _ in able}
        if not able:
            refused = made[0][1]
            return AccuracyForecast(
                compute_flops, None, None, refused.extrapolation_ratio, "refused",
                tuple(sorted(codes)), False, weights,
            )  # fmt: skip
        draws, mass = [], []
        for law, one in able:
            assert one.point is not None and one.intervals is not None
            stretched = {
                level: (
                    one.point * (low / one.point) ** WIDEN,
                    one.point * (high / one.point) ** WIDEN,
                )
                for level, (low, high) in one.intervals.items()
            }
            losses = equally_likely(one.point, stretched, DRAWS)
            draws.append(self._measured(law.chance + (1.0 - law.chance) * np.exp(-losses)))
            mass.append(np.full(DRAWS, law.weight / DRAWS))
        found = Estimate.at(weighted_quantiles(np.concatenate(draws), np.concatenate(mass), TAILS))
        verdict = worst(one.verdict for _, one in able)
        if verdict == "wide" and codes <= {Code.NOT_CALIBRATED}:
            verdict = "forecast"  # it was wide in -log(accuracy) only
        if found.intervals[95][1] - found.intervals[95][0] > 2 * MAX_HALF_WIDTH:
            codes.add(Code.WIDE_INTERVAL)
            verdict = "wide" if verdict == "forecast" else verdict
        return AccuracyForecast(
            compute_flops, found.point, found.intervals, able[0][1].extrapolation_ratio, verdict,
            tuple(sorted(codes)), all(one.calibrated for _, one in able), weights,
        )  # fmt: skip

    def _measured(self, accuracy: Array) -> Array:
        """Draws of what would be measured: the true ones and the error of finitely many questions,
        as many as the standard error of the largest run speaks of. Shape of `accuracy`."""
        top = max(self.table.rows, key=lambda row: row.scale)
        if not top.stderr or not 0.0 < top.value < 1.0:
            return accuracy
        variance = accuracy * (1.0 - accuracy) * top.stderr**2 / (top.value * (1.0 - top.value))
        scores = np.array([NormalDist().inv_cdf(u) for u in uniform(len(accuracy), 1)[:, 0]])
        return np.asarray(np.clip(accuracy + scores * np.sqrt(variance), 0.0, 1.0))


def fit_accuracy(table: ScoreTable, chance: float | None = None) -> AccuracyFit:
    """Fit accuracies (0..1) of one recipe's ladder.

    With `chance` (0 < chance < 1) the law above chance competes with the direct one. Accuracies
    at or beyond a bound need standard errors. Raises UserError naming the run otherwise, and where
    the table is not ordered by compute.
    """
    if table.scale != "compute_flops":
        raise UserError(
            f"the scores are ordered by {table.scale}; forecasts need compute, in FLOPs"
        )
    if chance is not None and not 0.0 < chance < 1.0:
        raise UserError(f"chance {chance:g}: expected a share between 0 and 1")
    chances = {"direct": 0.0} | ({} if chance is None else {"above chance": chance})
    fits = {
        name: fit(RunTable(tuple(_row(row, off) for row in table.rows), table.metric), ERROR)
        for name, off in chances.items()
    }
    scores = np.array([_forward_score(fits[name], off) for name, off in chances.items()])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return AccuracyFit(table, tuple(
        AccuracyLaw(name, off, fits[name], float(weight))
        for (name, off), weight in zip(chances.items(), weights, strict=True)
    ))  # fmt: skip


def log_accuracy(row: ScoreRow, chance: float) -> tuple[float, float | None]:
    """-log of the share above chance, and the standard error of the log of that.

    A share is at least 0 and at most 1; where the standard error is known it is the mean of the
    normal about the measured share that is cut off at these bounds, so that 0 right answers, or
    fewer than chance, are information and no infinity. Raises UserError where it is not known.
    """
    if not 0.0 <= row.value <= 1.0:
        raise UserError(f"run {row.run}: accuracy {row.value:g}; expected a share from 0 to 1")
    share = (row.value - chance) / (1.0 - chance)
    if row.stderr:
        share, error = _truncated(share, row.stderr / (1.0 - chance))
        loss = -math.log(share)
        return loss, error / (share * loss)
    if not 0.0 < share < 1.0:
        raise UserError(
            f"run {row.run}: accuracy {row.value:g} with chance {chance:g} has no logarithm; give "
            f"standard errors, or the number of questions (--items)"
        )
    return -math.log(share), None


def _truncated(mean: float, sd: float) -> tuple[float, float]:
    """Mean and sd of a normal cut off at 0 and 1."""
    low, high = max(-mean / sd, -40.0), min((1.0 - mean) / sd, 40.0)
    # Far outside, what is left is an exponential tail at the bound.
    if low > 6.0:
        return sd / low, sd / low
    if high < -6.0:
        return 1.0 + sd / high, -sd / high
    density = [math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) for z in (low, high)]
    mass = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    shift = (density[0] - density[1]) / mass
    spread = 1.0 + (low * density[0] - high * density[1]) / mass - shift**2
    return mean + sd * shift, sd * math.sqrt(max(spread, 1e-12))


def _row(row: ScoreRow, chance: float) -> Row:
    loss, sigma = log_accuracy(row, chance)
    return Row(row.run, row.scale, loss, group=row.group, sigma=sigma)


def _forward_score(fitted: Fit, chance: float) -> float:
    """Log score of the hidden rungs' accuracies, mean over the rungs of each cut, summed."""
    per_cut: dict[int, list[float]] = {}
    for entry in fitted.backtest_rows():
        sd, loss = entry["sd_log"], entry["observed"]
        error = math.log(loss / entry["predicted"]) / sd
        # Student-t4 of log(loss), and the Jacobian of log(loss) in the accuracy.
        jacobian = (1.0 - chance) * math.exp(-loss) * loss
        score = -2.5 * math.log1p(error**2 / 2.0) - math.log(sd * jacobian)
        per_cut.setdefault(entry["rungs"], []).append(score)
    return sum(float(np.mean(scores)) for scores in per_cut.values())
