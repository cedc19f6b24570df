"""Registrations in flight: the end of a run forecast again from its own first part.

Allowed from a tenth of the run until its end, labelled, chained with the registrations and scored
apart from them (design/forecasting.md, protocol, point 5). One is
`registrations/in_flight/NAME-PERCENT.json`, of the final training loss; whoever has the
registration, the rungs' logs and the target's can compute it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.forecast import chain
from foresight.forecast.draws import rounded
from foresight.forecast.registration import FORMAT, Registration, registrations_dir
from foresight.forecast.training_log import TrainingLog
from foresight.forecast.watch import Reference, Watch
from foresight.runs import Run, locked, read_json, sha256_json, write_json

METRIC = "training loss, mean over the last 5 % of the run"


def register_in_flight(directory: Path, run: Run, now: datetime | None = None) -> dict[str, Any]:
    """Forecast the end of a registered target that has begun, and write it down.

    Raises UserError if the run has no registration, is not under way, has run for less than a
    tenth, has left its predicted curve, or has a registration at the same percent of it.
    """
    registration = Reference.registration_of(run.path)
    if run.finished:
        raise UserError(f"{run.path}: finished; nothing is left to forecast")
    log = TrainingLog.read(run.metrics_path)
    record = {
        "format": FORMAT,
        "metric": METRIC,
        "created_utc": chain.utc_now(now),
        "registration": {"file": registration.path.name, "sha256": registration.sha256},
        "target": registration.record["target"],
        **compute_in_flight(registration, log),
    }
    record["sha256"] = sha256_json(record)
    percent = int(100 * record["forecast"]["fraction"])
    folder = registrations_dir(directory)
    file = f"in_flight/{registration.name}-{percent:02d}.json"
    with locked(folder):
        if (folder / file).exists():
            raise UserError(f"{folder / file}: already registered")
        write_json(folder / file, record)
        chain.append(folder, chain.read_entries(folder), "in_flight", file, record["sha256"])
    return record


def compute_in_flight(
    registration: Registration, log: TrainingLog, until: int | None = None
) -> dict[str, Any]:
    """What follows from the files: the forecast from the log up to step `until` (default: its
    last), and the hash of the losses it saw. Raises UserError where there is no forecast."""
    seen = TrainingLog(
        log.path, log.total, {s: row for s, row in log.rows.items() if s <= (until or log.step)}
    )
    look = Watch(Reference.registered(registration.path)).look(seen)
    if look.state == "finished":
        raise UserError(f"{log.path}: the run is at its end; nothing is left to forecast")
    if look.reforecast is None:
        why = "; ".join(f"{alarm.kind} at step {alarm.step}" for alarm in look.alarms)
        raise UserError(
            f"{log.path}: no forecast in flight at {look.fraction:.0%} of the run: "
            + (why or "the first is made after 10 %")
        )
    losses = [[step, loss] for step, (loss, _) in seen.rows.items()]
    return {
        "step": seen.step,
        "losses_sha256": sha256_json(losses),
        "forecast": rounded(asdict(look.reforecast), 8),
    }


def final_training_loss(log: TrainingLog) -> float:
    """What a forecast in flight is scored against: mean over the last 5 % of a finished run."""
    fractions, losses = log.curve()
    return float(losses[fractions > 0.95].mean())


def read_in_flight(directory: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The record behind a chain entry. Raises UserError if it is not the one that was chained."""
    path = registrations_dir(directory) / str(entry["file"])
    record: dict[str, Any] = read_json(path)
    found = chain.record_sha256(record)
    if found != entry["sha256"] or record.get("sha256") != found:
        raise UserError(f"{path}: SHA-256 is {found}, the chain has {entry['sha256']}")
    return record
