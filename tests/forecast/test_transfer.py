"""Loss to loss: recovery, coverage, uncertainty of the first forecast, refusals, public runs."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import Row, RunTable, ScoreRow, ScoreTable, fit, fit_map
from tests.command import foresight


def tables(a: np.ndarray, b: np.ndarray) -> tuple[ScoreTable, ScoreTable]:
    first, second = (
        ScoreTable(tuple(ScoreRow(f"r{i}", 10.0 ** (17 + i / 3), float(v)) for i, v in
                         enumerate(values)), name)
        for name, values in (("a", a), ("b", b))
    )  # fmt: skip
    return first, second


def shifted(a: np.ndarray | float) -> np.ndarray:
    return np.asarray(0.8 + 0.6 * (np.asarray(a) - 1.2) ** 1.3)


A = np.linspace(5.0, 2.6, 14)


def test_a_known_law_is_foretold() -> None:
    noise = np.exp(np.random.default_rng(0).normal(0, 0.002, len(A)))
    found = fit_map(*tables(A, shifted(A) * noise)).predict(2.2)
    truth = float(shifted(2.2))
    low, high = found.intervals[95]
    print(f"{found.point:.4f} [{low:.4f}, {high:.4f}], truth {truth:.4f}")
    assert abs(found.point / truth - 1) < 0.02 and low < truth < high < 1.1 * truth


def test_intervals_cover() -> None:
    """Estimand: share of 40 laws, with one new run each, inside the 80 % interval."""
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        kappa, scale = rng.normal(1.0, 0.2), rng.uniform(0.5, 1.5)
        floors = rng.uniform(0.5, 1.8, 2)
        new = np.append(A[:10], 2.6)
        b = floors[1] + scale * (new - floors[0]) ** kappa
        b = b * np.exp(rng.normal(0, 0.01, len(b)))
        low, high = fit_map(*tables(A[:10], b[:10])).predict(2.6).intervals[80]
        inside += low <= b[-1] <= high
    print(f"{inside} of 40")
    # A right 80 % interval holds 25 to 38 of 40 in 99 of 100 repetitions.
    assert 25 <= inside <= 38


def test_the_first_forecasts_uncertainty_is_passed_on() -> None:
    compute = np.geomspace(1e17, 1e20, 8)
    losses = 2.0 + (compute / 1e17) ** -0.2 + np.random.default_rng(1).normal(0, 0.01, 8)
    forecast = fit(RunTable(tuple(
        Row(f"r{i}", c, loss) for i, (c, loss) in enumerate(zip(compute, losses, strict=True))
    ))).predict(1e21)  # fmt: skip
    assert forecast.point is not None
    mapping = fit_map(*tables(losses, shifted(losses)))
    known, foretold = mapping.predict(forecast.point), mapping.predict(forecast)
    width = [math.log(one.intervals[95][1] / one.intervals[95][0]) for one in (known, foretold)]
    assert width[1] > 1.5 * width[0]
    assert foretold.point == pytest.approx(known.point, rel=0.02)


def test_nonsense_is_refused() -> None:
    good = tables(A, shifted(A))
    with pytest.raises(UserError, match="3 runs with different losses"):
        fit_map(*tables(A[:3], A[:3]))
    with pytest.raises(UserError, match="expected a loss above 0"):
        fit_map(*tables(A, A - 3.0))
    twice = ScoreTable((*good[0].rows, good[0].rows[0]), "a")
    with pytest.raises(UserError, match="twice"):
        fit_map(twice, good[1])
    mapping = fit_map(*good)
    for loss in (0.0, math.nan):
        with pytest.raises(UserError, match="finite number above 0"):
            mapping.predict(loss)
    refused = fit(RunTable((Row("r", 1e18, 3.0),))).predict(1e19)
    with pytest.raises(UserError, match="refused"):
        mapping.predict(refused)


def test_same_table_same_bytes() -> None:
    values = [json.dumps(fit_map(*tables(A, shifted(A))).predict(2.2).to_json()) for _ in range(2)]
    assert values[0] == values[1]


def test_public_runs(shared_data: Path, tmp_path: Path) -> None:
    """C4 loss to the OpenLM loss, from runs of at most a hundredth of the target's compute, and
    the command on the ladder of 20 tokens per parameter."""
    with (shared_data / "scaling" / "gadre_overtraining" / "runs.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["train_set"] == "rpj"]
    ladder = [row for row in rows if float(row["chinchilla_multiplier"]) == 1.0]
    target = max(ladder, key=lambda row: float(row["C"]))
    shown = [row for row in rows if float(row["C"]) < float(target["C"]) / 98]
    first, second = (
        ScoreTable(tuple(ScoreRow(r["run_id"], float(r["C"]), float(r[name])) for r in shown), name)
        for name in ("loss_c4_val", "loss_openlm")
    )
    found = fit_map(first, second).predict(float(target["loss_c4_val"]))
    error = found.point / float(target["loss_openlm"]) - 1
    print(f"{len(shown)} runs, {100 * error:+.2f} %")
    assert abs(error) < 0.03
    path = tmp_path / "runs.csv"
    text = "run,C,c4,openlm\n" + "\n".join(
        f"{r['run_id']},{r['C']},{r['loss_c4_val']},{r['loss_openlm']}" for r in ladder
    )
    path.write_text(text + "\n")
    done = foresight("map", path, "--from", "c4", "--to", "openlm", "--at", "1e22", "--json")
    assert done.returncode == 0, done.stderr
    (at,) = json.loads(done.stdout)["at"]
    assert at["to"]["intervals"]["95"][0] < at["to"]["point"] < at["to"]["intervals"]["95"][1]
    # Less than twice the compute of the largest run, so a little below its loss.
    assert 0.88 < at["to"]["point"] / float(target["loss_openlm"]) < 1.0
    refused = foresight("map", path, "--from", "c4", "--to", "openlm", "--at", "1e27")
    assert refused.returncode == 3
