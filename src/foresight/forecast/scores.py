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
from foresight.forecast.reading import FIELDS, UNITS, given, plain, positive, read_records

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
    scale, unit = _scale(path, columns)
    names = [str(record.get(columns.get("run", "")) or path.stem) for _, record in records]
    times = Counter(names)
    rows = []
    for number, (where, record) in enumerate(records, start=1):
        at = f"{path}, {where}"
        found = {field: record.get(column) for field, column in columns.items()}
        if not given(found["metric"]):
            continue
        value = _finite(at, columns["metric"], found["metric"])
        name = names[number - 1]
        if given(found.get("stderr")):
            stderr: float | None = positive(at, "stderr", found["stderr"], zero=True)
        else:
            stderr = None if items is None else binomial_stderr(at, value, items)
        if scale == "6 N D":
            size = 6.0 * positive(at, "params", found["params"])
            size *= positive(at, "tokens", found["tokens"])
        else:
            size = unit * positive(at, scale, found[scale])
        rows.append(ScoreRow(
            run=name if times[name] == 1 else f"{name}:{number}",
            scale=size,
            value=value,
            stderr=stderr,
            group=str(found["group"]) if given(found.get("group")) else None,
        ))  # fmt: skip
    if not rows:
        raise UserError(f"{path}, field {columns['metric']}: no row has a value")
    order = {"scale": columns.get("scale", ""), "params": "params"}.get(scale, "compute_flops")
    return ScoreTable(tuple(rows), columns["metric"], order)


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
) -> dict[str, str]:
    """The column of each field; those not chosen by the spellings of `reading.FIELDS`."""
    spelt: dict[str, str] = {}
    for name in dict.fromkeys(key for _, record in records for key in record):
        spelt.setdefault(plain(name), name)
    columns: dict[str, str] = {}
    for field, column in chosen.items():
        if plain(column) not in spelt:
            raise UserError(f"{path}: no column {column!r}; it has {', '.join(spelt.values())}")
        columns[field] = spelt[plain(column)]
    wanted = {key: FIELDS[key] for key in ("compute_flops", "params", "tokens", "group", "run")}
    wanted["metric"] = METRICS
    # `sigma` of a run table is of the log of the loss; here it is of the metric itself.
    own = (f"{plain(chosen['metric'])}_stderr",) if "metric" in chosen else ()
    wanted["stderr"] = (*own, "stderr", "se", "sem")
    wanted |= {unit: (unit,) for unit in UNITS}
    for field, aliases in wanted.items():
        spelling = next((alias for alias in aliases if alias in spelt), None)
        if spelling is not None and field not in columns:
            columns[field] = spelt[spelling]
    if "metric" not in columns:
        raise UserError(
            f"{path}, field metric: none of {', '.join(METRICS)} among {', '.join(spelt.values())};"
            f" name it with --metric COLUMN"
        )
    return columns


def _scale(path: Path, columns: Mapping[str, str]) -> tuple[str, float]:
    """The field that orders the models, and its unit in FLOPs."""
    if "scale" in columns:
        return "scale", 1.0
    if "compute_flops" in columns:
        return "compute_flops", 1.0
    unit = next((unit for unit in UNITS if unit in columns), None)
    if unit is not None:
        return unit, UNITS[unit]
    if {"params", "tokens"} <= columns.keys():
        return "6 N D", 1.0
    if "params" in columns:
        return "params", 1.0
    raise UserError(
        f"{path}, field scale: missing; expected a column compute_flops (or compute, C, flops) or "
        f"params (N); name another with --scale COLUMN"
    )


def _finite(where: str, field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}, field {field}: {value!r}; expected a finite number")
    return number
