"""capability.json: what a figure of a registered capability forecast is drawn from.

Everything follows from the registry: the kept counts give buckets, points of the fitted models and
the law; records give what was registered; sealed outcomes give what came.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.forecast import chain
from foresight.forecast.capability import Capability, CapabilityForecast
from foresight.forecast.capability_registry import (
    METRIC,
    Fits,
    capability_records,
    fit_of,
)
from foresight.forecast.counts import log_pass_rate
from foresight.forecast.draws import rounded
from foresight.runs import read_json

FORMAT = 2
POINTS = 24
"""Computes at which the law is drawn."""


def capability_evidence(registry: Path, name: str, fits: Fits | None = None) -> dict[str, Any]:
    """The JSON value for the forecasts registered under NAME; `fits`: those made already.

    {format, metric, samples, verdict, reasons: [text], target: {run, compute_flops},
    models: [{model, compute_flops}], grid_flops: [...], groups: [{name, problems,
    law: {point: [...], low: [...], high: [...]}, models: [value or null of each model in the
    samples that assigned no problem], registration: {name, sha256, created_utc},
    forecast: {point, intervals}, observed: value or null}]}; values are mean log pass rates in
    nats, `law` has the 95 % interval of what an evaluation with
    `samples` samples shows. Raises UserError if nothing is registered under NAME.
    """
    records = capability_records(registry, name)
    first = next(iter(records.values()))
    settings, target = first["counts"], first["target"]
    fitted = fit_of(registry, settings, {} if fits is None else fits)
    grid = np.geomspace(fitted.counts.compute[0], target["compute_flops"], POINTS)
    laws = [
        fitted.predict(
            float(one), samples=settings["samples"], seed=settings["seed"], by_problem=False
        )
        for one in grid
    ]
    observed = _outcomes(registry)
    groups = fitted.groups()
    return rounded(
        {
            "format": FORMAT,
            "metric": METRIC,
            "samples": settings["samples"],
            "verdict": first["forecast"]["verdict"],
            "reasons": [reason["text"] for reason in first["forecast"]["reasons"]],
            "target": {"run": target["run"], "compute_flops": target["compute_flops"]},
            "models": [
                {"model": model, "compute_flops": float(compute)}
                for model, compute in zip(fitted.counts.models, fitted.counts.compute, strict=True)
            ],
            "grid_flops": grid.tolist(),
            "groups": [
                {
                    "name": record["counts"]["group"],
                    "problems": record["problems"],
                    "law": _law(laws, record["counts"]["group"]),
                    "models": _points(fitted, groups[record["counts"]["group"]]),
                    "registration": {
                        "name": title,
                        "sha256": record["sha256"],
                        "created_utc": record["created_utc"],
                    },
                    "forecast": {key: record["forecast"][key] for key in ("point", "intervals")},
                    "observed": observed.get(title),
                }
                for title, record in records.items()
            ],
        }
    )


def _law(laws: list[CapabilityForecast], group: str) -> dict[str, list[float]]:
    found = [next(one.observed_log for one in law.groups if one.name == group) for law in laws]
    return {
        "point": [one.point for one in found],
        "low": [one.intervals[95][0] for one in found],
        "high": [one.intervals[95][1] for one in found],
    }


def _points(fitted: Capability, problems: NDArray[np.intp]) -> list[float | None]:
    """Mean log pass rate of each fitted model in the samples that assigned no problem."""
    samples = fitted.buckets.samples[problems]
    rates = log_pass_rate(fitted.buckets.passes[problems], samples)
    means = [
        float(rates[seen, at].mean()) if (seen := samples[:, at] > 0).any() else math.nan
        for at in range(samples.shape[1])
    ]
    return [None if math.isnan(one) else one for one in means]


def _outcomes(registry: Path) -> dict[str, float]:
    return {
        Path(entry["file"]).stem: float(read_json(registry / entry["file"])["value"])
        for entry in chain.read_entries(registry)
        if entry["kind"] == "outcome"
    }
