"""The run table: one row per training run, from our run directories or anyone's file."""

from __future__ import annotations

import csv
import importlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.forecast.eligibility import Limits, is_positive, judge
from foresight.runs import Run

# Spellings met in the wild, matched without regard to case.
ALIASES = {
    "compute_flops": ("compute_flops", "compute", "flops", "c"),
    "params": ("params", "parameters", "n"),
    "tokens": ("tokens", "d"),
    "loss": ("loss",),
    "seed": ("seed",),
    "group": ("group",),
}


@dataclass(frozen=True)
class Row:
    """One training run. `loss` is in whatever unit the metric has; it is never mixed with others.

    `eligible` is decided from diagnostics alone (see `eligibility.judge`), `reasons` holds the
    codes if it is not; `target` marks a run that is predicted, never fitted.
    """

    run: str
    compute_flops: float
    loss: float
    params: int | None = None
    tokens: int | None = None
    seed: int | None = None
    group: str | None = None
    steps: int | None = None
    eligible: bool = True
    reasons: tuple[str, ...] = ()
    target: bool = False


@dataclass(frozen=True)
class RunTable:
    """Rows of one metric, in any order."""

    rows: tuple[Row, ...]
    metric: str = "loss"

    @property
    def fitted(self) -> tuple[Row, ...]:
        """The rows a law may see: eligible and not a target."""
        return tuple(row for row in self.rows if row.eligible and not row.target)

    def where(self, group: str) -> RunTable:
        """The rows of one group. Raises UserError if there is none."""
        rows = tuple(row for row in self.rows if row.group == group)
        if not rows:
            known = sorted({row.group for row in self.rows if row.group is not None})
            raise UserError(f"group {group!r} is not in the table; it has {known}")
        return RunTable(rows, self.metric)

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

    @classmethod
    def from_file(cls, path: Path) -> RunTable:
        """Rows from a CSV, JSONL or Parquet file of any trainer, one run per row.

        Columns: `compute_flops` (or compute, C, flops), or `params` and `tokens` (N, D: then
        C = 6 N D, in floating point, so no integer can overflow); `loss`; optional `seed`,
        `group`. Raises UserError naming file, row and field, and what would be right.
        """
        rows: list[Row] = []
        for where, record in _records(path):
            named = {str(key).strip().lower(): value for key, value in record.items()}
            rows.append(_file_row(f"{path}, {where}", named, name=f"{path.stem}:{len(rows) + 1}"))
        if not rows:
            raise UserError(f"{path}: no rows; expected one run per row")
        return cls(tuple(rows))


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
        reasons=tuple(reason.value for reason in reasons),
        target=target,
    )


def _records(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Pairs of (where in the file, record)."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as stream:
            yield from ((f"row {n}", row) for n, row in enumerate(csv.DictReader(stream), start=1))
    elif kind == ".jsonl":
        yield from _jsonl(path)
    elif kind == ".parquet":
        # Imported here: it takes longer than everything else, and few tables need it.
        parquet = importlib.import_module("pyarrow.parquet")
        try:
            records = parquet.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a readable Parquet file ({error})") from None
        yield from ((f"row {n}", record) for n, record in enumerate(records, start=1))
    else:
        raise UserError(f"{path}: unknown kind {kind!r}; expected .csv, .jsonl or .parquet")


def _jsonl(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    # A last line without newline is a row here: unlike our logs, such files are not torn.
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, row {number}: not valid JSON ({error})") from None
        if not isinstance(record, dict):
            raise UserError(f"{path}, row {number}: expected an object such as {{'loss': 3.1}}")
        yield f"row {number}", record


def _file_row(where: str, record: dict[str, Any], name: str) -> Row:
    found = {
        field: next((record[alias] for alias in aliases if _given(record.get(alias))), None)
        for field, aliases in ALIASES.items()
    }
    loss = _positive(where, "loss", found["loss"])
    params = None if found["params"] is None else _positive(where, "params", found["params"])
    tokens = None if found["tokens"] is None else _positive(where, "tokens", found["tokens"])
    if found["compute_flops"] is not None:
        compute = _positive(where, "compute_flops", found["compute_flops"])
    elif params is not None and tokens is not None:
        compute = 6.0 * params * tokens
    else:
        raise UserError(
            f"{where}, field compute_flops: missing; expected a column compute_flops "
            f"(or compute, C, flops), or both params (N) and tokens (D)"
        )
    seed = None if found["seed"] is None else _positive(where, "seed", found["seed"], zero=True)
    return Row(
        run=name,
        compute_flops=compute,
        loss=loss,
        params=None if params is None else round(params),
        tokens=None if tokens is None else round(tokens),
        seed=None if seed is None else int(seed),
        group=None if found["group"] is None else str(found["group"]),
    )


def _given(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _positive(where: str, field: str, value: Any, *, zero: bool = False) -> float:
    """A finite number above zero (or at least zero). Raises UserError naming what it is not."""
    bound = "a finite number of at least 0" if zero else "a finite number above 0"
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        shown = "missing" if value is None else repr(value)
        raise UserError(f"{where}, field {field}: {shown}; expected {bound}")
    return number
