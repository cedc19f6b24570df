"""L(N, D): known surfaces, the public over-trained ladder, and targets off the frontier."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import PlannedRun, Row, RunTable, answer, fit_surface, frontier
from foresight.forecast.surface import can_fit


def loss(n: float, d: float) -> float:
    return float(1.7 + 400 * n**-0.34 + 400 * d**-0.28)


def grid(noise: float = 0.002, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [
        Row(f"{n:.0e}/{m:g}", 6 * n * n * m, loss(n, n * m) * math.exp(noise * rng.normal()),
            n, n * m)
        for n in np.geomspace(1e7, 1e9, 6) for m in (5.0, 20.0, 80.0, 320.0)
    ]  # fmt: skip


def test_a_known_surface_is_recovered() -> None:
    rows = grid()
    found = fit_surface(rows, frontier(rows))
    for n, d in ((3e9, 6e10), (3e9, 2e12), (1e9, 2e10)):
        predicted = float(found.weights @ found.log_loss(np.array([n]), np.array([d]))[:, 0])
        assert predicted == pytest.approx(math.log(loss(n, d)), abs=0.01)
    shown = found.to_json()
    assert shown["alpha"] == pytest.approx(0.34, rel=0.35)
    assert shown["E"] == pytest.approx(1.7, rel=0.1)


def test_excess_is_zero_at_the_best_size_and_grows_away_from_it() -> None:
    rows = grid()
    found = fit_surface(rows, frontier(rows))
    compute = 6 * 3e9 * 6e10
    sizes = np.geomspace(1e8, 1e11, 400)
    best = min(loss(n, compute / (6 * n)) for n in sizes)
    for n in (3e8, 3e9, 3e10):
        mean, sd = found.excess(n, compute / (6 * n))
        truth = math.log(loss(n, compute / (6 * n)) / best)
        assert mean == pytest.approx(truth, abs=max(0.004, 3 * sd))


def test_an_over_trained_target_is_forecast_above_the_frontier() -> None:
    table = RunTable(tuple(grid()))
    planned = PlannedRun(5e8, 5e8 * 2000)
    plain = answer(table, [planned.compute_flops])
    found = answer(table, [], planned)
    assert found.planned is not None and found.planned.excess is not None
    point, efficient = found.forecasts[-1].point, plain.forecasts[0].point
    truth = loss(planned.params, planned.tokens)
    assert point is not None and efficient is not None
    assert abs(math.log(point / truth)) < 0.5 * abs(math.log(efficient / truth))
    assert found.to_json()["at"][0]["planned"]["tokens"] == planned.tokens
    wide, narrow = found.forecasts[-1].intervals, plain.forecasts[0].intervals
    assert wide is not None and narrow is not None
    assert math.log(wide[95][1] / wide[95][0]) > math.log(narrow[95][1] / narrow[95][0])


def test_a_ladder_is_taken_to_continue() -> None:
    ladder = [row for row in grid() if row.run.endswith("/20")]
    found = answer(RunTable(tuple(ladder)), [], PlannedRun(1e10, 2e11))
    assert found.planned is not None and found.planned.excess is None


def test_too_few_or_alike_runs_are_refused() -> None:
    rows = grid()
    assert not can_fit(rows[:7])
    alike = [Row(row.run, row.compute_flops, row.loss, 1e8, row.tokens) for row in rows]
    assert not can_fit(alike)
    with pytest.raises(UserError, match="8 runs with params and tokens"):
        fit_surface(rows[:7], frontier(rows))


def test_public_over_trained_runs(shared_data: Path) -> None:
    """Gadre et al., RedPajama: the 1.4B run at 32 times its efficient tokens, from smaller ones."""
    with (shared_data / "scaling" / "gadre_overtraining" / "runs.csv").open() as stream:
        runs = [run for run in csv.DictReader(stream) if run["train_set"] == "rpj"]
    rows = [
        Row(run["run_id"], float(run["C"]), float(run["loss_c4_val"]), float(run["N"]),
            float(run["D"]))
        for run in runs
    ]  # fmt: skip
    target = next(row for row in rows if 1.4e9 < (row.params or 0) < 1.5e9
                  and (row.tokens or 0) > 5e11)  # fmt: skip
    table = RunTable(tuple(row for row in rows if row.compute_flops < target.compute_flops / 5))
    found = answer(table, [], PlannedRun(target.params or 0, target.tokens or 0)).forecasts[-1]
    plain = answer(table, [target.compute_flops]).forecasts[0]
    assert found.point is not None and plain.point is not None and found.intervals is not None
    print(f"observed {target.loss:.3f}, frontier {plain.point:.3f}, with L(N, D) "
          f"{found.point:.3f} {found.intervals[95]}")  # fmt: skip
    assert abs(math.log(found.point / target.loss)) < abs(math.log(plain.point / target.loss))
    assert found.intervals[95][0] <= target.loss <= found.intervals[95][1]
