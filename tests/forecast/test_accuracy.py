"""Accuracy laws: recovery of a known law, chance, bounds, weights, refusals, the command."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foresight.errors import UserError
from foresight.forecast import AccuracyForecast, ScoreRow, ScoreTable, fit_accuracy
from foresight.forecast.accuracy import _truncated, log_accuracy
from tests.command import foresight

COMPUTE = np.geomspace(1e17, 1e20, 7)


def table_of(accuracy: np.ndarray, stderr: float | None = 0.003) -> ScoreTable:
    return ScoreTable(tuple(
        ScoreRow(f"r{i}", float(c), float(a), stderr)
        for i, (c, a) in enumerate(zip(COMPUTE, accuracy, strict=False))
    ), "accuracy")  # fmt: skip


def law(compute: np.ndarray | float, chance: float = 0.0) -> np.ndarray:
    return np.asarray(chance + (1 - chance) * np.exp(-1.6 * (np.asarray(compute) / 1e17) ** -0.12))


def numbers(found: AccuracyForecast) -> tuple[float, float, float]:
    assert found.point is not None and found.intervals is not None
    return found.point, *found.intervals[95]


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_a_known_law_is_foretold(chance: float) -> None:
    noise = np.random.default_rng(4).normal(0, 0.003, 7)
    fitted = fit_accuracy(table_of(law(COMPUTE, chance) + noise), 0.25)
    found = fitted.predict(1e21)
    point, low, high = numbers(found)
    truth = float(law(1e21, chance))
    print(f"chance {chance}: {point:.4f} [{low:.4f}, {high:.4f}], truth {truth:.4f}, "
          f"weights {fitted.weights}")  # fmt: skip
    assert abs(point - truth) < 0.03 and low < truth < high
    assert found.verdict in ("forecast", "wide") and sum(found.weights.values()) == pytest.approx(1)
    # The law that made the data weighs more, in either world.
    assert (fitted.weights["direct"] > 0.5) == (chance == 0.0)


def test_intervals_grow_and_stay_inside() -> None:
    fitted = fit_accuracy(table_of(law(COMPUTE), 0.02))
    widths = []
    for compute in (3e20, 3e21, 3e23):
        point, low, high = numbers(fitted.predict(compute))
        assert 0.0 <= low < point < high <= 1.0
        widths.append(high - low)
    assert widths[0] < widths[1]


def test_zero_and_full_marks_need_the_number_of_questions() -> None:
    accuracy = np.array([0.0, 0.0, 0.01, 0.05, 0.12, 0.25, 0.4])
    with pytest.raises(UserError, match=r"run r0: accuracy 0 with chance 0.*--items"):
        fit_accuracy(table_of(accuracy, None))
    point, low, high = numbers(fit_accuracy(table_of(accuracy)).predict(1e21, force=True))
    assert 0.3 < point < 0.95 and low < point < high
    loss, sigma = log_accuracy(ScoreRow("r", 1e18, 1.0, 0.002), 0.0)
    assert 0.0 < loss < 0.01 and sigma is not None and 0.5 < sigma < 1.0


@pytest.mark.parametrize(
    ("chance", "accuracy", "message"),
    [(0.0, 0.5, "chance 0"), (25.0, 0.5, "chance 25"), (None, 62.0, "share from 0 to 1")],
)
def test_nonsense_is_refused(chance: float | None, accuracy: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_accuracy(table_of(np.full(7, accuracy)), chance)


def test_parameters_are_no_compute() -> None:
    with pytest.raises(UserError, match="ordered by params"):
        fit_accuracy(ScoreTable(table_of(law(COMPUTE)).rows, "accuracy", "params"))


def test_a_falling_accuracy_is_refused_with_reasons() -> None:
    found = fit_accuracy(table_of(law(COMPUTE)[::-1])).predict(1e21)
    assert found.verdict == "refused" and found.point is None
    assert "non_monotone" in [reason["code"] for reason in found.to_json()["reasons"]]


@given(st.floats(-0.2, 1.2), st.floats(0.001, 0.3))
def test_the_truncated_normal(mean: float, sd: float) -> None:
    found, spread = _truncated(mean, sd)
    assert 0.0 < found < 1.0 and spread > 0.0
    low, high = -mean / sd, (1 - mean) / sd
    if low < 6 and high > -6:
        exact = stats.truncnorm(low, high, mean, sd)
        assert found == pytest.approx(exact.mean(), rel=1e-3, abs=1e-6)
        assert spread == pytest.approx(exact.std(), rel=2e-2, abs=1e-6)


def test_public_ladder_beats_the_straight_line(shared_data: Path) -> None:
    """Four tasks of Gadre et al.'s ladder that leave chance late, the last run hidden (k = 10)."""
    items = {"hellaswag": (10042, 0.25), "arc_easy": (2376, 0.25), "lambada_openai": (5153, 0.0),
             "piqa": (1838, 0.5)}  # fmt: skip
    with (shared_data / "scaling" / "gadre_overtraining" / "runs.csv").open() as stream:
        runs = [row for row in csv.DictReader(stream) if row["train_set"] == "rpj"]
    runs = [row for row in runs if float(row["chinchilla_multiplier"]) == 1.0]
    runs.sort(key=lambda row: float(row["C"]))
    ours, line, inside = [], [], 0
    for task, (n, chance) in items.items():
        rows = [
            ScoreRow(row["run_id"], float(row["C"]), a, math.sqrt((a + 1 / n) * (1 - a) / n))
            for row in runs if (a := float(row[f"acc_{task}"])) >= 0
        ]  # fmt: skip
        target = rows.pop()
        found = fit_accuracy(ScoreTable(tuple(rows)), chance or None)
        point, low, high = numbers(found.predict(target.scale, force=True))
        x, y = np.log([r.scale for r in rows]), np.log([-math.log(r.value) for r in rows])
        straight = math.exp(-math.exp(np.polyval(np.polyfit(x, y, 1), math.log(target.scale))))
        ours.append(abs(point - target.value))
        line.append(abs(straight - target.value))
        inside += low <= target.value <= high
        print(f"{task}: {target.value:.3f}, ours {point:.3f} [{low:.3f}, {high:.3f}], line "
              f"{straight:.3f}")  # fmt: skip
    assert np.mean(ours) < np.mean(line) and np.mean(ours) < 0.06 and inside >= 3


def test_command(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    rows = "\n".join(f"{c:.6e},{a:.4f}" for c, a in zip(COMPUTE, law(COMPUTE, 0.25), strict=True))
    path.write_text("compute,mmlu\n" + rows + "\n")
    line = ("fit", path, "--accuracy", "mmlu", "--chance", "0.25", "--items", "14042")
    done = foresight(*line, "--at", "1e21", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert abs(found["at"][0]["point"] - float(law(1e21, 0.25))) < 0.05
    refused = foresight(*line, "--at", "1e26")
    assert refused.returncode == 3 and "ratio_too_large" in refused.stdout
