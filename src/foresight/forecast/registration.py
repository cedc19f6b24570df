"""Registrations: predictions written down, hashed and chained before the target has a step.

A ladder directory DIR holds `recipe.yaml`, `corpus/manifest.json`, `corpus/tokenizer.json`,
`ladder/<run>/`, `targets/<run>/` and `registrations/`. A registration is
`registrations/NNNN-name.json`, in the order of `registrations/chain.jsonl` (see `chain`).
All paths inside are relative to DIR. Source: design/forecasting.md, protocol, point 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from foresight.errors import UserError
from foresight.forecast import chain
from foresight.forecast.codes import refuse
from foresight.forecast.curve import Curve, predict_curve, smooth
from foresight.forecast.draws import rounded
from foresight.forecast.eligibility import Limits
from foresight.forecast.forecast import Fit, Forecast, fit
from foresight.forecast.table import Row, RunTable
from foresight.runs import (
    Run,
    locked,
    read_json,
    sha256_file,
    sha256_json,
    write_json,
)

FORMAT = 1
HASHED_FILES = {
    "recipe": "recipe.yaml",
    "data": "corpus/manifest.json",
    "tokenizer": "corpus/tokenizer.json",
}
"""File in DIR behind each hash that a run's manifest carries (besides `code`)."""
RUN_FILES = ("run.json", "metrics.jsonl", "result.json")
FIELDS = ("name", "metric", "target", "hashes", "limits", "rungs", "ineligible", "forecast",
          "curve", "created_utc", "sha256")  # fmt: skip
"""Fields that a registration of a ladder directory must have."""


@dataclass(frozen=True)
class Target:
    """The run that is predicted: its directory (which may not exist yet) and its planned size."""

    run: Run
    compute_flops: float
    params: int
    tokens: int
    steps: int


@dataclass(frozen=True)
class Registration:
    """A registered prediction as it stands on disk."""

    path: Path
    record: dict[str, Any]

    @classmethod
    def load(cls, path: Path, fields: Sequence[str] = FIELDS) -> Registration:
        """Read one. Raises UserError naming the file and the field if it is not one."""
        record = read_json(path)
        for field in fields:
            if not isinstance(record, dict) or field not in record:
                raise UserError(f"{path}: not a registration (field {field!r} is missing)")
        if record.get("format") != FORMAT:
            raise UserError(f"{path}: format {record.get('format')!r}; expected {FORMAT}")
        return cls(path, record)

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def sha256(self) -> str:
        return str(self.record["sha256"])

    @property
    def kind(self) -> str:
        """How it counts (see `coverage.KINDS`): what is easier than a forecast goes first."""
        if self.record.get("backcast"):
            return "back-cast"
        return "stated" if self.record.get("source") == "stated" else "registered"


def registrations_dir(directory: Path) -> Path:
    return directory / "registrations"


def read_chain(directory: Path) -> list[dict[str, Any]]:
    """Chain entries in order; empty if nothing was registered. Raises UserError on a bad line."""
    return chain.read_entries(registrations_dir(directory))


def register(
    directory: Path,
    *,
    name: str,
    metric: str,
    target: Target,
    rungs: Sequence[Run],
    limits: Limits | None = None,
    now: datetime | None = None,
) -> Registration:
    """Fit the finished `rungs`, forecast `target`, and write the registration.

    Raises UserError if the target has logged a step, the name is taken or not a plain one, the
    rungs do not share one recipe, data, tokenizer and code, those files changed since, or the
    forecast is refused.
    """
    chain.check_name(name)
    if target.run.started:
        raise UserError(
            f"{target.run.metrics_path}: the target has already logged a step; "
            f"a prediction can only be registered before"
        )
    paths = [_relative(directory, run.path) for run in rungs]
    hashes = _shared_hashes(directory, rungs)
    chosen = limits or Limits()
    folder = registrations_dir(directory)
    with locked(folder):
        entries = read_chain(directory)
        path = chain.new_path(folder, name, entries)
        prediction = compute_prediction(
            directory, paths, metric, target.compute_flops, limits=chosen
        )
        size = {key: getattr(target, key) for key in ("compute_flops", "params", "tokens", "steps")}
        record = {
            "format": FORMAT,
            "name": name,
            "metric": metric,
            "created_utc": chain.utc_now(now),
            "target": {"run": _relative(directory, target.run.path), **size},
            "hashes": hashes,
            "limits": asdict(chosen),
            **prediction,
            "falsification": falsification(metric, prediction["forecast"]),
            "previous": chain.last_registration(entries),
        }
        record["sha256"] = sha256_json(record)
        write_json(path, record)
        chain.append(folder, entries, "registration", path.name, record["sha256"])
    return Registration(path, record)


def seal_outcome(directory: Path, target: Run) -> None:
    """Append the hash of a finished target's result to the chain, so that later edits show.

    Raises UserError if the target is not finished, not registered, or already sealed.
    """
    file = f"{_relative(directory, target.path)}/result.json"
    folder = registrations_dir(directory)
    with locked(folder):
        entries = read_chain(directory)
        registered = [
            Registration.load(folder / entry["file"]).record["target"]["run"]
            for entry in entries
            if entry["kind"] == "registration"
        ]
        if _relative(directory, target.path) not in registered:
            raise UserError(f"{target.path}: no registration has this run as its target")
        if any(entry["kind"] == "outcome" and entry["file"] == file for entry in entries):
            raise UserError(f"{target.result_path}: its outcome is already sealed")
        chain.append(folder, entries, "outcome", file, sha256_file(target.result_path))


def compute_prediction(
    directory: Path,
    paths: Sequence[str],
    metric: str,
    compute_flops: float,
    *,
    limits: Limits,
    fits: dict[str, Fit] | None = None,
) -> dict[str, Any]:
    """Everything in a registration that follows from the rung files: rungs with their hashes,
    ineligible ones with reasons, forecast and curve.

    `paths` are run directories relative to `directory`. `fits` may carry fits from one call to
    the next (registrations for several targets share a ladder). Raises UserError naming files.
    """
    memory = {} if fits is None else fits
    runs = [Run(directory / path) for path in paths]
    table = RunTable.from_runs(runs, metric, limits=limits)
    located = list(zip(paths, runs, table.rows, strict=True))
    eligible = sorted(
        (entry for entry in located if entry[2].eligible),
        key=lambda entry: (entry[2].compute_flops, entry[0]),
    )
    forecast = _remembered_fit(memory, table).predict(compute_flops)
    if forecast.verdict == "refused":
        raise refuse(f"of {metric} ", compute_flops, forecast.reasons)
    curve = _target_curve(memory, [(run, row) for _, run, row in eligible], compute_flops)
    return {
        "rungs": [_rung_record(path, run, row) for path, run, row in eligible],
        "ineligible": sorted(
            (
                {**_rung_record(path, run, row), "reasons": list(row.reasons)}
                for path, run, row in located
                if not row.eligible
            ),
            key=lambda record: str(record["run"]),
        ),
        # Eight digits: more than any measurement, fewer than differ between processors.
        "forecast": rounded(forecast.to_json(), 8),
        "curve": rounded(curve.to_json(), 8),
    }


def _remembered_fit(memory: dict[str, Fit], table: RunTable) -> Fit:
    key = sha256_json([[row.run, row.compute_flops, row.loss] for row in table.fitted])
    if key not in memory:
        memory[key] = fit(table)
    return memory[key]


def _target_curve(
    memory: dict[str, Fit], eligible: Sequence[tuple[Run, Row]], compute_flops: float
) -> Curve:
    """The target's training loss, in nats: rung curves rescaled to a forecast of the final one."""
    curves, rows = [], []
    for run, row in eligible:
        metrics = [entry for entry in run.metrics() if "loss" in entry and "step" in entry]
        if not metrics:
            raise UserError(f"{run.metrics_path}: no rows with 'step' and 'loss'")
        steps = np.array([float(entry["step"]) for entry in metrics])
        losses = np.array([float(entry["loss"]) for entry in metrics])
        fractions = steps / steps.max()
        curves.append((fractions, losses))
        rows.append(replace(row, loss=float(smooth(fractions, losses)[-1])))
    final: Forecast = _remembered_fit(memory, RunTable(tuple(rows))).predict(
        compute_flops, force=True
    )
    assert final.point is not None and final.intervals is not None, "forced forecasts have numbers"
    return predict_curve(curves, [row.loss for row in rows], (final.point, *final.intervals[95]))


def _rung_record(path: str, run: Run, row: Row) -> dict[str, Any]:
    numbers = {
        key: getattr(row, key)
        for key in ("compute_flops", "loss", "params", "tokens", "steps", "seed")
    }
    # A run that is out because its loss is not a number still has to be written as JSON.
    finite = {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in numbers.items()
    }
    return {"run": path, **finite, "files": {f: sha256_file(run.path / f) for f in RUN_FILES}}


def _shared_hashes(directory: Path, rungs: Sequence[Run]) -> dict[str, str]:
    """The hashes on which all rungs agree, and with them the files as they are now."""
    if not rungs:
        raise UserError(f"{directory}: no rungs to fit")
    names = (*HASHED_FILES, "code")
    shared: dict[str, str] = {}
    for run in rungs:
        hashes = run.manifest().get("hashes")
        for name in names:
            if not isinstance(hashes, Mapping) or not isinstance(hashes.get(name), str):
                raise UserError(f"{run.manifest_path}: field hashes/{name} is missing")
            if shared.setdefault(name, hashes[name]) != hashes[name]:
                raise UserError(
                    f"{run.manifest_path}: hashes/{name} differs from "
                    f"{rungs[0].manifest_path}; one law needs one recipe, data set and code"
                )
    for name, file in HASHED_FILES.items():
        if sha256_file(directory / file) != shared[name]:
            raise UserError(f"{directory / file}: changed since the rungs were trained")
    return shared


def falsification(metric: str, forecast: Mapping[str, Any]) -> dict[str, Any]:
    """The rule, in words and numbers: outside the 95 % interval."""
    low, high = forecast["intervals"]["95"]
    return {
        "text": f"The forecast is falsified if the target's {metric} is outside its 95 % "
        f"interval, that is below {low:.5g} or above {high:.5g}.",
        "metric": metric,
        "below": low,
        "above": high,
    }


def _relative(directory: Path, path: Path) -> str:
    try:
        return path.resolve().relative_to(directory.resolve()).as_posix()
    except ValueError:
        raise UserError(f"{path}: not inside {directory}") from None
