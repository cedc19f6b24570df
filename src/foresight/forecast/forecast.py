"""`fit` a run table, `predict` the loss of a larger run: point, intervals, verdict, reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from foresight.errors import UserError
from foresight.forecast.backtest import (
    DRIFTS,
    MIN_RUNGS,
    Backtest,
    Stack,
    fit_stack,
    run_backtest,
    widening,
)
from foresight.forecast.codes import reasons_json
from foresight.forecast.draws import (
    LEVELS,
    TAILS,
    Estimate,
    rounded,
    student4,
    weighted_quantiles,
)
from foresight.forecast.posterior import DRAWS, spread_points
from foresight.forecast.priors import LEARNED, Prior
from foresight.forecast.reasons import (
    MAX_HALF_WIDTH,
    MAX_RATIO,
    REFUSING,
    Code,
    reasons_of_fit,
    reasons_of_runs,
    verdict_of,
)
from foresight.forecast.rungs import Rungs, gather
from foresight.forecast.table import RunTable


@dataclass(frozen=True)
class LawPoint:
    """One law of the stack: its weight, its own median forecast, and its written parameters."""

    name: str
    formula: str
    weight: float
    point: float
    parameters: dict[str, float]


@dataclass(frozen=True)
class Forecast:
    """What is expected of one run of the recipe at `compute_flops`.

    `point` is the median and `intervals` maps 50, 80, 95 to (low, high), in the unit of the
    loss; `sd_log` is the predictive sd of log loss. All are None in a refused forecast that was
    not forced. `extrapolation_ratio` is target compute over the largest eligible rung's.
    """

    compute_flops: float
    point: float | None
    intervals: dict[int, tuple[float, float]] | None
    sd_log: float | None
    extrapolation_ratio: float | None
    verdict: str
    reasons: tuple[Code, ...]
    calibrated: bool
    laws: tuple[LawPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON value, floats rounded to 10 significant digits: same table, same bytes."""
        return rounded(asdict(self) | {"reasons": reasons_json(self.reasons)})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Forecast:
        """The inverse of `to_json`, up to its rounding."""
        intervals = value["intervals"]
        return cls(
            **{
                **value,
                "intervals": intervals and {int(key): (*pair,) for key, pair in intervals.items()},
                "reasons": tuple(Code[reason["code"].upper()] for reason in value["reasons"]),
                "laws": tuple(LawPoint(**law) for law in value["laws"]),
            }
        )

    def shifted(self, mean: float, sd: float) -> Forecast:
        """The same forecast with its log loss moved by `mean`, known to within `sd`."""
        if self.point is None or self.intervals is None or self.sd_log is None:
            return self
        middle = math.log(self.point)

        def moved(end: float, level: int) -> float:
            away = math.log(end) - middle
            extra = NormalDist().inv_cdf(0.5 + level / 200) * sd
            return math.exp(middle + mean + math.copysign(math.hypot(away, extra), away))

        return replace(
            self,
            point=math.exp(middle + mean),
            intervals={
                level: (moved(low, level), moved(high, level))
                for level, (low, high) in self.intervals.items()
            },
            sd_log=math.hypot(self.sd_log, sd),
        )


@dataclass(frozen=True)
class Fit:
    """A fitted table. `rungs`, `stack` and `backtest` are None with fewer than 3 rungs."""

    table: RunTable
    rungs: Rungs | None
    stack: Stack | None
    backtest: Backtest | None
    reasons: tuple[Code, ...]

    def predict(self, compute_flops: float, *, force: bool = False) -> Forecast:
        """Forecast the loss of one run at `compute_flops`.

        A refused forecast has reasons and no numbers unless `force`. Raises UserError if the
        compute is not a finite positive number, or if there is too little to force.
        """
        if not (math.isfinite(compute_flops) and compute_flops > 0):
            raise UserError(f"target compute {compute_flops}: expected a finite number above 0")
        if self.rungs is None or self.stack is None or self.backtest is None:
            if force:
                raise UserError(f"a forecast needs at least {MIN_RUNGS} eligible rungs")
            return self._refused(compute_flops, None, self.reasons)
        ratio = math.exp(math.log(compute_flops) - float(self.rungs.x[-1]))
        reasons = self.reasons
        if ratio > MAX_RATIO:
            reasons = (*reasons, Code.RATIO_TOO_LARGE)
        if REFUSING & set(reasons) and not force:
            return self._refused(compute_flops, ratio, reasons)
        return self._predict(compute_flops, ratio, reasons, self.rungs, self.stack, self.backtest)

    def _refused(
        self, compute_flops: float, ratio: float | None, reasons: tuple[Code, ...]
    ) -> Forecast:
        return Forecast(compute_flops, None, None, None, ratio, "refused", reasons, False, ())

    def _predict(
        self,
        compute_flops: float,
        ratio: float,
        reasons: tuple[Code, ...],
        rungs: Rungs,
        stack: Stack,
        backtest: Backtest,
    ) -> Forecast:
        x = math.log(compute_flops)
        horizon = max(math.log(ratio), 0.0)
        variance = float(rungs.noise.variance(x))
        per_law = [posterior.log_loss(x, variance) for posterior in stack.posteriors]
        # The drift is one more source of error, with its own uncertainty in every draw.
        u = spread_points()
        drift = np.interp(u[:, 5], np.cumsum(backtest.drift), DRIFTS)
        draws = np.concatenate([draw + drift * horizon * student4(u[:, 6]) for draw in per_law])
        weights = np.repeat(np.array(stack.weights) / DRAWS, DRAWS)
        factor = widening(backtest, horizon)
        stretch = 1.0 if factor is None else factor
        points = weighted_quantiles(draws, weights, np.array([*TAILS, 0.15866, 0.84134]))
        middle = float(points[0])
        found = Estimate.at(np.exp(middle + stretch * (points[:-2] - middle)))
        low, high = found.intervals[95]
        if math.log(high / low) / 2 > MAX_HALF_WIDTH:
            reasons = (*reasons, Code.WIDE_INTERVAL)
        if factor is None:
            reasons = (*reasons, Code.NOT_CALIBRATED)
        return Forecast(
            compute_flops=compute_flops,
            point=found.point,
            intervals=found.intervals,
            sd_log=float(points[-1] - points[-2]) / 2 * stretch,
            extrapolation_ratio=ratio,
            verdict=verdict_of(reasons),
            reasons=reasons,
            calibrated=factor is not None,
            laws=_law_points(x, stack),
        )

    @property
    def verdict(self) -> str:
        """What the ladder itself allows, whatever the target."""
        return verdict_of(self.reasons)

    def laws(self, compute_flops: float | None = None) -> tuple[LawPoint, ...]:
        """The stack: weights and parameters, each law's point at a compute (default: the largest
        rung); empty where nothing was fitted."""
        if self.rungs is None or self.stack is None:
            return ()
        x = float(self.rungs.x[-1]) if compute_flops is None else math.log(compute_flops)
        return _law_points(x, self.stack)

    def backtest_rows(self) -> list[dict[str, Any]]:
        """Back-test as JSON rows: rungs fitted, compute hidden, ratio, predicted and observed
        loss, its intervals, predicted sd of log loss, and residual over sd (with the drift)."""
        if self.backtest is None:
            return []
        rows = []
        for entry in self.backtest.scored:
            residual = entry.residual
            sd = abs(residual.error / entry.z) if entry.z else residual.sd
            spread = {level: sd * NormalDist().inv_cdf(0.5 + level / 200) for level in LEVELS}
            rows.append(
                {
                    "rungs": residual.cut,
                    "compute_flops": math.exp(residual.log_compute),
                    "ratio": math.exp(residual.horizon),
                    "predicted": math.exp(residual.predicted),
                    "observed": math.exp(residual.observed),
                    "intervals": {
                        str(level): [
                            math.exp(residual.predicted - half),
                            math.exp(residual.predicted + half),
                        ]
                        for level, half in spread.items()
                    },
                    "sd_log": sd,
                    "z": entry.z,
                }
            )
        return rounded(rows)


def fit(table: RunTable, prior: Prior = LEARNED) -> Fit:
    """Fit every law to the eligible rows of one recipe, and back-test it on its own top rungs.

    Raises UserError if the table mixes groups (`RunTable.where` picks one).
    """
    table.check_one_group()
    rows = table.fitted
    rungs = gather(rows) if rows else None
    reasons = reasons_of_runs(rows, rungs)
    if rungs is None or len(rungs) < MIN_RUNGS:
        return Fit(table, None, None, None, reasons)
    stack, backtest = fit_stack(rungs, prior), run_backtest(rungs, prior)
    return Fit(table, rungs, stack, backtest, reasons + reasons_of_fit(rungs, stack, backtest))


def _law_points(x: float, stack: Stack) -> tuple[LawPoint, ...]:
    return tuple(
        LawPoint(
            name=posterior.form.name,
            formula=posterior.form.formula,
            weight=weight,
            point=math.exp(float(np.median(posterior.mean_log_loss(x)))),
            parameters=asdict(posterior.summary()),
        )
        for posterior, weight in zip(stack.posteriors, stack.weights, strict=True)
    )
