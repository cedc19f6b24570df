from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast import Code, Forecast, PowerLaw, Row, RunTable, fit
from foresight.forecast.backtest import (
    DRIFT_SCALE,
    DRIFTS,
    Backtest,
    Residual,
    Scored,
    drift_posterior,
    fit_stack,
    widening,
)
from foresight.forecast.rungs import gather
from foresight.runs import canonical_json

Make = Callable[[list[float], list[float]], RunTable]
TOP = 1e12
LAW = PowerLaw(1.5 * TOP**0.2, 0.2, 1.8)
COMPUTE = [float(c) for c in np.geomspace(TOP / 100, TOP, 5)]
SCATTER = (0.001, -0.002, 0.0, 0.001, -0.001)
LOSS = [float(LAW(c)) * (1 + e) for c, e in zip(COMPUTE, SCATTER, strict=True)]
# The two tiny ladders of issue 2's probe, where the log-log slope does not settle.
TWO_LAYERS = ([5.2e9, 1.5e10, 3.2e10, 1e11, 2.4e11], [4.418, 4.131, 3.958, 3.739, 3.603])
FOUR_LAYERS = ([2.6e10, 1.8e11, 6.2e11, 1.5e12], [4.304, 3.827, 3.587, 3.402])


def test_clean_ladder_is_forecast_well(make_table: Make) -> None:
    forecast = fit(make_table(COMPUTE, LOSS)).predict(10 * TOP)
    assert forecast.verdict == "forecast"
    assert forecast.point == pytest.approx(float(LAW(10 * TOP)), rel=0.015)
    assert Code.NOT_CALIBRATED in forecast.reasons and not forecast.calibrated
    assert sum(law.weight for law in forecast.laws) == pytest.approx(1.0)
    assert forecast.extrapolation_ratio == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("ladder", "at", "observed"),
    [
        (TWO_LAYERS, 8.8e11, 3.363),
        (FOUR_LAYERS, 6.0e12, 3.105),
    ],
)
def test_steepening_ladders_of_the_probe_stay_inside(
    make_table: Make, ladder: tuple[list[float], list[float]], at: float, observed: float
) -> None:
    forecast = fit(make_table(*ladder)).predict(at)
    assert forecast.intervals is not None
    low, high = forecast.intervals[95]
    assert low <= observed <= high
    assert math.log(high / low) / 2 < 0.08  # an interval that holds anything would be no feat


def test_steepening_is_reported_and_covered(make_table: Make) -> None:
    compute = [float(c) for c in np.geomspace(1e10, 1e13, 8)]

    def loss(c: float) -> float:  # slope grows from 0.04 by 0.01 per e-fold
        x = math.log(c / 1e10)
        return 5.0 * math.exp(-0.04 * x - 0.005 * x * x)

    forecast = fit(make_table(compute, [loss(c) for c in compute])).predict(3e13)
    assert Code.STEEPENING in forecast.reasons and forecast.verdict == "wide"
    assert forecast.intervals is not None
    low, high = forecast.intervals[95]
    assert low <= loss(3e13) <= high


def test_intervals_grow_with_the_ratio(make_table: Make) -> None:
    fitted = fit(make_table(COMPUTE, LOSS))
    widths = []
    for ratio in (1, 3, 10, 100, 1000):
        forecast = fitted.predict(TOP * ratio)
        assert forecast.intervals is not None
        widths.append(math.log(forecast.intervals[95][1] / forecast.intervals[95][0]))
    assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("compute", "loss", "at", "code"),
    [
        (COMPUTE[2:], LOSS[2:], 1e13, Code.TOO_FEW_RUNGS),
        (COMPUTE[3:], LOSS[3:], 1e13, Code.TOO_FEW_RUNGS),
        ([1e11, 2e11, 4e11, 1e12], [3.9, 3.7, 3.5, 3.3], 1e13, Code.SHORT_RANGE),
        (COMPUTE, [5.0, 4.0, 4.2, 3.6, 3.4], 1e13, Code.NON_MONOTONE),
        (COMPUTE, LOSS, 2e16, Code.RATIO_TOO_LARGE),
    ],
)
def test_refusals(
    make_table: Make, compute: list[float], loss: list[float], at: float, code: Code
) -> None:
    fitted = fit(make_table(compute, loss))
    forecast = fitted.predict(at)
    assert forecast.verdict == "refused" and code in forecast.reasons
    assert forecast.point is None and forecast.intervals is None
    assert code.text in json.dumps(forecast.to_json())
    if len(compute) >= 3:
        forced = fitted.predict(at, force=True)
        assert forced.verdict == "refused" and forced.point is not None
    else:
        with pytest.raises(UserError, match="at least 3"):
            fitted.predict(at, force=True)


def test_mixed_shapes_are_refused() -> None:
    rows = [
        Row(f"{i}", c, v, params=100) for i, (c, v) in enumerate(zip(COMPUTE, LOSS, strict=True))
    ]
    rows.append(Row("other", COMPUTE[0], LOSS[0] * 1.3, params=1000))
    assert Code.MIXED_SHAPES in fit(RunTable(tuple(rows))).predict(1e13).reasons


def test_wide_when_extrapolated_far(make_table: Make) -> None:
    forecast = fit(make_table(COMPUTE, LOSS)).predict(5e15)
    assert forecast.verdict == "wide" and Code.WIDE_INTERVAL in forecast.reasons
    assert forecast.point is not None


def test_bad_targets_and_groups(make_table: Make) -> None:
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match="above 0"):
            fit(make_table(COMPUTE, LOSS)).predict(bad)
    rows = tuple(Row(f"{i}", c, 3.0, group="ab"[i % 2]) for i, c in enumerate(COMPUTE))
    with pytest.raises(UserError, match="mixes groups"):
        fit(RunTable(rows))
    assert len(RunTable(rows).where("a").rows) == 3
    with pytest.raises(UserError, match="not in the table"):
        RunTable(rows).where("c")


def test_ineligible_and_target_rows_are_not_seen(make_table: Make) -> None:
    rows = make_table(COMPUTE, LOSS).rows
    extra = (Row("bad", 5e11, 9.0, eligible=False), Row("target", 1e13, 9.0, target=True))
    with_extra = fit(RunTable((*rows, *extra))).predict(1e13)
    assert with_extra == fit(RunTable(rows)).predict(1e13)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    units_compute=st.floats(1e-6, 1e12),
    units_loss=st.floats(0.1, 10.0),
    order=st.randoms(use_true_random=False),
    b=st.floats(0.05, 0.3),
    share=st.floats(0.1, 0.9),
)
def test_only_units_change_with_units(
    units_compute: float, units_loss: float, order: random.Random, b: float, share: float
) -> None:
    rows = [
        Row(f"{i}", c, 3 * ((1 - share) * (c / TOP) ** -b + share)) for i, c in enumerate(COMPUTE)
    ]
    plain = fit(RunTable(tuple(rows))).predict(30 * TOP, force=True)
    scaled = [Row(r.run, r.compute_flops * units_compute, r.loss * units_loss) for r in rows]
    order.shuffle(scaled)
    other = fit(RunTable(tuple(scaled))).predict(30 * TOP * units_compute, force=True)
    assert plain.intervals is not None and other.intervals is not None
    assert plain.point is not None and other.point is not None
    assert other.point == pytest.approx(plain.point * units_loss, rel=1e-3)
    for level, pair in plain.intervals.items():
        scaled_pair = tuple(value * units_loss for value in pair)
        assert other.intervals[level] == pytest.approx(scaled_pair, rel=2e-3)
    (low95, high95), (low80, high80), (low50, high50) = (plain.intervals[k] for k in (95, 80, 50))
    assert low95 < low80 < low50 < plain.point < high50 < high80 < high95


def test_same_table_same_bytes(make_table: Make) -> None:
    rows = make_table(COMPUTE, LOSS).rows
    first = canonical_json(fit(RunTable(rows)).predict(1e13).to_json())
    again = canonical_json(fit(RunTable(rows[::-1])).predict(1e13).to_json())
    assert first == again
    assert json.loads(first)["reasons"][0]["code"] == "not_calibrated"


def test_a_forecast_comes_back_from_its_json(make_table: Make) -> None:
    for table, compute in ((make_table(COMPUTE, LOSS), 10 * TOP), (make_table([1e9], [3.0]), 1e10)):
        value = fit(table).predict(compute).to_json()
        assert Forecast.from_json(json.loads(json.dumps(value))).to_json() == value


def test_backtest_rows_hide_every_top_rung(make_table: Make) -> None:
    rows = fit(make_table(COMPUTE, LOSS)).backtest_rows()
    assert [(row["rungs"], round(row["ratio"], 1)) for row in rows] == [(3, 3.2), (3, 10), (4, 3.2)]
    assert all(abs(row["predicted"] / row["observed"] - 1) < 0.03 for row in rows)
    json.dumps(rows)


def residual(cut: int, hidden: int, error: float = 0.0) -> Residual:
    return Residual(cut, hidden, 1.0, 1.0, error, 0.0, 0.001)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (LAW, "floor"),
        (PowerLaw(1.5 * (2 * TOP) ** 0.15, 0.15, 1.6, TOP / 10), "offset"),
        (PowerLaw(1.5 * TOP**0.15, 0.15, 1.8, 0.0, TOP / 3000, 1.2), "fading"),
    ],
)
def test_stack_follows_the_law_that_forecasts(
    make_table: Make, law: PowerLaw, expected: str
) -> None:
    compute = [float(c) for c in np.geomspace(TOP / 1000, TOP, 12)]
    rows = make_table(compute, [float(law(c)) for c in compute]).rows
    stack = fit_stack(gather(rows))
    weights = {one.form.name: w for one, w in zip(stack.posteriors, stack.weights, strict=True)}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert max(weights, key=lambda name: weights[name]) == expected
    assert weights["pure"] < 1e-3


def test_drift_grows_with_misses_and_counts_a_cut_once() -> None:
    def mean(residuals: list[Residual]) -> float:
        return float(drift_posterior(residuals) @ DRIFTS)

    misses = [residual(cut, cut, 0.03) for cut in (3, 4, 5)]
    assert mean([residual(3, 3)]) < mean([]) < mean(misses)
    assert mean(misses) > 2 * DRIFT_SCALE
    assert mean([misses[0]] * 5) == pytest.approx(mean([misses[0]]))


def test_calibration_needs_residuals_at_the_ratio() -> None:
    scored = tuple(Scored(residual(3 + i % 4, 9), z=0.3 * i) for i in range(12))
    backtest = Backtest(scored, drift_posterior([]))
    assert widening(backtest, 1.5) == pytest.approx(3.0 / 1.2816)
    assert widening(backtest, 5.0) is None
    assert widening(Backtest(scored[:5], drift_posterior([])), 1.0) is None


def test_forecast_imports_without_torch_in_half_a_second_of_cpu() -> None:
    code = (
        "import sys, time; start = time.process_time(); import foresight.forecast; "
        "took = time.process_time() - start; "
        "assert not {'torch', 'pandas', 'scipy', 'pyarrow'} & set(sys.modules), 'heavy import'; "
        "print(took)"
    )
    start = time.perf_counter()
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
        for _ in range(2)
    ]
    assert min(seconds) < 0.5, f"{seconds} (both in {time.perf_counter() - start:.1f} s)"
