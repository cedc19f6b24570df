"""The answer to `foresight fit RUNS`: what others script against, from a table to one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from foresight.errors import UserError
from foresight.forecast.allocation import Recommendation, recommend
from foresight.forecast.codes import reasons_json, worst
from foresight.forecast.draws import rounded
from foresight.forecast.forecast import Fit, Forecast, fit
from foresight.forecast.frontier import MIN_POINTS, FrontierPoint, frontier, is_ladder
from foresight.forecast.pooling import pooled_priors
from foresight.forecast.priors import LEARNED, Prior
from foresight.forecast.rungs import gather
from foresight.forecast.surface import can_fit, fit_surface
from foresight.forecast.table import Row, RunTable
from foresight.runs import sha256_json


@dataclass(frozen=True)
class PlannedRun:
    """A target named by size and tokens. `excess` = (mean, sd): how far, in log loss, such a run
    lies above the best one of its compute; None where the table cannot tell."""

    params: float
    tokens: float
    excess: tuple[float, float] | None = None

    @property
    def compute_flops(self) -> float:
        return 6.0 * self.params * self.tokens


@dataclass(frozen=True)
class Answer:
    """A table, its frontier, the fit to it, and forecasts at the computes asked for, the last of
    which is that of the `planned` run if there is one."""

    table: RunTable
    frontier: tuple[FrontierPoint, ...]
    fitted: Fit
    forecasts: tuple[Forecast, ...]
    planned: PlannedRun | None = None

    @property
    def verdict(self) -> str:
        """The worst of the forecasts' verdicts; without any, that of the ladder itself."""
        return worst([one.verdict for one in self.forecasts] or [self.fitted.verdict])

    @property
    def refused(self) -> bool:
        return self.verdict == "refused"

    def recommended(self, compute_flops: float) -> Recommendation | None:
        """Size and tokens for a compute; None where the table's sizes cannot tell."""
        return recommend(self.frontier, self.table.fitted, compute_flops)

    def to_json(self) -> dict[str, Any]:
        """Same table, same code, same bytes. A refused answer has no `at`."""
        reasons = {code for one in self.forecasts for code in one.reasons} | {*self.fitted.reasons}
        value: dict[str, Any] = {"verdict": self.verdict, "reasons": reasons_json(sorted(reasons))}
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
        return rounded(value)

    def _at(self, forecast: Forecast) -> dict[str, Any]:
        assert forecast.intervals is not None, "only forecasts that were made are shown"
        value: dict[str, Any] = {
            "compute_flops": forecast.compute_flops,
            "loss": forecast.point,
            "intervals": forecast.intervals,
            "ratio": forecast.extrapolation_ratio,
            "calibrated": forecast.calibrated,
            "verdict": forecast.verdict,
        }
        recommended = self.recommended(forecast.compute_flops)
        if recommended is not None:
            value["recommended"] = asdict(recommended)
        moved = self.planned is not None and self.planned.excess is not None
        if self.planned is not None and moved and forecast is self.forecasts[-1]:
            value["planned"] = asdict(self.planned)
        return value


@dataclass(frozen=True)
class JointAnswer:
    """The answers of a table's groups, each fitted with what the others teach."""

    answers: Mapping[str, Answer]

    @property
    def verdict(self) -> str:
        """`refused` if every group is; else the worst verdict of the others."""
        made = [one.verdict for one in self.answers.values() if not one.refused]
        return worst(made or ["refused"])

    @property
    def refused(self) -> bool:
        return self.verdict == "refused"

    def to_json(self) -> dict[str, Any]:
        """As of one answer; what belongs to a group names it, and `groups` has the verdicts."""
        parts = {name: one.to_json() for name, one in self.answers.items()}
        value: dict[str, Any] = {
            "verdict": self.verdict,
            "groups": {name: part["verdict"] for name, part in parts.items()},
        }
        for key in ("reasons", "at", "laws", "frontier", "backtest"):
            if key == "at" and self.refused:
                continue
            value[key] = [
                {"group": name, **item}
                for name, part in parts.items()
                for item in part.get(key, [])
            ]
        value["provenance"] = {name: part["provenance"] for name, part in parts.items()}
        return value


def answer(
    table: RunTable,
    computes: Sequence[float] = (),
    planned: PlannedRun | None = None,
    prior: Prior = LEARNED,
) -> Answer:
    """Fit a table of runs and forecast the metric at each compute, in FLOPs.

    Where sizes vary at equal compute only the frontier is fitted; a `planned` run off the
    frontier is forecast above it by what L(N, D) says (`surface`). Raises UserError if the table
    mixes groups (see `answer_jointly`), or a compute is no finite positive number.
    """
    table.check_one_group()
    points = tuple(frontier(table.fitted))
    fitted = fit(_efficient(table, points), prior)
    forecasts = [fitted.predict(one) for one in computes]
    if planned is not None:
        efficient = fitted.predict(planned.compute_flops)
        if _off_frontier(table.fitted, points):
            planned = replace(
                planned,
                excess=fit_surface(table.fitted, points).excess(planned.params, planned.tokens),
            )
        forecasts.append(efficient.shifted(*planned.excess) if planned.excess else efficient)
    return Answer(table, points, fitted, tuple(forecasts), planned)


def _off_frontier(rows: Sequence[Row], points: Sequence[FrontierPoint]) -> bool:
    """Runs off the frontier show what inefficiency costs. A ladder has none: its target is taken
    to continue it."""
    return len(points) >= MIN_POINTS and not is_ladder(rows) and can_fit(rows)


def answer_jointly(
    table: RunTable, computes: Sequence[float] = (), planned: PlannedRun | None = None
) -> JointAnswer:
    """Fit every group of a table, its exponent and floor partially pooled with the others'.

    Raises UserError if some rows have no group, or a compute is no finite positive number.
    """
    names = sorted({row.group or "" for row in table.fitted})
    if "" in names:
        raise UserError("some rows have no group while others do: name the group of every row")
    groups = {name: table.where(name) for name in names}
    ladders = {
        name: gather(_efficient(part, frontier(part.fitted)).rows) for name, part in groups.items()
    }
    priors = pooled_priors(ladders)
    return JointAnswer(
        {name: answer(groups[name], computes, planned, priors[name]) for name in names}
    )


def _efficient(table: RunTable, points: Sequence[FrontierPoint]) -> RunTable:
    """The runs behind the frontier; where a parabola gave a point, the point itself."""
    rows: list[Row] = []
    by_name = {row.run: row for row in table.fitted}
    for point in points:
        behind = [by_name[name] for name in point.runs]
        if point.sigma is None:
            rows += behind
        else:
            name, group = "+".join(point.runs), behind[0].group
            rows.append(
                Row(name, point.compute_flops, point.loss, point.params, point.tokens,
                    group=group, sigma=point.sigma)
            )  # fmt: skip
    return RunTable(tuple(rows), table.metric, table.remarks)
