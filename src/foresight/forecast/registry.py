"""A registry: predictions of any metric of anyone's runs, written down before the outcome.

REGISTRY/NNNN-name.json are registrations and REGISTRY/chain.jsonl their order (see `chain`);
REGISTRY/outcomes/name.json are sealed outcomes; REGISTRY/files/<SHA-256>.<kind> the tables that
were fitted and the results that were cited. A prediction is either fitted here ("fit"), so that
`verify` can fit it again, or from counts of passes ("counts", see `capability_registry`), or
"stated": made by hand or by another method, with its interval.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import NormalDist
from typing import Any

from foresight import __version__
from foresight.errors import UserError
from foresight.forecast import chain, witness
from foresight.forecast.answer import answer
from foresight.forecast.codes import refuse
from foresight.forecast.draws import LEVELS, rounded
from foresight.forecast.events import read_events
from foresight.forecast.reading import read_table
from foresight.forecast.registration import FORMAT, Registration, falsification
from foresight.forecast.table import Row, RunTable
from foresight.runs import (
    canonical_json,
    code_sha256,
    locked,
    read_json,
    sha256_file,
    sha256_json,
    sha256_text,
    write_atomic,
    write_json,
)

FIELDS = ("name", "metric", "source", "target", "code", "forecast", "falsification", "backcast",
          "created_utc", "sha256")  # fmt: skip
"""Fields that a registration of a registry must have."""
_ROW_FIELDS = ("run", "compute_flops", "loss", "params", "tokens", "seed", "group", "steps",
               "sigma", "schedule", "batch")  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What is predicted: a run by name, its planned size where known (FLOPs, weights, tokens,
    optimizer steps), and the file or TensorBoard folder that it will log to."""

    run: str
    compute_flops: float | None = None
    params: float | None = None
    tokens: float | None = None
    steps: int | None = None
    log: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "log": None if self.log is None else self.log.as_posix()}


@dataclass(frozen=True)
class Witnesses:
    """Who is to see a registration: a time-stamping authority's address, the git repository."""

    timestamp: str | None = None
    git: bool = False


def is_registry(directory: Path) -> bool:
    return (directory / "chain.jsonl").exists() or any(directory.glob("[0-9]*-*.json"))


def register_fit(
    registry: Path,
    name: str,
    subject: Subject,
    runs: Path | RunTable,
    columns: Mapping[str, str] | None = None,
    *,
    backcast: bool = False,
    witnesses: Witnesses | None = None,
    now: datetime | None = None,
) -> Registration:
    """Fit a table of runs (a file, with chosen `columns`, or rows), forecast the subject and
    register that. The table is kept in the registry, so that anyone can fit it again.

    Raises UserError if the name is taken or not a plain one, the subject has no compute, its log
    has a step, its outcome is recorded here or its run is in the table (all three unless
    `backcast`), the forecast is refused, or a witness fails.
    """
    if subject.compute_flops is None:
        raise UserError(f"{name}: the compute of the predicted run is missing (--at FLOPS)")
    chain.check_name(name)
    table = runs if isinstance(runs, RunTable) else read_table(runs, columns)
    if not backcast and subject.run in {row.run for row in table.rows}:
        raise UserError(
            f"run {subject.run!r} is in the table: its outcome is known; "
            f"a prediction after the fact is registered with --backcast"
        )
    with locked(registry):
        kept, new = _keep_table(registry, runs)
        record = {
            "metric": table.metric,
            "source": "fit",
            "target": subject.to_json(),
            "table": {
                "file": kept.relative_to(registry).as_posix(),
                "origin": runs.name if isinstance(runs, Path) else "rows",
                "runs": len(table.rows),
                "columns": dict(columns or {}),
            },
            "backcast": backcast,
        }
        try:
            record["forecast"] = refit(registry, record)
            return write_record(registry, name, record, [kept], witnesses or Witnesses(), now)
        except UserError:
            if new:
                kept.unlink()
            raise


def register_stated(
    registry: Path,
    name: str,
    subject: Subject,
    metric: str,
    value: float,
    intervals: Mapping[str, tuple[float, float]],
    *,
    backcast: bool = False,
    witnesses: Witnesses | None = None,
    now: datetime | None = None,
) -> Registration:
    """Register a number that somebody else, or another method, predicts.

    `intervals` maps "50", "80", "95" to (low, high) in the unit of the metric; 95 is required: a
    prediction without one cannot be wrong. Raises UserError as `register_fit` does, and if the
    intervals do not hold the value and one another.
    """
    chain.check_name(name)
    with locked(registry):
        record = {
            "metric": metric,
            "source": "stated",
            "target": subject.to_json(),
            "forecast": stated_forecast(subject.compute_flops, value, intervals),
            "backcast": backcast,
        }
        return write_record(registry, name, record, [], witnesses or Witnesses(), now)


def observe(
    registry: Path, name: str, value: float, file: Path | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Seal the outcome of a registered prediction; returns its record. `file` is the result it was
    read from, kept beside.

    Raises UserError if nothing of that name is registered, its outcome is sealed already (an
    outcome stands), another name has another outcome of the same run and metric, or the value is
    no number that the metric can have.
    """
    if not is_registry(registry):
        raise UserError(f"{registry}: no registry here (no chain.jsonl)")
    with locked(registry):
        entries = chain.read_entries(registry)
        registration = registered(registry, entries).get(name)
        if registration is None:
            raise UserError(f"{registry}: nothing is registered as {name!r}")
        logarithmic = registration.record["source"] == "fit"
        if not math.isfinite(value) or (logarithmic and value <= 0):
            expected = "a finite number" + (" above 0" if logarithmic else "")
            raise UserError(f"outcome {value} of {name}: expected {expected}")
        path = registry / "outcomes" / f"{name}.json"
        same = _outcome_of(registry, entries, registration.record)
        if any(entry["file"] == f"outcomes/{name}.json" for entry in entries):
            raise UserError(f"{path}: its outcome is already sealed; an outcome stands")
        if same is not None and same["value"] != value:
            raise UserError(
                f"outcome {value} of {name}: {same['name']} has {same['value']} for the same run "
                f"and metric"
            )
        kept = (
            None if file is None else keep_bytes(registry, read_bytes(file), file.suffix.lower())[0]
        )
        outcome = {
            "name": name,
            "metric": registration.record["metric"],
            "value": value,
            "file": None if kept is None else kept.relative_to(registry).as_posix(),
            "observed_utc": chain.utc_now(now),
        }
        write_json(path, outcome)
        chain.append(registry, entries, "outcome", f"outcomes/{name}.json", sha256_file(path))
    return outcome


def refit(registry: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The forecast of a record of source "fit", from the table kept in the registry.

    Raises UserError if the table cannot be read or the forecast is refused.
    """
    kept, compute = registry / record["table"]["file"], record["target"]["compute_flops"]
    forecast = answer(read_table(kept, record["table"]["columns"]), [compute]).forecasts[0]
    if forecast.verdict == "refused":
        raise refuse(f"of {record['metric']} ", compute, forecast.reasons)
    # Eight digits: more than any measurement, fewer than differ between processors.
    return rounded({**forecast.to_json(), "scale": "log"}, 8)


def stated_forecast(
    compute_flops: float | None, value: float, intervals: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """A stated prediction in the form of a forecast. Its sd is that of the normal distribution
    with the same width of the 95 % interval, in the unit of the metric."""
    if "95" not in intervals:
        raise UserError(
            "a stated prediction needs --interval95 LOW HIGH: without, nothing can falsify it"
        )
    inner_low = inner_high = value
    levels = [str(level) for level in LEVELS]
    for level in levels:
        if level not in intervals:
            continue
        low, high = intervals[level]
        nested = low <= inner_low <= inner_high <= high and low < high
        if not (nested and math.isfinite(low) and math.isfinite(high)):
            raise UserError(
                f"--interval{level} {low:g} {high:g}: expected LOW < HIGH, both finite, around "
                f"the value {value:g} and the narrower intervals"
            )
        inner_low, inner_high = low, high
    low, high = intervals["95"]
    return {
        "compute_flops": compute_flops,
        "point": value,
        "intervals": {level: [*intervals[level]] for level in levels if level in intervals},
        "sd": (high - low) / (2 * NormalDist().inv_cdf(0.975)),
        "scale": "linear",
        "extrapolation_ratio": None,
        "verdict": "stated",
    }


def write_record(
    registry: Path,
    name: str,
    record: dict[str, Any],
    files: list[Path],
    witnesses: Witnesses,
    now: datetime | None,
) -> Registration:
    """Refuse what is no prediction, ask the witnesses, write the record, lengthen the chain."""
    entries = chain.read_entries(registry)
    path = chain.new_path(registry, name, entries)
    if not record["backcast"]:
        _refuse_known(registry, entries, record)
    record |= {
        "format": FORMAT,
        "name": name,
        "created_utc": chain.utc_now(now),
        "code": {"version": __version__, "sha256": code_sha256()},
        "falsification": falsification(record["metric"], record["forecast"]),
        "previous": chain.last_registration(entries),
    }
    record["sha256"] = sha256_json(record)
    text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"
    if witnesses.git:
        witness.repository(registry)
    stamp = None
    if witnesses.timestamp:
        # Asked before anything is written: without the stamp that was wanted nothing stands.
        stamp = witness.request_timestamp(witnesses.timestamp, sha256_text(text))
    write_atomic(path, text)
    chain.append(registry, entries, "registration", path.name, record["sha256"])
    if stamp is not None:
        write_atomic(witness.timestamp_path(path), stamp)
        files = [*files, witness.timestamp_path(path)]
    if witnesses.git:
        witness.commit(path, [path, registry / "chain.jsonl", *files])
    return Registration(path, record)


def _refuse_known(registry: Path, entries: list[dict[str, Any]], record: Mapping[str, Any]) -> None:
    log = record["target"]["log"]
    if log is not None and _has_steps(Path(log)):
        raise UserError(
            f"{log}: the target has already logged a step; a prediction can only be registered "
            f"before (after the fact: --backcast)"
        )
    known = _outcome_of(registry, entries, record)
    if known is not None:
        raise UserError(
            f"{registry}: the outcome of run {record['target']['run']!r} ({record['metric']}) is "
            f"recorded already, by {known['name']}; after the fact: --backcast"
        )


def _has_steps(log: Path) -> bool:
    """A file with a scalar (TensorBoard) or a row (behind the header, where it has columns), or a
    folder with such a log in it."""
    if log.is_dir():
        return any(
            _has_steps(path)
            for path in log.rglob("*")
            if path.is_file() and ("tfevents" in path.name or path.suffix in (".jsonl", ".csv"))
        )
    if not log.exists():
        return False
    if "tfevents" in log.name:
        return bool(read_events(log).scalars)
    lines = [line for line in read_bytes(log).splitlines() if line.strip()]
    return len(lines) > (log.suffix.lower() in (".csv", ".tsv"))


def registered(registry: Path, entries: list[dict[str, Any]]) -> dict[str, Registration]:
    """The registrations of a chain by name."""
    loaded = [
        Registration.load(registry / str(entry["file"]), FIELDS)
        for entry in entries
        if entry["kind"] == "registration"
    ]
    return {registration.name: registration for registration in loaded}


def _outcome_of(
    registry: Path, entries: list[dict[str, Any]], record: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The sealed outcome of the same run and metric, under any name."""
    names = {
        name
        for name, other in registered(registry, entries).items()
        if other.record["target"]["run"] == record["target"]["run"]
        and other.record["metric"] == record["metric"]
    }
    for entry in entries:
        if entry["kind"] == "outcome" and Path(entry["file"]).stem in names:
            outcome: dict[str, Any] = read_json(registry / entry["file"])
            return outcome
    return None


def _keep_table(registry: Path, runs: Path | RunTable) -> tuple[Path, bool]:
    """A file's bytes; of rows those that a law may see, in the columns that `reading` knows."""
    if isinstance(runs, Path):
        return keep_bytes(registry, read_bytes(runs), runs.suffix.lower())
    lines = [canonical_json(_row_json(row)) + "\n" for row in runs.fitted]
    return keep_bytes(registry, "".join(lines).encode(), ".jsonl")


def keep_bytes(registry: Path, payload: bytes, kind: str) -> tuple[Path, bool]:
    """Put bytes into files/ under their hash; returns the path and whether they were new."""
    path = registry / "files" / (hashlib.sha256(payload).hexdigest() + kind)
    if path.exists():
        return path, False
    write_atomic(path, payload)
    return path, True


def read_bytes(path: Path) -> bytes:
    """Raises UserError if the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _row_json(row: Row) -> dict[str, Any]:
    values = {field: getattr(row, field) for field in _ROW_FIELDS}
    return {field: value for field, value in values.items() if value is not None}
