"""False alarms, detection and forecasts in flight of `foresight watch`, on simulated runs.

A recipe is drawn at random (losses that fall as a power of the learning done, above a floor that
falls with size; an excess that follows the learning rate; run-to-run shapes; AR(1) batch noise;
linear or cosine decay), a ladder of 4 to 8 runs over factors of 3 in compute, and targets at 10
times the largest, with a forecast that is off by its own standard deviation on average. Faults
act on the learning rate or the loss of the simulated trainer. Everything is judged through
`Watch.look`, as the command does. Estimands: share of clean runs with any alarm by their end
(bound: Clopper-Pearson; and an interval over recipes, since runs of one ladder share its errors);
share of faulty runs with an alarm by 30 %; coverage of the final loss by intervals in flight.

    python bench/watch.py [--recipes 60] [--clean 60] [--faulty 4] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.forecast.training_log import TrainingLog
from foresight.forecast.watch import Look, Reference, Reforecast, Watch

Array = NDArray[np.float64]
Curve = tuple[Array, Array]

FAULTS = (
    "learning rate x4 from the start", "learning rate x4 from 10 %",
    "learning rate /4 from the start", "learning rate /4 from 10 %",
    "data repeat from 10 %", "slow divergence from 10 %",
)  # fmt: skip
START, DEADLINE = 0.1, 0.3
FLIGHTS = (0.12, 0.25, 0.5)
EXTRAPOLATION = 10.0


@dataclass(frozen=True)
class Recipe:
    """One simulated recipe; losses in nats, times in fractions of the run."""

    floor: float
    capacity: float
    capacity_power: float
    learning: float
    power: float
    excess: float
    memory: float
    noise: float
    correlation: float
    level: float
    shape: float
    cosine: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Recipe:
        u = rng.uniform
        return cls(
            u(1.2, 2.2), u(1.0, 2.0), u(0.07, 0.14), u(0.9, 1.6), u(0.25, 0.4), u(0.02, 0.05),
            u(0.003, 0.015), u(0.01, 0.03), u(0.0, 0.4), u(0.001, 0.004), u(0.002, 0.006),
            bool(rng.random() < 0.5),
        )  # fmt: skip

    def share(self, steps: int) -> Array:
        """Of the peak rate: 2 % linear warm-up, then linear to zero or cosine to a tenth."""
        t = (np.arange(steps) + 0.5) / steps
        after = np.clip((t - 0.02) / 0.98, 0, 1)
        decay = 0.55 + 0.45 * np.cos(np.pi * after) if self.cosine else 1 - after
        return np.asarray(np.minimum(t / 0.02, 1) * decay)

    def train(self, rng: np.random.Generator, size: float, fault: str | None = None) -> Curve:
        """Fractions and losses of a run; `size`: compute in units of the smallest rung's."""
        steps = int(500 * size**0.25)
        t = np.arange(1, steps + 1) / steps
        factor = _rate_factor(fault, steps)
        loss = self._mean(size, self.share(steps), factor)
        own = self.level * rng.standard_normal()
        own += self.shape * rng.standard_normal() * -np.log(t) * np.exp(-3 * t)
        own += self.shape * rng.standard_normal() * np.sin(np.pi * t)
        fresh = rng.standard_normal(steps) * self.noise * size**-0.15
        # Scaled to the same standard deviation whatever the correlation.
        own += _autoregressive(fresh, self.correlation) * np.sqrt(
            (1 + self.correlation) / (1 - self.correlation)
        )
        late = np.maximum(t - START, 0)
        if fault == "data repeat from 10 %":
            own -= 0.08 * (1 - np.exp(-late / 0.15))
        if fault == "slow divergence from 10 %":
            own += np.minimum(0.004 * np.expm1(late / 0.05), 1.5)
        return t, loss * np.exp(own)

    def _mean(self, size: float, share: Array, factor: Array) -> Array:
        # Beyond the tuned rate, more of it teaches little and costs much.
        gain = np.where(factor < 1, factor, factor**0.3)
        progress = np.cumsum(share * gain) / share.sum()
        left = self.learning / 2 * size**-self.power * np.maximum(progress, 1e-4) ** -self.power
        goal = self.excess * share * factor * np.where(factor > 1, factor**0.3, 1.0)
        excess = _autoregressive(goal, float(np.exp(-1 / (self.memory * len(share)))))
        level = self.floor + self.capacity * size**-self.capacity_power
        return np.asarray((level + np.minimum(left, 8.0)) * (1 + excess))


def _rate_factor(fault: str | None, steps: int) -> Array:
    factor = np.ones(steps)
    if fault is not None and fault.startswith("learning rate"):
        begin = 0 if fault.endswith("start") else int(START * steps)
        factor[begin:] = 4.0 if "x4" in fault else 0.25
    return factor


def _autoregressive(drive: Array, keep: float) -> Array:
    """x_i = keep x_(i-1) + (1 - keep) drive_i, from 0."""
    x, out = 0.0, np.empty(len(drive))
    for i, value in enumerate(drive.tolist()):
        x = keep * x + (1 - keep) * value
        out[i] = x
    return out


def final_loss(curve: Curve) -> float:
    return float(curve[1][curve[0] > 0.95].mean())


def log_of(curve: Curve, until: float = 1.0) -> TrainingLog:
    """The log of a run as it stands at a fraction of it."""
    steps = len(curve[0])
    logged = curve[1][: int(until * steps)].tolist()
    rows = {step: (loss, None) for step, loss in enumerate(logged, start=1)}
    return TrainingLog(Path("log.jsonl"), steps, rows)


class World:
    """A recipe, its ladder, and the watch over targets of one size."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.recipe = Recipe.draw(rng)
        self.rungs = int(rng.integers(4, 9))
        sizes = 3.0 ** np.arange(self.rungs)
        self.target = float(sizes[-1] * EXTRAPOLATION)
        self.curves = tuple(self.recipe.train(rng, float(size)) for size in sizes)
        self.sd = float(rng.choice([0.005, 0.01, 0.02]))
        truth = float(np.mean([final_loss(self.run()) for _ in range(20)]))
        point = truth * float(np.exp(self.sd * rng.standard_normal()))
        wide = float(np.exp(1.96 * self.sd))
        self.watch = Watch(Reference(self.curves, (point, point / wide, point * wide)))

    def run(self, fault: str | None = None) -> Curve:
        return self.recipe.train(self.rng, self.target, fault)

    def look(self, curve: Curve, until: float = 1.0) -> Look:
        return self.watch.look(log_of(curve, until))


def measure(recipes: int, clean: int, faulty: int, seed: int) -> dict[str, Any]:
    """All estimands; the same arguments give the same numbers."""
    rng = np.random.default_rng(seed)
    alarmed: list[int] = []
    kinds: Counter[str] = Counter()
    first: dict[str, list[float]] = defaultdict(list)
    flights: dict[float, list[tuple[bool, bool, float]]] = defaultdict(list)
    for number in range(recipes):
        world = World(rng)
        alarmed.append(0)
        for _ in range(clean):
            curve = world.run()
            alarms = world.look(curve).alarms
            alarmed[-1] += bool(alarms)
            kinds.update({alarm.kind for alarm in alarms})
            for at in FLIGHTS:
                made = world.look(curve, at).reforecast
                if made is not None:  # an alarm withdraws it
                    flights[at].append(_flight(made, final_loss(curve)))
        for fault in FAULTS:
            for _ in range(faulty):
                alarms = world.look(world.run(fault)).alarms
                first[fault].append(alarms[0].fraction if alarms else np.inf)
        print(f"recipe {number + 1}/{recipes}: {world.rungs} rungs, "
              f"{alarmed[-1]} of {clean} clean runs alarmed", flush=True)  # fmt: skip
    return {
        "clean": _false_alarms(np.array(alarmed), clean, rng) | {"kinds": dict(kinds)},
        "faults": {
            fault: {
                "runs": len(at),
                "by_30_percent": float(np.mean(np.array(at) <= DEADLINE + 1e-9)),
                "ever": float(np.mean(np.isfinite(at))),
                "median_fraction": None if np.median(at) == np.inf else float(np.median(at)),
            }
            for fault, at in first.items()
        },
        "in_flight": {
            str(at): dict(
                zip(("runs", "covered_80", "covered_95", "width_to_before"),
                    (len(rows), *map(float, np.mean(rows, axis=0))), strict=True)
            )
            for at, rows in flights.items()
        },
    }  # fmt: skip


def _flight(made: Reforecast, truth: float) -> tuple[bool, bool, float]:
    """Does the forecast in flight cover the final loss at 80 and 95 %; its width at 95 %, over the
    width before."""
    inside = [low <= truth <= high for low, high in (made.intervals["80"], made.intervals["95"])]
    low, high = made.intervals["95"]
    _, before_low, before_high = made.before
    return inside[0], inside[1], float(np.log(high / low) / np.log(before_high / before_low))


def _false_alarms(alarmed: NDArray[np.int64], clean: int, rng: np.random.Generator) -> Any:
    from scipy.stats import beta

    total, runs = int(alarmed.sum()), clean * len(alarmed)
    means = rng.choice(alarmed / clean, (10_000, len(alarmed))).mean(axis=1)
    return {
        "runs": runs,
        "alarmed": total,
        "rate": total / runs,
        "upper_95": float(beta.ppf(0.95, total + 1, runs - total)),
        "upper_95_over_recipes": float(np.quantile(means, 0.95)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name, value in (("recipes", 60), ("clean", 60), ("faulty", 4), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.recipes, given.clean, given.faulty, given.seed)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    clean = found["clean"]
    print(
        f"false alarms: {clean['alarmed']} of {clean['runs']} clean runs = {clean['rate']:.2%}, "
        f"at most {clean['upper_95']:.2%} (one-sided 95 %, binomial), "
        f"{clean['upper_95_over_recipes']:.2%} (recipes resampled); {clean['kinds']}"
    )
    for fault, row in found["faults"].items():
        median = row["median_fraction"]
        print(
            f"{fault:32s} n={row['runs']}: by 30 % {row['by_30_percent']:.0%}, "
            f"ever {row['ever']:.0%}, median first alarm at "
            + ("never" if median is None else f"{median:.2f}")
        )
    for at, row in found["in_flight"].items():
        print(
            f"final loss forecast at {float(at):.0%}, n={row['runs']}: 80 % covers "
            f"{row['covered_80']:.1%}, 95 % covers {row['covered_95']:.1%}, width "
            f"{row['width_to_before']:.2f} of that before the run"
        )


if __name__ == "__main__":
    main()
