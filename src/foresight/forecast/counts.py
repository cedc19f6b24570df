"""Tables of counts: how often each problem was solved by each model, one pair per row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.reading import (
    FIELDS,
    Columns,
    compare_compute,
    given,
    positive,
    read_compute,
    read_records,
)

Integers = NDArray[np.int64]

MIN_MODELS = 3
COUNT_FIELDS: dict[str, tuple[str, ...]] = {
    "problem": ("problem", "task_id", "problem_id", "item", "item_id", "question_id", "doc_id"),
    "passes": (
        "passes", "n_pass", "num_pass", "n_passes", "num_passes", "passed", "correct", "n_correct",
        "num_correct", "successes",
    ),
    "samples": (
        "samples", "n", "n_samples", "num_samples", "attempts", "n_attempts", "trials", "total",
    ),
    "model": FIELDS["run"][-1:] + FIELDS["run"][:-1],
    "assign": ("assign",),
    "compute_flops": FIELDS["compute_flops"],
    "params": tuple(alias for alias in FIELDS["params"] if alias != "n"),
    "tokens": FIELDS["tokens"],
}  # fmt: skip
"""Spellings of each field, the preferred first. A column `n` counts samples here, not params."""
_TABLES = ("passes", "samples", "assign_passes", "assign_samples")
_MARKS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Counts:
    """Counts of P problems by M models in the order of their compute (M,), in FLOPs.

    `passes` and `samples` are (P, M), with 0 samples where a pair was not run;
    `assign_passes` and `assign_samples`, of that shape, are rows marked to assign difficulty
    only. `remarks`: what reading the table had to say.
    """

    problems: tuple[str, ...]
    models: tuple[str, ...]
    compute: NDArray[np.float64]
    passes: Integers
    samples: Integers
    assign_passes: Integers
    assign_samples: Integers
    remarks: tuple[str, ...] = ()

    def take_models(self, keep: slice) -> Counts:
        """The counts of some of the models."""
        return replace(
            self,
            models=self.models[keep],
            compute=self.compute[keep],
            **{name: getattr(self, name)[:, keep] for name in _TABLES},
        )

    def with_all_samples(self) -> Counts:
        """The rows that assign added to the others, for what no assignment can bend."""
        return replace(
            self,
            passes=self.passes + self.assign_passes,
            samples=self.samples + self.assign_samples,
        )


@dataclass(frozen=True)
class ModelCounts:
    """One model's results, {problem: (passes, samples)}, and its training compute."""

    model: str
    compute_flops: float
    results: Mapping[str, tuple[int, int]]

    @property
    def lines(self) -> str:
        """The rows of a counts file (JSONL), as `read_counts` takes them."""
        rows = (
            {"problem": name, "model": self.model, "compute_flops": self.compute_flops,
             "passes": passes, "samples": samples}
            for name, (passes, samples) in self.results.items()
        )  # fmt: skip
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def log_pass_rate(passes: Any, samples: Any) -> NDArray[np.float64]:
    """Log of a pass rate (nats) estimated from counts of any shape: its posterior mean under
    Jeffreys' prior, psi(passes + 1/2) - psi(samples + 1), finite where nothing passed.

    It depends on the number of samples where passes are few; compare equal numbers only.
    """
    k, n = np.asarray(passes, dtype=np.int64), np.asarray(samples, dtype=np.int64)
    steps = np.arange(1, int(n.max(initial=0)) + 1)
    # Digamma at half and whole numbers are finite sums; Euler's constant cancels.
    odd = np.concatenate([[0.0], np.cumsum(2.0 / (2 * steps - 1))])
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / steps)])
    return np.asarray(odd[k] - harmonic[n] - 2 * math.log(2.0))


@dataclass(frozen=True)
class _Row:
    problem: str
    model: str
    compute: float
    passes: int
    samples: int
    assign: bool


def read_counts(path: Path, min_models: int = MIN_MODELS) -> Counts:
    """Read a CSV, TSV, JSONL or Parquet file of counts of at least so many models.

    Columns: problem, passes, samples; compute (FLOPs), or params and tokens (C = 6 N D);
    optional model (without it one compute is one model) and assign (1 or true: the row assigns
    difficulty buckets, and no observed mean of a bucket is taken from it).

    Raises UserError naming file, row and field: counts that are no whole numbers, more passes
    than samples, no samples, the same pair twice, one model at two computes, too few models.
    """
    records = list(read_records(path))
    if not records:
        raise UserError(f"{path}: no rows; expected one pair of problem and model per row")
    header = dict.fromkeys(key for _, record in records for key in record)
    columns = Columns.of(header, str(path), {}, COUNT_FIELDS, ("problem", "passes", "samples"))
    rows: list[_Row] = []
    remarks = dict.fromkeys([columns.echo] if columns.echo else [])
    seen: dict[tuple[str, str, bool], str] = {}
    computes: dict[str, tuple[float, str]] = {}
    for where, record in records:
        at = f"{path}, {where}"
        fields = {field: record.get(name) for field, name in columns.names.items()}
        row, remark = _row(at, fields, columns.compute_unit)
        if remark:
            remarks.setdefault(remark)
        key = (row.problem, row.model, row.assign)
        if key in seen:
            raise UserError(
                f"{at}: problem {row.problem!r} and model {row.model!r} again, as in "
                f"{seen[key]}; add their counts up, or tell models apart by a column `model`"
            )
        seen[key] = where
        compute, first = computes.setdefault(row.model, (row.compute, where))
        if compute != row.compute:
            raise UserError(
                f"{at}, field compute_flops: {row.compute:.6g} for model {row.model!r}, but "
                f"{compute:.6g} in {first}; expected one compute per model"
            )
        rows.append(row)
    models = {row.model for row in rows}
    if len(models) < min_models:
        raise UserError(
            f"{path}, field {'model' if 'model' in columns.names else 'compute_flops'}: "
            f"{len(models)} models; expected at least {min_models}"
        )
    return _gather(rows, tuple(remarks))


def _row(at: str, fields: Mapping[str, Any], unit: float) -> tuple[_Row, str | None]:
    if not given(fields.get("problem")):
        raise UserError(f"{at}, field problem: missing; expected the problem's name")
    compute, params, tokens = read_compute(at, fields, unit)
    remark = compare_compute(at, compute, params, tokens)
    passes = _whole(at, "passes", fields.get("passes"))
    samples = _whole(at, "samples", fields.get("samples"))
    if samples == 0:
        raise UserError(f"{at}, field samples: 0; expected at least 1, or no such row")
    if passes > samples:
        raise UserError(f"{at}, field passes: {passes} of {samples} samples; expected no more")
    model, mark = fields.get("model"), fields.get("assign")
    marked = _MARKS.get(str(mark).strip().lower()) if given(mark) else False
    if marked is None:
        raise UserError(f"{at}, field assign: {mark!r}; expected true or false")
    name = str(model) if given(model) else f"{compute:.6g} FLOPs"
    return _Row(str(fields["problem"]), name, compute, passes, samples, marked), remark


def _whole(at: str, field: str, value: Any) -> int:
    number = positive(at, field, value, zero=True)
    if number != int(number):
        raise UserError(f"{at}, field {field}: {value!r}; expected a whole number")
    return int(number)


def _gather(rows: Sequence[_Row], remarks: tuple[str, ...]) -> Counts:
    computes = {row.model: row.compute for row in rows}
    # Sorted: the order of rows in a file must not change a forecast.
    models = sorted(computes, key=lambda name: (computes[name], name))
    problems = sorted({row.problem for row in rows})
    at_model = {name: index for index, name in enumerate(models)}
    at_problem = {name: index for index, name in enumerate(problems)}
    counts = np.zeros((4, len(problems), len(models)), dtype=np.int64)
    for row in rows:
        pair = at_problem[row.problem], at_model[row.model]
        counts[2 * row.assign][pair] = row.passes
        counts[2 * row.assign + 1][pair] = row.samples
    ordered = np.array([computes[name] for name in models])
    passes, samples, assign_passes, assign_samples = counts
    return Counts(
        tuple(problems), tuple(models), ordered, passes, samples, assign_passes, assign_samples,
        remarks,
    )  # fmt: skip
