"""The run table: one row per training run, from our run directories or (`reading`) any file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foresight.errors import UserError
from foresight.forecast.eligibility import Limits, is_positive, judge
from foresight.runs import Run


@dataclass(frozen=True)
class Row:
    """One training run. `loss` is in whatever unit the metric has; it is never mixed with others.

    `sigma` is the standard error of log loss where it is known; `steps` were taken of the
    `planned_steps` of the learning-rate schedule; `batch` is in the file's unit.
    `eligible` is decided from diagnostics alone (see `eligibility.judge`), `reasons` holds the
    codes if it is not; `target` marks a run that is predicted, never fitted.
    """

    run: str
    compute_flops: float
    loss: float
    params: float | None = None
    tokens: float | None = None
    seed: int | None = None
    group: str | None = None
    steps: int | None = None
    planned_steps: int | None = None
    sigma: float | None = None
    schedule: str | None = None
    batch: float | None = None
    eligible: bool = True
    reasons: tuple[str, ...] = ()
    target: bool = False


@dataclass(frozen=True)
class RunTable:
    """Rows of one metric, in any order; `remarks`: what reading them had to say."""

    rows: tuple[Row, ...]
    metric: str = "loss"
    remarks: tuple[str, ...] = ()

    @property
    def fitted(self) -> tuple[Row, ...]:
        """The rows a law may see: eligible and not a target."""
        return tuple(row for row in self.rows if row.eligible and not row.target)

    def check_one_group(self) -> None:
        """Raises UserError if the fitted rows are of several groups."""
        groups = sorted({row.group for row in self.fitted if row.group is not None})
        if len(groups) > 1:
            raise UserError(f"the table mixes groups {groups}: fit one with `table.where(group)`")

    def where(self, group: str) -> RunTable:
        """The rows of one group. Raises UserError if there is none."""
        rows = tuple(row for row in self.rows if row.group == group)
        if not rows:
            known = sorted({row.group for row in self.rows if row.group is not None})
            raise UserError(f"group {group!r} is not in the table; it has {known}")
        return RunTable(rows, self.metric, self.remarks)

    @classmethod
    def from_runs(
        cls,
        runs: Sequence[Run],
        metric: str,
        *,
        limits: Limits | None = None,
        targets: Sequence[Run] = (),
    ) -> RunTable:
        """Rows from finished run directories.

        `metric` is a path into `result.json`, such as "bits_per_byte/code" or "losses/mix".
        Runs in `targets` are marked as such. Raises UserError naming the file if a result is
        missing, or has no such metric.
        """
        chosen = limits or Limits()
        rows = [_run_row(run, metric, chosen, target=False) for run in runs]
        rows += [_run_row(run, metric, chosen, target=True) for run in targets]
        return cls(tuple(rows), metric)


def read_metric(run: Run, result: dict[str, Any], metric: str) -> Any:
    """The value at a path such as "losses/mix" in a run's result. Raises UserError naming it."""
    value: Any = result
    for key in metric.split("/"):
        if not isinstance(value, dict) or key not in value:
            known = sorted(value) if isinstance(value, dict) else []
            raise UserError(f"{run.result_path}: no metric {metric!r} (at {key!r}: has {known})")
        value = value[key]
    return value


def _run_row(run: Run, metric: str, limits: Limits, *, target: bool) -> Row:
    result = run.result()
    loss, compute = read_metric(run, result, metric), result["compute_flops"]
    diagnostics = result.get("diagnostics")
    if not isinstance(diagnostics, dict):
        diagnostics = {}
    reasons = judge(compute, loss, result.get("steps"), diagnostics, limits)
    return Row(
        run=str(result.get("run", run.path.name)),
        compute_flops=float(compute) if is_positive(compute) else math.nan,
        loss=float(loss) if is_positive(loss) else math.nan,
        params=result.get("params"),
        tokens=result.get("tokens"),
        seed=result.get("seed"),
        steps=result.get("steps"),
        eligible=not reasons,
        reasons=tuple(reason.code for reason in reasons),
        target=target,
    )
