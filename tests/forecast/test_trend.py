"""Trends: false alarms, power, families, turning points, refusals, public tables."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast import ScoreRow, ScoreTable, read_scores, trend
from foresight.forecast.trend import _segments
from tests.command import foresight


def table_of(x: np.ndarray, y: np.ndarray, stderr: float | None = None, group: str = "") -> list:
    return [
        ScoreRow(f"{group}{i}", math.exp(a), float(b), stderr, group or None)
        for i, (a, b) in enumerate(zip(x, y, strict=True))
    ]


def judged(rows: list, **options: float) -> str:
    return trend(ScoreTable(tuple(rows)), **options).verdict  # type: ignore[arg-type]


X = np.linspace(0, 8, 8)
JUMP = np.where(X > 6, 0.4, 0.0)
SATURATING = 0.3 * (1 - np.exp(-X))


@pytest.mark.parametrize(
    "truth", [0 * X, JUMP, SATURATING], ids=["flat", "late jump", "saturating"]
)
@pytest.mark.parametrize("known", [True, False])
def test_false_alarms_are_rare(truth: np.ndarray, known: bool) -> None:
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(150):
        y = truth + rng.normal(0, 0.02, 8)
        alarms += judged(table_of(X, y, 0.01 if known else None)) in (
            "falling", "u_shaped", "inverted_u",
        )  # fmt: skip
    print(f"{alarms} alarms in 150")
    # At 5 % there are 14 or more once in 50 times; bench/trend.py bounds the rate itself.
    assert alarms < 14


def test_the_alarm_count_can_fail() -> None:
    """Negative control: a fall by 10 points is told nearly always."""
    rng = np.random.default_rng(11)
    found = [judged(table_of(X, -0.1 * X / 8 + rng.normal(0, 0.01, 8), 0.01)) for _ in range(60)]
    assert found.count("falling") > 50


def test_turns_are_told_from_falls_and_rises() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.01, 8)
    for sign, name in ((1, "u_shaped"), (-1, "inverted_u")):
        found = trend(ScoreTable(tuple(table_of(X, sign * 0.05 * np.abs(X - 4.5) + noise, 0.01))))
        assert found.verdict == name
        assert found.turn_interval is not None and found.turn is not None
        low, high = found.turn_interval
        assert low <= math.exp(4.5) <= high < 100 * low and low <= found.turn <= high


def test_a_flat_score_is_flat_only_within_its_margin() -> None:
    rows = table_of(np.linspace(0, 8, 12), 0.5 + np.random.default_rng(2).normal(0, 0.005, 12))
    assert judged(rows, margin=0.05) == "flat"
    assert judged(rows, margin=0.001) == "unclear"
    with pytest.raises(UserError, match="margin"):
        judged(rows, margin=0.0)


def test_lower_is_better_turns_the_verdict() -> None:
    rows = table_of(X, 3.0 - 0.2 * X)
    assert judged(rows) == "falling"
    assert judged(rows, higher_is_better=False) == "rising"


def test_families_are_compared_within() -> None:
    """Two families fall; the larger is so much better that across them scores rise."""
    small, large = np.linspace(0, 4, 5), np.linspace(4, 8, 5)
    noise = np.random.default_rng(1).normal(0, 0.002, (2, 5))
    first = table_of(small, 0.3 - 0.03 * small + noise[0], 0.005, "a")
    second = table_of(large, 0.9 - 0.03 * large + noise[1], 0.005, "b")
    assert judged(first + second) == "falling"
    assert (
        judged([ScoreRow(r.run, r.scale, r.value, r.stderr) for r in first + second]) != "falling"
    )


def test_too_few_sizes_are_unclear() -> None:
    found = trend(ScoreTable(tuple(table_of(np.arange(3.0), np.array([0.9, 0.5, 0.1]), 0.001))))
    assert found.verdict == "unclear" and found.p_falling is None and "4 sizes" in found.note
    # A family of one model has nobody to be compared with.
    lonely = [ScoreRow(str(i), 10.0**i, 0.1 * i, None, str(i)) for i in range(6)]
    assert trend(ScoreTable(tuple(lonely))).models == 0
    four = trend(ScoreTable(tuple(table_of(np.arange(4.0), np.array([0.9, 0.7, 0.5, 0.3]), 0.01))))
    assert four.verdict == "falling" and "turn" in four.note


def test_exact_scores_are_finite() -> None:
    for y in (np.full(8, 0.25), 0.1 * X, np.zeros(8)):
        value = trend(ScoreTable(tuple(table_of(X, y)))).to_json()
        assert "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value)
    assert judged(table_of(X, np.full(8, 0.25))) in ("flat", "unclear")


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.floats(0, 1), min_size=9, max_size=9),
    gaps=st.lists(st.floats(0.01, 3), min_size=9, max_size=9),
    families=st.lists(st.integers(0, 2), min_size=9, max_size=9),
)
def test_no_slope_of_a_truth_that_never_falls_is_negative(
    steps: list[float], gaps: list[float], families: list[int]
) -> None:
    x, family = np.cumsum(gaps), np.array(families)
    truth = np.cumsum(steps) - 5.0 * family
    segments = _segments(x, family)
    if len(segments.contrasts):
        assert (segments.contrasts @ truth).min() > -1e-9
        assert np.abs(segments.contrasts @ np.eye(3)[family]).max() < 1e-9


def test_same_seed_same_bytes() -> None:
    rows = ScoreTable(tuple(table_of(X, np.random.default_rng(3).normal(0, 1, 8), 0.5)))
    first, again, other = trend(rows), trend(rows), trend(rows, seed=1)
    assert json.dumps(first.to_json()) == json.dumps(again.to_json())
    assert first.p_falling != other.p_falling


def test_public_tables(shared_data: Path) -> None:
    """HellaSwag rises on Gadre et al.'s ladder; answers to conjunction questions got worse from
    GPT-2 to GPT-2 XL and from ada to davinci (inverse-scaling pipeline)."""
    gadre = {"c4_original": [], "rpj": []}  # type: dict[str, list[ScoreRow]]
    with (shared_data / "scaling" / "gadre_overtraining" / "runs.csv").open() as stream:
        for row in csv.DictReader(stream):
            if row["train_set"] in gadre and float(row["chinchilla_multiplier"]) == 1.0:
                gadre[row["train_set"]].append(
                    ScoreRow(row["run_id"], float(row["C"]), float(row["acc_hellaswag"]))
                )
    for rows in gadre.values():
        assert judged(rows) == "rising"
    sizes = {"gpt2": 124e6, "gpt2-medium": 355e6, "gpt2-large": 774e6, "gpt2-xl": 1.5e9,
             "ada": 350e6, "babbage": 1.3e9, "curie": 6.7e9, "davinci": 175e9}  # fmt: skip
    tasks: dict[str, list[ScoreRow]] = {"conjunction-fallacy-0shot": [], "boolq-0shot": []}
    with (shared_data / "scaling" / "inverse_scaling" / "aggregate.csv").open() as stream:
        for row in csv.DictReader(stream):
            name, _, family = row["experiment"].rpartition("-")
            if name in tasks:
                tasks[name].append(ScoreRow(
                    row["model"], sizes[row["model"]], float(row["mean_correct"]),
                    float(row["sem_correct"]), family,
                ))  # fmt: skip
    assert {name: judged(rows) for name, rows in tasks.items()} == {
        "conjunction-fallacy-0shot": "falling",
        "boolq-0shot": "rising",
    }


def test_public_models_rise_within_families(shared_data: Path) -> None:
    path = shared_data / "scaling" / "obs_scaling" / "base_llm_benchmark_eval.csv"
    columns = {"group": "Model Family", "scale": "Model Size (B)"}
    for metric in ("MMLU", "HellaSwag", "GSM8K"):
        found = trend(read_scores(path, metric, columns))
        assert (found.verdict, found.families > 30) == ("rising", True), metric


def test_command(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    rows = "\n".join(f"m{i},{10 ** (7 + i)},{0.6 - 0.05 * i},0,a" for i in range(6))
    path.write_text("name,params,accuracy,n_wrong,family\n" + rows + "\n")
    done = foresight("trend", path, "--items", "1000", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["verdict"] == "falling" and found["sizes"] == 6 and found["p_falling"] < 0.05
    shown = foresight("trend", path, "--items", "1000", "--lower-is-better")
    assert "rising" in shown.stdout and "accuracy" in shown.stdout
    wrong = foresight("trend", path, "--metric", "score")
    assert wrong.returncode == 2 and "no column 'score'" in wrong.stderr
