"""Scores of models by scale: any metric (accuracies, log odds, losses), which may be 0 or negative.

`reading.read_table` reads what a loss law may see; this reads what `trend`, `accuracy` and
`transfer` may: the same files, column names and units, the metric any finite number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.forecast.reading import FIELDS, Columns, given, plain, positive, read_records

METRICS = ("score", "accuracy", "acc", "correct", "pass_rate", "exact_match")
"""Spellings of the metric, the preferred first."""


@dataclass(frozen=True)
class ScoreRow:
    """One model: `scale` (FLOPs or parameters), its `value`, the standard error where known, and
    the family (`group`) whose other members it may be compared with."""

    run: str
    scale: float
    value: float
    stderr: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one metric in the order of the file; `scale`: what the models are ordered by."""

    rows: tuple[ScoreRow, ...]
    metric: str = "score"
    scale: str = "compute_flops"


def read_scores(
    path: Path,
    metric: str | None = None,
    chosen: Mapping[str, str | None] | None = None,
    items: int | None = None,
) -> ScoreTable:
    """Scores of column `metric` (default: the first of `METRICS`) of a CSV, TSV, JSONL or Parquet
    file.

    Models are ordered by the column chosen as `scale`, else compute, else 6 N D, else parameters.
    `chosen` may also name `stderr` and `group`. With `items`, the number of questions behind an
    accuracy, missing standard errors are binomial, of (k + 1/2) / (n + 1). Rows without the
    metric are left out; runs of one name get their row number behind it. Raises
    UserError naming file, row and field.
    """
    records = list(read_records(path))
    named = {"metric": metric} | dict(chosen or {})
    columns = _columns(path, records, {key: name for key, name in named.items() if name})
    names = columns.names
    runs = [str(record.get(names.get("run", "")) or path.stem) for _, record in records]
    times = Counter(runs)
    rows = []
    for number, (where, record) in enumerate(records, start=1):
        at = f"{path}, {where}"
        found = {field: record.get(column) for field, column in names.items()}
        if not given(found["metric"]):
            continue
        value = _finite(at, names["metric"], found["metric"])
        run, stderr = runs[number - 1], None
        if given(found.get("stderr")):
            stderr = positive(at, "stderr", found["stderr"], zero=True)
        elif items is not None:
            stderr = binomial_stderr(at, value, items)
        rows.append(ScoreRow(
            run=run if times[run] == 1 else f"{run}:{number}",
            scale=_size(at, found, columns),
            value=value,
            stderr=stderr,
            group=str(found["group"]) if given(found.get("group")) else None,
        ))  # fmt: skip
    if not rows:
        raise UserError(f"{path}, field {names['metric']}: no row has a value")
    by_compute = "compute_flops" in names or "tokens" in names
    order = names.get("scale", "compute_flops" if by_compute else "params")
    return ScoreTable(tuple(rows), names["metric"], order)


def binomial_stderr(where: str, accuracy: float, items: int) -> float:
    """Standard error of an accuracy over `items` questions, never 0: with k right answers that of
    (k + 1/2) / (n + 1). Raises UserError if it is no share of at least one question."""
    if items < 1:
        raise UserError(f"{where}: {items} questions; expected at least 1")
    if not 0.0 <= accuracy <= 1.0:
        raise UserError(f"{where}: accuracy {accuracy:g}; expected a share from 0 to 1")
    shrunk = (accuracy * items + 0.5) / (items + 1.0)
    return math.sqrt(shrunk * (1.0 - shrunk) / items)


def _columns(
    path: Path, records: list[tuple[str, dict[str, Any]]], chosen: Mapping[str, str]
) -> Columns:
    """The column of each field; those not chosen by the spellings of `reading.FIELDS`."""
    wanted = {key: FIELDS[key] for key in ("compute_flops", "params", "tokens", "group", "run")}
    wanted["metric"] = METRICS
    # `sigma` of a run table is of the log of the loss; here it is of the metric itself.
    own = (f"{plain(chosen['metric'])}_stderr",) if "metric" in chosen else ()
    wanted["stderr"] = (*own, "stderr", "se", "sem")
    header = dict.fromkeys(key for _, record in records for key in record)
    return Columns.of(header, str(path), chosen, wanted, ("metric",), scaled=True)


def _size(at: str, found: Mapping[str, Any], columns: Columns) -> float:
    """What orders the models: the column chosen, else compute, else 6 N D, else parameters."""
    for field, unit in (("scale", 1.0), ("compute_flops", columns.compute_unit)):
        if field in columns.names:
            return unit * positive(at, field, found[field])
    params = positive(at, "params", found["params"])
    if "tokens" in columns.names:
        return 6.0 * params * positive(at, "tokens", found["tokens"])
    return params


def _finite(where: str, field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}, field {field}: {value!r}; expected a finite number")
    return number
