"""Tables of anyone's runs: CSV, JSONL and Parquet files, one run per row.

Column names differ from trainer to trainer; those met in the wild are recognised, and what was
recognised is kept with the table, to be shown. Nonsense is refused by row before a law sees it.
"""

from __future__ import annotations

import csv
import importlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.forecast.table import Row, RunTable

FIELDS: dict[str, tuple[str, ...]] = {
    "compute_flops": (
        "compute_flops", "compute", "flops", "c", "training_flops", "training_flop", "train_flops",
        "total_flops", "total_flos", "flop", "budget",
    ),
    "params": (
        "params", "n", "parameters", "num_params", "n_params", "parameter_count", "model_size",
        "num_parameters",
    ),
    "tokens": (
        "tokens", "d", "num_tokens", "n_tokens", "train_tokens", "training_tokens", "total_tokens",
        "tokens_seen", "consumed_tokens", "num_input_tokens_seen",
    ),
    "loss": (
        "loss", "val_loss", "validation_loss", "valid_loss", "eval_loss", "final_loss",
        "test_loss", "val_bpb", "bpb", "bits_per_byte", "train_loss",
    ),
    "seed": ("seed", "random_seed"),
    "group": ("group", "arm", "family"),
    "sigma": ("sigma", "loss_sd", "loss_std", "stderr", "loss_se"),
    "steps": ("steps", "num_steps", "step", "num_train_steps"),
    "planned_steps": (
        "planned_steps", "max_steps", "total_steps", "schedule_steps", "lr_decay_steps",
        "decay_steps", "horizon",
    ),
    "schedule": ("schedule", "lr_schedule", "decay"),
    "batch": ("batch", "batch_size", "train_batch_size", "global_batch_size"),
    "tokenizer": ("tokenizer", "vocab", "vocab_size"),
    "run": ("run", "run_id", "run_name", "name", "model"),
}  # fmt: skip
"""Spellings of each field, the preferred first; compared in lower case, other signs as `_`."""
UNITS = {
    "gflops": 1e9, "total_gflops": 1e9, "tflops": 1e12, "pflops": 1e15, "eflops": 1e18,
    "zflops": 1e21, "flops_1e21": 1e21, "petaflop_days": 8.64e19, "pf_days": 8.64e19,
}  # fmt: skip
"""Compute columns in other units, FLOPs per unit."""
DISAGREE, DOUBT = 10.0, 2.0
"""Ratio of C to 6 N D from which the table is refused, and from which it is remarked on."""


@dataclass(frozen=True)
class Columns:
    """Which column of a file holds each field, and the unit of its compute in FLOPs."""

    names: Mapping[str, str]
    compute_unit: float = 1.0

    @classmethod
    def of(
        cls,
        header: Iterable[str],
        where: str,
        chosen: Mapping[str, str],
        fields: Mapping[str, tuple[str, ...]] = FIELDS,
        needed: Sequence[str] = ("loss",),
        *,
        scaled: bool = False,
    ) -> Columns:
        """Recognise columns. `chosen` maps fields to columns the user named.

        Raises UserError if a chosen column is absent, or if a needed field or compute (or, with
        `scaled`, anything that orders models by size) cannot be found.
        """
        # Of two columns with one spelling the first counts.
        spelt: dict[str, str] = {}
        for name in header:
            spelt.setdefault(plain(name), name)
        names: dict[str, str] = {}
        unit = 1.0
        for field, column in chosen.items():
            if plain(column) not in spelt:
                raise UserError(
                    f"{where}: no column {column!r}; it has {', '.join(spelt.values())}"
                )
            names[field] = spelt[plain(column)]
        for field, aliases in fields.items():
            found = next((spelt[alias] for alias in aliases if alias in spelt), None)
            if found is not None and field not in names:
                names[field] = found
        if "compute_flops" not in names:
            alias = next((alias for alias in UNITS if alias in spelt), None)
            if alias:
                names["compute_flops"], unit = spelt[alias], UNITS[alias]
        for field in needed:
            if field not in names:
                named = f", or --{field} COLUMN" if field in ("loss", "metric") else ""
                raise UserError(
                    f"{where}, field {field}: no such column among {', '.join(spelt.values())}; "
                    f"expected one of {', '.join(fields[field])}{named}"
                )
        if scaled and not {"scale", "compute_flops", "params"} & names.keys():
            raise UserError(
                f"{where}, field scale: missing; expected a column compute_flops (or compute, C, "
                f"flops) or params (N); name another with --scale COLUMN"
            )
        known = "compute_flops" in names or {"params", "tokens"} <= names.keys()
        if not scaled and not known:
            raise UserError(
                f"{where}, field compute_flops: missing; expected a column compute_flops "
                f"(or compute, C, flops), or both params (N) and tokens (D)"
            )
        return cls(names, unit)

    @property
    def echo(self) -> str:
        """What was recognised, for people."""
        said = [f"{field} <- {name}" for field, name in self.names.items() if field != name]
        if self.compute_unit != 1.0:
            said.append(f"compute in units of {self.compute_unit:g} FLOPs")
        return ", ".join(said)


def read_table(path: Path, chosen: Mapping[str, str] | None = None) -> RunTable:
    """Rows of a CSV, JSONL or Parquet file. C = 6 N D where compute is not given, in floating
    point, so that no integer can overflow.

    Raises UserError naming file, row and field, and what would be right: values that are no
    positive numbers, C and 6 N D a factor of ten apart, the same run twice, tokenizers mixed in
    one group (losses of different tokens do not compare).
    """
    return table_of(path, list(read_records(path)), chosen or {})


def table_of(
    path: Path, records: Sequence[tuple[str, Mapping[str, Any]]], chosen: Mapping[str, str]
) -> RunTable:
    """`read_table` of records that were read already: pairs of (where in `path`, record)."""
    if not records:
        raise UserError(f"{path}: no rows; expected one run per row")
    header = dict.fromkeys(key for _, record in records for key in record)
    columns = Columns.of(header, str(path), chosen)
    rows, remarks = [], [columns.echo] if columns.echo else []
    tokenizers: dict[str | None, dict[str, str]] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for number, (where, record) in enumerate(records, start=1):
        at = f"{path}, {where}"
        fields = {field: record.get(name) for field, name in columns.names.items()}
        row = _row(at, fields, columns.compute_unit, f"{path.stem}:{number}")
        _refuse_twice(at, where, row, seen)
        if given(fields.get("tokenizer")):
            tokenizers.setdefault(row.group, {}).setdefault(str(fields["tokenizer"]), where)
        remark = compare_compute(at, row.compute_flops, row.params, row.tokens)
        if remark:
            remarks.append(remark)
        rows.append(row)
    rows = _tell_apart(rows)
    _refuse_mixed(path, columns, tokenizers)
    return RunTable(tuple(rows), columns.names["loss"], tuple(remarks))


def _tell_apart(rows: list[Row]) -> list[Row]:
    """Runs of one name (repetitions, say) get their row number behind it."""
    times = Counter(row.run for row in rows)
    return [
        row if times[row.run] == 1 else replace(row, run=f"{row.run}:{number}")
        for number, row in enumerate(rows, start=1)
    ]


def spelt_out(name: str) -> str:
    """Lower case, what is no letter or digit as one underscore."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def plain(name: str) -> str:
    """`spelt_out`, path prefixes dropped."""
    return spelt_out(str(name).rsplit("/", 1)[-1])


def _row(at: str, fields: Mapping[str, Any], unit: float, name: str) -> Row:
    def number(field: str, zero: bool = False) -> float | None:
        value = fields.get(field)
        return positive(at, field, value, zero=zero) if given(value) else None

    loss = positive(at, "loss", fields.get("loss"))
    compute, params, tokens = read_compute(at, fields, unit)
    seed, steps, planned = number("seed", zero=True), number("steps"), number("planned_steps")
    sigma = number("sigma", zero=True)
    texts = {key: str(fields[key]) if given(fields.get(key)) else None
             for key in ("group", "schedule", "run")}  # fmt: skip
    return Row(
        run=texts["run"] or name,
        compute_flops=compute,
        loss=loss,
        params=params,
        tokens=tokens,
        seed=None if seed is None else int(seed),
        group=texts["group"],
        steps=None if steps is None else round(steps),
        planned_steps=None if planned is None else round(planned),
        # In the file it has the loss's unit; laws are fitted to log loss.
        sigma=None if sigma is None else sigma / loss,
        schedule=texts["schedule"],
        batch=number("batch"),
    )


def read_compute(
    at: str, fields: Mapping[str, Any], unit: float
) -> tuple[float, float | None, float | None]:
    """Compute in FLOPs (6 N D where it is not given), params and tokens of one row."""
    compute, params, tokens = (
        positive(at, field, fields[field]) if given(fields.get(field)) else None
        for field in ("compute_flops", "params", "tokens")
    )
    if compute is not None:
        return compute * unit, params, tokens
    if params is None or tokens is None:
        raise UserError(
            f"{at}, field compute_flops: missing; expected it, or both params (N) and tokens (D)"
        )
    return 6.0 * params * tokens, params, tokens


def _refuse_twice(at: str, where: str, row: Row, seen: dict[tuple[Any, ...], str]) -> None:
    key = tuple(getattr(row, field) for field in (
        "compute_flops", "loss", "params", "tokens", "seed", "group", "steps", "schedule", "batch",
    ))  # fmt: skip
    if key in seen:
        raise UserError(
            f"{at}: the same run as {seen[key]} (equal in every column); leave it out, or give "
            f"repetitions a column `seed`"
        )
    seen[key] = where


def compare_compute(
    at: str, compute: float, params: float | None, tokens: float | None
) -> str | None:
    """Refuse or remark on a compute that is not about 6 N D."""
    if params is None or tokens is None:
        return None
    ratio = compute / (6.0 * params * tokens)
    if not 1 / DISAGREE < ratio < DISAGREE:
        raise UserError(
            f"{at}, field compute_flops: {compute:.3g} is {ratio:.3g} times 6 N D = "
            f"{6.0 * params * tokens:.3g}; one of the three is in another unit"
        )
    if not 1 / DOUBT < ratio < DOUBT:
        return f"{at}: compute is {ratio:.2f} times 6 N D"
    return None


def _refuse_mixed(
    path: Path, columns: Columns, tokenizers: Mapping[str | None, Mapping[str, str]]
) -> None:
    if "bpb" in columns.names["loss"].lower() or "bits" in columns.names["loss"].lower():
        return
    for group, found in tokenizers.items():
        if len(found) > 1:
            listed = ", ".join(f"{name!r} ({where})" for name, where in found.items())
            of = "" if group is None else f" of group {group!r}"
            raise UserError(
                f"{path}, field tokenizer: runs{of} have {listed}; losses per token of different "
                f"tokenizers do not compare: use bits per byte, or a column `group`"
            )


def read_records(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Pairs of (where in the file, record)."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        yield from _csv(path, "\t" if kind == ".tsv" else ",")
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
        raise UserError(f"{path}: unknown kind {kind!r}; expected .csv, .tsv, .jsonl or .parquet")


def _csv(path: Path, separator: str) -> Iterable[tuple[str, dict[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.DictReader(stream, delimiter=separator), start=1):
                if None in row:
                    raise UserError(f"{path}, row {number}: more values than the header has names")
                yield f"row {number}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as text with columns ({error})") from None


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


def given(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def positive(where: str, field: str, value: Any, *, zero: bool = False) -> float:
    """A finite number above zero (or at least zero). Raises UserError naming what it is not."""
    bound = "a finite number of at least 0" if zero else "a finite number above 0"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        shown = "missing" if not given(value) else repr(value)
        raise UserError(f"{where}, field {field}: {shown}; expected {bound}")
    return number
