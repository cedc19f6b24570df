"""Capability forecasts in a registry: every bucket of a suite, written down before the target.

A registration of source "counts" holds the mean over a bucket's problems of `log_pass_rate` of the
target's counts, with the number of samples that it will be measured with, and the bucket's problems
by name. The counts of the smaller models are kept in the registry, so that `verify` assigns the
buckets and fits the law again; the outcome follows from the kept counts of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from statistics import NormalDist
from typing import Any

from foresight.errors import UserError
from foresight.forecast import chain
from foresight.forecast.capability import (
    Capability,
    CapabilityForecast,
    fit_capability,
)
from foresight.forecast.codes import reasons_json, refuse
from foresight.forecast.counts import Counts, log_pass_rate, read_counts
from foresight.forecast.draws import rounded
from foresight.forecast.registration import Registration
from foresight.forecast.registry import (
    Subject,
    Witnesses,
    keep_bytes,
    observe,
    read_bytes,
    registered,
    write_record,
)
from foresight.runs import locked, sha256_file

METRIC = "mean log pass rate"

Fits = dict[str, Capability]
"""Fits by the hash of their counts: the buckets of a suite share one."""


def register_capability(
    registry: Path,
    name: str,
    subject: Subject,
    counts: Path,
    *,
    buckets: int = 6,
    samples: int,
    seed: int = 0,
    backcast: bool = False,
    witnesses: Witnesses | None = None,
    now: datetime | None = None,
    fits: Fits | None = None,
) -> list[Registration]:
    """Fit a file of counts and register, as NAME-all, NAME-bucket-1, ..., what the subject's
    evaluation with so many samples per problem will show in every group. The fit is left in `fits`.

    Raises UserError as `read_counts`, `fit_capability` and `register_fit` do.
    """
    if subject.compute_flops is None:
        raise UserError(f"{name}: the compute of the predicted run is missing")
    chain.check_name(name)
    table = read_counts(counts)
    if not backcast and subject.run in table.models:
        raise UserError(f"{counts}: has counts of run {subject.run!r}: its outcome is known")
    fits = {} if fits is None else fits
    with locked(registry):
        kept, new = keep_bytes(registry, read_bytes(counts), counts.suffix.lower())
        settings = {
            "file": kept.relative_to(registry).as_posix(),
            "origin": counts.name,
            "buckets": buckets,
            "samples": samples,
            "seed": seed,
        }
        try:
            fitted, forecast = _forecast(registry, settings, subject.compute_flops, fits)
        except UserError:
            if new:
                kept.unlink()
            raise
        titles = {group: _title(name, group) for group in fitted.groups()}
        for title in titles.values():  # all or none
            chain.new_path(registry, title, chain.read_entries(registry))
        made = []
        for group, inside in fitted.groups().items():
            record = {
                "metric": f"{METRIC}, {group}",
                "source": "counts",
                "target": subject.to_json(),
                "counts": {**settings, "group": group},
                "problems": [fitted.counts.problems[at] for at in inside],
                "forecast": _to_json(forecast, group),
                "backcast": backcast,
            }
            made.append(
                write_record(registry, titles[group], record, [kept], witnesses or Witnesses(), now)
            )
    return made


def observe_capability(
    registry: Path, name: str, counts: Path, now: datetime | None = None
) -> dict[str, float]:
    """Seal the outcome of every group registered under NAME from the target's counts; returns
    {registration: value}.

    Raises UserError if none is registered, the counts lack a problem or have another number of
    samples than was registered, or as `observe` does.
    """
    values = {
        title: group_value(counts, record)
        for title, record in capability_records(registry, name).items()
    }
    for title, value in values.items():
        observe(registry, title, value, counts, now)
    return values


def is_registered(registry: Path, name: str) -> bool:
    """Whether any group is registered under NAME."""
    title = _title(name, "all")
    return title in registered(registry, chain.read_entries(registry))


def capability_records(registry: Path, name: str) -> dict[str, dict[str, Any]]:
    """Records of the groups registered under NAME, in their order. Raises UserError if none is."""
    found = {
        title: one.record
        for title, one in registered(registry, chain.read_entries(registry)).items()
        if one.record["source"] == "counts" and title == _title(name, one.record["counts"]["group"])
    }
    if not found:
        raise UserError(f"{registry}: no capability forecast is registered as {name!r}")
    return found


def _title(name: str, group: str) -> str:
    return f"{name}-{group.replace(' ', '-')}"


def group_value(counts: Path, record: Mapping[str, Any]) -> float:
    """What a file of the target's counts shows in the registered group (nats). Raises UserError
    if it is not of all its problems, each with the registered number of samples."""
    table = read_counts(counts, min_models=1)
    run, samples = record["target"]["run"], record["counts"]["samples"]
    if run not in table.models:
        raise UserError(f"{counts}: no counts of run {run!r}, only of {', '.join(table.models)}")
    at = table.models.index(run)
    rows = {name: row for row, name in enumerate(table.problems)}
    missing = [name for name in record["problems"] if name not in rows]
    if missing:
        raise UserError(f"{counts}: no row for problem {missing[0]!r} of run {run!r}")
    inside = [rows[name] for name in record["problems"]]
    seen = table.samples[inside, at]
    if (seen != samples).any():
        raise UserError(
            f"{counts}, field samples: {int(seen[seen != samples][0])} of {run!r}; the forecast "
            f"is of {samples} per problem"
        )
    return round(mean_log_rate(table, inside, at), 10)


def mean_log_rate(table: Counts, problems: Sequence[int], model: int) -> float:
    """Mean over problems of `log_pass_rate` of one model's counts."""
    passes, samples = table.passes[problems, model], table.samples[problems, model]
    return float(log_pass_rate(passes, samples).mean())


def recount(registry: Path, record: Mapping[str, Any], fits: Fits) -> dict[str, Any]:
    """The problems and the forecast of a record of source "counts", from the kept counts."""
    settings = record["counts"]
    compute = record["target"]["compute_flops"]
    fitted, forecast = _forecast(registry, settings, compute, fits)
    inside = fitted.groups()[settings["group"]]
    return {
        "problems": [fitted.counts.problems[at] for at in inside],
        "forecast": _to_json(forecast, settings["group"]),
    }


def fit_of(registry: Path, settings: Mapping[str, Any], fits: Fits) -> Capability:
    """The fit of a record's kept counts, remembered in `fits`."""
    kept = registry / settings["file"]
    key = f"{sha256_file(kept)} {settings['buckets']} {settings['seed']}"
    if key not in fits:
        fits[key] = fit_capability(read_counts(kept), settings["buckets"], settings["seed"])
    return fits[key]


def _forecast(
    registry: Path, settings: Mapping[str, Any], compute_flops: float, fits: Fits
) -> tuple[Capability, CapabilityForecast]:
    fitted = fit_of(registry, settings, fits)
    forecast = fitted.predict(
        compute_flops, samples=settings["samples"], seed=settings["seed"], by_problem=False
    )
    if forecast.verdict == "refused":
        raise refuse("", compute_flops, forecast.reasons)
    return fitted, forecast


def _to_json(forecast: CapabilityForecast, group: str) -> dict[str, Any]:
    """A group's forecast in the form that registries score; the pass rate beside it."""
    one = next(found for found in forecast.groups if found.name == group)
    low, high = one.observed_log.intervals[95]
    return rounded(
        {
            "compute_flops": forecast.compute_flops,
            "point": one.observed_log.point,
            "intervals": one.observed_log.intervals,
            "sd": (high - low) / (2 * NormalDist().inv_cdf(0.975)),
            "scale": "linear",
            "extrapolation_ratio": forecast.ratio,
            "verdict": forecast.verdict,
            "reasons": reasons_json(forecast.reasons),
            "pass_rate": asdict(one.observed),
        },
        8,
    )
