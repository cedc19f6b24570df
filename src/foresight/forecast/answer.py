"""The answer to `foresight fit RUNS`: what others script against, from a table to one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foresight.forecast.allocation import Recommendation, recommend
from foresight.forecast.draws import rounded
from foresight.forecast.forecast import Fit, Forecast, fit
from foresight.forecast.frontier import FrontierPoint, frontier
from foresight.forecast.table import Row, RunTable
from foresight.runs import sha256_json

_SEVERITY = ("forecast", "wide", "refused")


@dataclass(frozen=True)
class Answer:
    """A table, its frontier, the fit to it, and forecasts at the computes asked for."""

    table: RunTable
    frontier: tuple[FrontierPoint, ...]
    fitted: Fit
    forecasts: tuple[Forecast, ...]

    @property
    def verdict(self) -> str:
        """The worst of the forecasts' verdicts; without any, that of the ladder itself."""
        found = [one.verdict for one in self.forecasts] or [self.fitted.verdict]
        return max(found, key=_SEVERITY.index)

    @property
    def refused(self) -> bool:
        return self.verdict == "refused"

    def recommended(self, compute_flops: float) -> Recommendation | None:
        """Size and tokens for a compute; None where the table's sizes cannot tell."""
        return recommend(self.frontier, self.table.fitted, compute_flops)

    def to_json(self) -> dict[str, Any]:
        """Same table, same code, same bytes. A refused answer has no `at`."""
        reasons = {code for one in self.forecasts for code in one.reasons} | {*self.fitted.reasons}
        value: dict[str, Any] = {
            "verdict": self.verdict,
            "reasons": [{"code": code.value, "text": code.text} for code in sorted(reasons)],
        }
        if not self.refused:
            value["at"] = [self._at(one) for one in self.forecasts]
        laws = self.fitted.laws(self.forecasts[0].compute_flops if self.forecasts else None)
        value |= {
            "laws": [asdict(law) for law in laws],
            "frontier": [asdict(point) for point in self.frontier],
            "backtest": self.fitted.backtest_rows(),
            "provenance": {
                "metric": self.table.metric,
                "runs": len(self.table.rows),
                "fitted": len(self.table.fitted),
                "remarks": list(self.table.remarks),
                "table_sha256": sha256_json([asdict(row) for row in self.table.rows]),
            },
        }
        result: dict[str, Any] = rounded(value)
        return result

    def _at(self, forecast: Forecast) -> dict[str, Any]:
        assert forecast.intervals is not None, "only forecasts that were made are shown"
        value = {
            "compute_flops": forecast.compute_flops,
            "loss": forecast.point,
            "intervals": {str(level): list(pair) for level, pair in forecast.intervals.items()},
            "ratio": forecast.extrapolation_ratio,
            "calibrated": forecast.calibrated,
            "verdict": forecast.verdict,
        }
        recommended = self.recommended(forecast.compute_flops)
        if recommended is not None:
            value["recommended"] = recommended.to_json()
        return value


def answer(table: RunTable, computes: Sequence[float] = ()) -> Answer:
    """Fit a table of runs and forecast the metric at each compute, in FLOPs.

    Where sizes vary at equal compute only the frontier is fitted. Raises UserError if the table
    mixes groups, or a compute is no finite positive number.
    """
    points = tuple(frontier(table.fitted))
    fitted = fit(_efficient(table, points))
    return Answer(table, points, fitted, tuple(fitted.predict(one) for one in computes))


def _efficient(table: RunTable, points: Sequence[FrontierPoint]) -> RunTable:
    """The runs behind the frontier; where a parabola gave a point, the point itself."""
    rows: list[Row] = []
    for point in points:
        behind = [row for row in table.fitted if row.run in point.runs]
        if point.sigma is None:
            rows += behind
        else:
            name, group = "+".join(point.runs), behind[0].group
            rows.append(
                Row(name, point.compute_flops, point.loss, point.params, point.tokens,
                    group=group, sigma=point.sigma)
            )  # fmt: skip
    return RunTable(tuple(rows), table.metric, table.remarks)
