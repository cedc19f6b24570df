"""A live run against its predicted curve: alarms, and the forecast of its end made in flight.

The reference is a registration (`Reference.registered`) or any finished smaller runs with a
forecast (`Reference.like`); the model of a clean run is `band.Band`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.band import (
    FIRST_LOOK,
    RATES,
    Z95,
    Band,
    Curve,
    Final,
    scan,
    thresholds,
)
from foresight.forecast.draws import Array, rounded, student_quantile
from foresight.forecast.registration import Registration, read_chain, registrations_dir
from foresight.forecast.training_log import TrainingLog
from foresight.runs import Run, sha256_file

REFORECAST_FROM = 0.1
"""Fraction of the run from which its end is forecast again (protocol, point 5)."""
_TEXTS = {
    "not_finite": "the loss is not a finite number above 0: stop, go back to a checkpoint before "
    "this step, look at the batch and the gradient norms of the steps before it",
    "level": "the whole curve lies {side} the forecast, more than its error allows: look at the "
    "learning rate, the batch size, the data mixture and the tokenizer; if they are those of the "
    "ladder, the forecast was wrong",
    "shape": "the curve has left the ladder's shape {side}wards since about step {since}: look at "
    "what changed there (learning rate and its schedule, resumed optimiser or data loader state, "
    "data order{repeat})",
    "spike": "one block of the run lies far {side} those around it: look at its batches and "
    "gradient norms, and watch whether the loss returns",
}


@dataclass(frozen=True)
class Alarm:
    """A warning. `kind`: not_finite, level, shape or spike; `step`, `fraction`: when it was raised
    (the block's end); `sigma`: the standardised deviation, `threshold` what a clean run exceeds
    with the probability `band.RATES`; both None for not_finite."""

    kind: str
    step: int
    fraction: float
    sigma: float | None
    threshold: float | None
    text: str


@dataclass(frozen=True)
class Reforecast:
    """The final training loss forecast in flight at `fraction` of the run, in the unit of the
    loss; `before` is the forecast that stood at the start."""

    label: str
    step: int
    fraction: float
    point: float
    intervals: dict[str, tuple[float, float]]
    sd_log: float
    before: Final


@dataclass(frozen=True)
class Look:
    """A run as it stands. `state`: waiting, running, finished or broken (its loss is no number).

    `loss`: mean of the last block; `expected`, `low`, `high`: its prediction and 95 % band before
    the run, `sigma` its deviation in standard deviations of that. `curve`: one object per judged
    block, loss None where there is none yet. `skipped_lines`: of the log, that were no records.
    """

    state: str
    step: int
    total: int
    fraction: float
    loss: float | None
    expected: float | None
    low: float | None
    high: float | None
    sigma: float | None
    alarms: tuple[Alarm, ...]
    reforecast: Reforecast | None
    curve: tuple[dict[str, float | None], ...]
    skipped_lines: int
    false_alarm_rate: float = sum(RATES.values())

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = rounded(asdict(self))
        value["alarms"] = list(value["alarms"])
        return value


@dataclass(frozen=True)
class Reference:
    """What a run is held against: finished curves, smallest first, and the forecast final loss;
    the planned steps where they are known."""

    curves: tuple[Curve, ...]
    final: Final
    total: int | None = None

    @classmethod
    def registered(cls, path: Path) -> Reference:
        """A registration in its experiment directory.

        Raises UserError if it is none, or if a rung's log is not the registered one.
        """
        record = Registration.load(path).record
        curves = []
        for rung in record["rungs"]:
            metrics = Run(path.parents[1] / rung["run"]).metrics_path
            if sha256_file(metrics) != rung["files"]["metrics.jsonl"]:
                raise UserError(f"{metrics}: changed since {path.name} was registered")
            curves.append(TrainingLog.read(metrics).curve())
        curve = record["curve"]
        final = (curve["loss"][-1], curve["low"][-1], curve["high"][-1])
        return cls(tuple(curves), final, int(record["target"]["steps"]))

    @staticmethod
    def registration_of(run: Path) -> Registration:
        """The first registration whose target is this run directory. Raises UserError."""
        directory = run.resolve().parents[1]
        for entry in read_chain(directory):
            if entry["kind"] == "registration":
                found = Registration.load(registrations_dir(directory) / entry["file"])
                if directory / found.record["target"]["run"] == run.resolve():
                    return found
        raise UserError(
            f"{run}: no registration in {registrations_dir(directory)} has it as target; name one "
            f"with --against, or finished smaller runs with --like and the forecast with --final"
        )

    @classmethod
    def like(cls, paths: Sequence[Path], final: Final) -> Reference:
        """Finished runs (directories or logs), and the (point, low, high) at 95 % of the final
        loss. The order does not matter: a higher final loss is taken as a smaller run."""
        curves = [TrainingLog.read(log_path(path)).curve() for path in paths]
        curves.sort(key=lambda curve: -float(curve[1][-max(len(curve[1]) // 20, 1) :].mean()))
        return cls(tuple(curves), final)


def log_path(path: Path) -> Path:
    """The log of a run directory; a file is taken as it is."""
    return Run(path).metrics_path if path.is_dir() else path


class Watch:
    """Holds a growing log against a reference. Pure: equal logs give equal looks."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.band = Band.learn(reference.curves, reference.final)

    @cached_property
    def thresholds(self) -> dict[str, float]:
        return thresholds(self.band)

    def look(self, log: TrainingLog) -> Look:
        """Judge what is logged. Raises UserError if nobody tells the steps of the whole run."""
        total = log.total or self.reference.total
        if not total:
            raise UserError(f"{log.path}: the steps of the whole run are not known; pass --steps")
        fractions, losses = log.curve(total)
        band = self.band.for_log(fractions, losses)
        at, deviations = band.deviations(fractions, losses)
        alarms = self._alarms(band, at, deviations, total)
        broken = log.broken_at
        if broken is not None:
            alarms += (_alarm("not_finite", broken, broken / total),)
        state = "running" if log.step < total else "finished"
        if broken is not None or not log.rows:
            state = "waiting" if broken is None else "broken"
        reforecast = None
        if len(at) and not {"shape", "not_finite"} & {alarm.kind for alarm in alarms}:
            reforecast = self._reforecast(band, at, deviations, total)
        sd = np.sqrt(np.diag(band.covariance(band.level_sd)))
        curve = _points(band, at, deviations, sd)
        last = curve[int(at[-1])] if len(at) else {}
        return Look(
            state=state,
            step=log.step,
            total=total,
            fraction=min(log.step / total, 1.0),
            loss=last.get("loss"),
            expected=last.get("expected"),
            low=last.get("low"),
            high=last.get("high"),
            sigma=float(deviations[-1] / sd[at[-1]]) if len(at) else None,
            alarms=alarms,
            reforecast=reforecast,
            curve=curve,
            skipped_lines=log.skipped,
        )

    def _alarms(
        self, band: Band, at: NDArray[np.int64], deviations: Array, total: int
    ) -> tuple[Alarm, ...]:
        """The first crossing of each kind, in the order in which they came."""
        if not len(at) or band.ends[at[-1]] < FIRST_LOOK - 1e-9:
            return ()
        found = scan(band, deviations[None], at)
        early = band.ends[at] < FIRST_LOOK - 1e-9
        alarms = []
        for kind, path, limit in (
            ("level", found.level[0], self.thresholds["level"]),
            ("shape", found.change[0], self.thresholds["shape"]),
            ("spike", found.block[0], self.thresholds["shape"]),
        ):
            hits = np.flatnonzero((np.abs(path) > limit) & ~early)
            if len(hits):
                block = int(hits[0])
                end = float(band.ends[at[block]])
                since = float(band.ends[at[found.since[0, block]]]) - 1 / band.count
                alarms.append(
                    _alarm(kind, math.ceil(end * total), end, float(path[block]), limit,
                           math.floor(since * total))
                )  # fmt: skip
        return tuple(sorted(alarms, key=lambda alarm: alarm.step))

    def _reforecast(
        self, band: Band, at: NDArray[np.int64], deviations: Array, total: int
    ) -> Reforecast | None:
        """Posterior of the level, given the deviations so far: the shapes still to come are in
        their covariance, for all of them vanish at the end of the run."""
        fraction = float(band.ends[at[-1]])
        if fraction < REFORECAST_FROM - 1e-9:
            return None
        prior = band.level_sd**2
        gain = prior * np.linalg.solve(band.covariance(band.level_sd, at), np.ones(len(at)))
        mean = band.final + float(gain @ deviations)
        sd = math.sqrt(prior * (1 - float(gain.sum())) + band.final_noise**2)
        intervals = {}
        for level in (50, 80, 95):
            half = student_quantile(0.5 + level / 200, band.freedom) * sd
            intervals[str(level)] = (math.exp(mean - half), math.exp(mean + half))
        return Reforecast(
            label="in flight",
            step=math.floor(fraction * total),
            fraction=fraction,
            point=math.exp(mean),
            intervals=intervals,
            sd_log=sd,
            before=self.reference.final,
        )


def _points(
    band: Band, at: NDArray[np.int64], deviations: Array, sd: Array
) -> tuple[dict[str, float | None], ...]:
    seen = np.full(len(band.ends), np.nan)
    seen[at] = band.expected[at] + deviations
    return tuple(
        {
            "fraction": float(end),
            "expected": math.exp(middle),
            "low": math.exp(middle - Z95 * width),
            "high": math.exp(middle + Z95 * width),
            "loss": None if math.isnan(value) else math.exp(value),
        }
        for end, middle, width, value in zip(band.ends, band.expected, sd, seen, strict=True)
    )


def _alarm(
    kind: str,
    step: int,
    fraction: float,
    sigma: float | None = None,
    limit: float | None = None,
    since: int = 0,
) -> Alarm:
    below = sigma is not None and sigma < 0
    side = {"level": ("above", "below"), "spike": ("above", "below")}.get(kind, ("up", "down"))
    # A training loss that falls too fast is most often data that was seen before.
    text = _TEXTS[kind].format(
        side=side[below], since=since, repeat="; data seen before" if below else ""
    )
    return Alarm(kind, step, fraction, sigma, limit, text)
