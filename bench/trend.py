"""False alarms and power of `foresight.forecast.trend`, by simulation, and its verdicts on
public tables.

An alarm is a verdict `falling`, `u_shaped` or `inverted_u` where the truth never falls; the bound
is 5 % for each kind of truth and design below. Estimand: share of alarms among simulated sets of
scores, with its 95 % Wilson interval. Power: share of the right verdict where accuracy falls, or
falls and recovers, by so many points. Standard errors and scatter are in accuracy (0..1).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from foresight.forecast.scores import ScoreRow, ScoreTable, read_scores
from foresight.forecast.trend import Trend, trend

SIZES = {
    "ada": 350e6, "babbage": 1.3e9, "curie": 6.7e9, "davinci": 175e9, "gpt2": 124e6,
    "gpt2-medium": 355e6, "gpt2-large": 774e6, "gpt2-xl": 1.5e9, "opt-125m": 125e6,
    "opt-350m": 350e6, "opt-1.3b": 1.3e9, "opt-2.7b": 2.7e9,
}  # fmt: skip
"""Parameters; those of ada to davinci are public estimates."""
ALARMS = ("falling", "u_shaped", "inverted_u")
SHAPES = {
    "flat": lambda u: 0.0 * u,
    "linear": lambda u: 0.2 * u,
    "saturating": lambda u: 0.3 * (1 - np.exp(-6 * u)),
    "late jump": lambda u: np.where(u > 0.8, 0.4, 0.0),
    "early jump": lambda u: np.where(u > 0.15, 0.4, 0.0),
    "emergent": lambda u: 0.6 / (1 + np.exp(-14 * (u - 0.6))),
    "slight": lambda u: 0.01 * u,
}
"""Truths that never fall, over u = position in the range of log scale, 0..1."""
DESIGNS = ("4", "6", "8 uneven", "12", "4+4", "4+4+4")
NOISES = ("known", "extra scatter", "unknown", "unknown, t3", "unknown, fading")


@dataclass(frozen=True)
class Rate:
    """One kind: share of `hits` among `sets`, with its 95 % Wilson interval."""

    kind: str
    hits: int
    sets: int

    @property
    def share(self) -> float:
        return self.hits / self.sets

    @property
    def interval(self) -> tuple[float, float]:
        z, n = 1.96, self.sets
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = (
            z / (1 + z * z / n) * math.sqrt(self.share * (1 - self.share) / n + (z / (2 * n)) ** 2)
        )
        return middle - half, middle + half


def positions(design: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Log scales and families of a design such as "6", "8 uneven", "4+4+4"."""
    if "+" in design:
        counts = [int(part) for part in design.split("+")]
        x = np.concatenate([np.sort(rng.uniform(0, 8, count)) for count in counts])
        return x, np.repeat(np.arange(len(counts)), counts)
    count, _, uneven = design.partition(" ")
    x = np.linspace(0, 8, int(count))
    return (np.sort(rng.exponential(2.0, int(count))) if uneven else x), np.zeros(int(count), int)


def simulate(
    shape: str, noise: str, design: str, rng: np.random.Generator, stderr: float = 0.01
) -> ScoreTable:
    """One set of scores about a truth that never falls; family offsets have sd 0.1."""
    x, family = positions(design, rng)
    u = (x - x.min()) / np.ptp(x)
    y = SHAPES[shape](u) + rng.normal(0, 0.1, family.max() + 1)[family]
    if noise == "known":
        error = rng.normal(0, stderr, len(x))
    elif noise == "extra scatter":
        error = rng.normal(0, math.hypot(stderr, 0.02), len(x))
    elif noise == "unknown, t3":
        error = 0.02 * rng.standard_t(3, len(x))
    else:
        error = rng.normal(0, 0.02, len(x)) * (np.exp(-u) if "fading" in noise else 1.0)
    known = stderr if "unknown" not in noise else None
    return scores(x, y + error, known, family)


def scores(
    x: np.ndarray, y: np.ndarray, stderr: float | None, family: np.ndarray | None = None
) -> ScoreTable:
    groups = np.zeros(len(x), int) if family is None else family
    return ScoreTable(tuple(
        ScoreRow(f"m{i}", math.exp(a), float(b), stderr, f"family {g}")
        for i, (a, b, g) in enumerate(zip(x, y, groups, strict=True))
    ))  # fmt: skip


def false_alarms(sets: int, seed: int) -> Iterator[Rate]:
    """Flat truths, the least favourable, in every noise and design; the other shapes in every
    noise, the designs taking turns."""
    cells = [("flat", noise, (design,)) for noise in NOISES for design in DESIGNS]
    cells += [(shape, noise, DESIGNS) for shape in SHAPES if shape != "flat" for noise in NOISES]
    for number, (shape, noise, designs) in enumerate(cells):
        rng = np.random.default_rng([seed, number])
        hits = sum(
            trend(simulate(shape, noise, designs[at % len(designs)], rng), seed=at).verdict
            in ALARMS
            for at in range(sets)
        )
        yield Rate(f"{shape} | {noise} | {'all' if len(designs) > 1 else designs[0]}", hits, sets)


def power(sets: int, seed: int) -> Iterator[Rate]:
    """Falling by 5, 10, 20 points, and a U as deep; s.e. 0.01 known, scatter 0 or 0.02."""
    for wanted in ("falling", "u_shaped"):
        for count in (4, 5, 6, 8, 12):
            for scatter in (0.0, 0.02):
                for points in (5, 10, 20):
                    rng = np.random.default_rng([seed, count, points, wanted == "falling"])
                    x = np.linspace(0, 8, count)
                    u = x / 8 if wanted == "falling" else 1 - np.abs(2 * x / 8 - 1)
                    hits = 0
                    for index in range(sets):
                        error = rng.normal(0, math.hypot(0.01, scatter), count)
                        found = trend(scores(x, 0.5 - points / 100 * u + error, 0.01), seed=index)
                        hits += found.verdict == wanted
                    yield Rate(f"{wanted} by {points} points | {count} models | scatter {scatter}",
                               hits, sets)  # fmt: skip


def turn_coverage(sets: int, seed: int) -> Rate:
    """Does the 95 % interval hold the true turn? V of 20 points, 9 models, turn anywhere inside."""
    rng = np.random.default_rng([seed, 9])
    hits = told = 0
    for index in range(sets):
        x, turn = np.linspace(0, 8, 9), rng.uniform(2.5, 5.5)
        y = 0.05 * np.abs(x - turn) + rng.normal(0, 0.02, 9)
        found = trend(scores(x, y, 0.01), seed=index)
        if found.turn_interval is not None:
            told += 1
            low, high = np.log(found.turn_interval)
            hits += bool(low <= turn <= high)
    return Rate("95 % interval of the turn holds it", hits, told)


def family_of(model: str) -> str:
    return next((name for name in ("gpt2", "opt") if model.startswith(name)), "gpt3")


def inverse_scaling(folder: Path) -> Iterator[tuple[str, str, Trend]]:
    """Tasks of the inverse-scaling pipeline: experiments whose names differ only in the family
    are one task; accuracy, and loss where that was kept."""
    tasks: dict[str, list[dict[str, str]]] = {}
    with (folder / "inverse_scaling" / "aggregate.csv").open() as stream:
        for row in csv.DictReader(stream):
            name = re.sub(r"[-_](gpt2|gpt3|opt)(?=$|[-_])", "", row["experiment"])
            tasks.setdefault(name, []).append(row)
    for name, rows in tasks.items():
        for metric, up in (("correct", True), ("loss", False)):
            # Instruction-tuned models are another recipe; one row per model.
            kept = {
                row["model"]: row for row in rows
                if row["model"] in SIZES and row[f"sem_{metric}"] and int(row["n"]) > 0
            }  # fmt: skip
            table = ScoreTable(tuple(
                ScoreRow(model, SIZES[model], float(row[f"mean_{metric}"]),
                      float(row[f"sem_{metric}"]), family_of(model))
                for model, row in kept.items()
            ), metric)  # fmt: skip
            if len(kept) >= 4:
                yield name, metric, trend(table, higher_is_better=up)


def public_models(folder: Path) -> Iterator[tuple[str, str, Trend]]:
    """Benchmarks of 140 public models (Ruan et al. 2024), within 39 families, by parameters."""
    path = folder / "obs_scaling" / "base_llm_benchmark_eval.csv"
    columns = {"group": "Model Family", "scale": "Model Size (B)"}
    for metric in ("MMLU", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "GSM8K", "XWinograd",
                   "HumanEval"):  # fmt: skip
        yield "public models", metric, trend(read_scores(path, metric, columns))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/data/scaling"))
    parser.add_argument("--sets", type=int, default=100, help="sets per kind of truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    wanted = parser.parse_args()
    alarms = list(false_alarms(wanted.sets, wanted.seed))
    powers = list(power(wanted.sets, wanted.seed))
    turn = turn_coverage(2 * wanted.sets, wanted.seed)
    tasks = [*inverse_scaling(wanted.folder), *public_models(wanted.folder)]
    if wanted.json:
        print(json.dumps({
            "alarms": [asdict(rate) for rate in alarms],
            "power": [asdict(rate) for rate in powers],
            "turn": asdict(turn),
            "tasks": [{"task": name, **found.to_json()} for name, _, found in tasks],
        }, indent=1))  # fmt: skip
        return 0
    flat = [rate for rate in alarms if rate.kind.startswith("flat")]
    for part, title in enumerate(("truth", "flat truth, noise", "flat truth, design")):
        totals: dict[str, Rate] = {}
        for rate in flat if part else alarms:
            key = rate.kind.split(" | ")[part]
            old = totals.get(key, Rate(key, 0, 0))
            totals[key] = Rate(key, old.hits + rate.hits, old.sets + rate.sets)
        for rate in totals.values():
            show(rate, f"alarms, {title} ")
    show(Rate("all", sum(r.hits for r in alarms), sum(r.sets for r in alarms)), "alarms, ")
    show(max(alarms, key=lambda rate: rate.share), "alarms, worst of the kinds: ")
    for rate in [*powers, turn]:
        show(rate)
    for name, metric, found in tasks:
        p = " ".join(f"{v:.3f}" if v is not None else "-" for v in (
            found.p_falling, found.p_rising, found.p_u))  # fmt: skip
        change = "" if found.change is None else f"{found.change:+.3f}"
        print(f"{name:32} {metric:8} {found.models:3} models {found.verdict:11} p fall, rise, U: "
              f"{p}  change {change}")  # fmt: skip
    return 0


def show(rate: Rate, title: str = "") -> None:
    low, high = rate.interval
    print(f"{title + rate.kind:60} {100 * rate.share:5.1f} % [{100 * low:.1f}, {100 * high:.1f}] "
          f"of {rate.sets}", flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
