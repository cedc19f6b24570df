"""Designs of ladders: what the screen and the search must obey, and the answer object."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast import PowerLaw, Row, RunTable, answer, fit, plan_ladder, planning
from foresight.forecast.law import PURE
from foresight.forecast.planning import MAX_STEP, MIN_STEP, _Search
from foresight.forecast.priors import LEARNED
from foresight.forecast.prospect import NOTHING, Design, Prospect, half_width95, width_of
from foresight.forecast.reasons import MIN_DECADES, MIN_ELIGIBLE_RUNGS
from foresight.forecast.rungs import gather
from tests.command import foresight

TARGET = 1e22
LAW = PowerLaw(1.5 * 1e18**0.2, 0.2, 1.8)


def pilot(rungs: int = 5) -> RunTable:
    rng = np.random.default_rng(0)
    return RunTable(
        tuple(
            Row(f"r{i}", float(c), float(LAW(c)) * math.exp(0.002 * rng.standard_normal()))
            for i, c in enumerate(np.geomspace(1e17, 1e19, rungs))
        )
    )


@pytest.fixture(scope="module")
def before() -> Prospect:
    return Prospect.of_priors(1e17, 1e20, TARGET)


@pytest.fixture(scope="module")
def after_pilot() -> Prospect:
    return Prospect.of_runs(fit(pilot()), TARGET)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two simulated ladders per design instead of eight: the tests look at structure."""
    monkeypatch.setattr(planning, "TRUTHS", 2)
    monkeypatch.setattr(planning, "HEATS", 2)
    monkeypatch.setattr(planning, "CONTENDERS", 2)
    monkeypatch.setattr(planning, "FACTORS", (1.0, 2.0))


def even(low: float, high: float, rungs: int, seeds: int = 1) -> Design:
    return Design(tuple(float(c) for c in np.geomspace(low, high, rungs)), (seeds,) * rungs)


def test_priors_know_nothing_of_the_level_and_something_of_the_slope(before: Prospect) -> None:
    posteriors = before.stack.posteriors
    assert all(np.all(posterior.level == 0) for posterior in posteriors)
    pure = next(posterior for posterior in posteriors if posterior.form is PURE)
    fall = pure.mean_log_loss(math.log(1e17)) - pure.mean_log_loss(math.log(1e20))
    exponents = fall / math.log(1e3)
    assert np.median(exponents) == pytest.approx(LEARNED.free_exponent_median, rel=0.1)
    assert np.log(exponents).std() == pytest.approx(LEARNED.free_exponent_sd_log, rel=0.15)


@pytest.mark.parametrize("which", ["before", "after_pilot"])
def test_more_is_never_screened_as_less(which: str, request: pytest.FixtureRequest) -> None:
    """A nearer top rung, more rungs, more seeds: each narrows, or at worst does nothing."""
    prospect: Prospect = request.getfixturevalue(which)
    plain = prospect.screen(even(2e17, 5e19, 5))
    assert prospect.screen(even(2e17, 5e20, 5)) < 0.9 * plain
    assert prospect.screen(even(2e17, 5e19, 10)) < plain
    assert prospect.screen(even(2e17, 5e19, 5, seeds=4)) < 1.02 * plain
    if prospect.fitted is not None:
        assert prospect.screen(NOTHING) > plain


def test_a_noisier_recipe_is_screened_as_wider(after_pilot: Prospect) -> None:
    rng = np.random.default_rng(1)
    rough = [
        Row(row.run, row.compute_flops, row.loss * math.exp(0.02 * rng.standard_normal()))
        for row in pilot().rows
    ]
    noisy = Prospect.of_runs(fit(RunTable(tuple(rough))), TARGET)
    design = even(3e19, 1e20, 2)
    assert noisy.screen(design) > 1.3 * after_pilot.screen(design)


def test_a_simulated_ladder_is_the_same_each_time_and_differs_between_truths(
    after_pilot: Prospect,
) -> None:
    design = even(3e19, 1e20, 2)
    first = after_pilot.simulate(design, 0)
    assert after_pilot.simulate(design, 0) == first
    assert after_pilot.simulate(design, 1) != first


def test_every_truth_is_simulated_once() -> None:
    assert sorted(planning.TRUTH_ORDER) == list(range(planning.TRUTHS))


def test_truths_spread_over_what_is_thought_possible(before: Prospect) -> None:
    losses, jitter = before.log_losses(np.log([TARGET / 100, TARGET]))
    fall = losses[:, 0] - losses[:, 1]
    chosen = [before._truth(number) for number in range(400)]
    assert len(set(chosen)) > 350 and (jitter > 0).all()
    for share in (0.1, 0.5, 0.9):
        below = np.mean(fall[chosen] <= np.quantile(fall, share))
        assert below == pytest.approx(share, abs=0.05)


def test_runs_at_a_rung_there_is_share_what_made_it_odd(after_pilot: Prospect) -> None:
    """A rung 5 % above the law, seeds of 0.1 %: the next run there is nearly as odd."""
    rungs = gather(pilot().rows)
    rng = np.random.default_rng(0)
    x, mean = float(rungs.x[2]), float(rungs.y[2]) - 0.05
    again = [after_pilot._common(x, mean, 0.01, rng) for _ in range(200)]
    away = [after_pilot._common(x + 0.5, mean, 0.01, rng) for _ in range(200)]
    assert np.mean(again) == pytest.approx(0.05, rel=0.05) and np.std(again) < 0.002
    assert abs(np.mean(away)) < 0.003 and np.std(away) == pytest.approx(0.01, rel=0.2)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    budget=st.floats(18.5, 21.0).map(lambda e: 10**e),
    low=st.floats(15.5, 17.0).map(lambda e: 10**e),
)
def test_designs_keep_to_budget_and_bounds(before: Prospect, budget: float, low: float) -> None:
    search = _Search(before, low)
    found = search.best(budget)
    assert found
    for design in found:
        steps = np.diff(design.x)
        assert 0.95 * budget < design.cost_flops <= budget * (1 + 1e-6)
        assert design.compute_flops[0] >= low * (1 - 1e-6)
        assert design.compute_flops[-1] < TARGET
        assert len(design.seeds) >= MIN_ELIGIBLE_RUNGS
        assert design.x[-1] - design.x[0] >= MIN_DECADES * math.log(10) - 1e-6
        assert math.log(MIN_STEP) - 1e-6 < steps.min() <= steps.max() < math.log(MAX_STEP) + 1e-6
    screens = [search.prospect.screen(design) for design in found]
    assert screens == sorted(screens)
    equal = search.equal(budget)
    assert equal is not None and screens[0] <= search.prospect.screen(equal) * 1.001


def test_the_plan_from_runs(quick: None) -> None:
    rows = tuple(replace(row, params=0.1 * row.compute_flops**0.5) for row in pilot(4).rows)
    found = answer(RunTable(rows))
    fitted = found.fitted
    seen: list[tuple[int, int]] = []
    plan = plan_ladder(1e20, TARGET, fitted=fitted, watch=lambda *at: seen.append(at))
    assert plan.now == half_width95(fitted, TARGET) and plan.basis == "runs"
    widths = [one.width.half_width95 for one in plan.designs]
    assert widths == sorted(widths) and widths[0] < plan.now
    assert widths[0] <= plan.equal.width.half_width95
    assert [budget for budget, _ in plan.curve] == [1e20, 2e20]
    assert plan.one_more is not None
    totals = [one.log_gain for one in plan.one_more.candidates]
    best = plan.one_more.best
    assert max(totals) == totals[[c.compute_flops for c in plan.one_more.candidates].index(
        best.design.compute_flops[0])]  # fmt: skip
    assert best.width.half_width95 < plan.now
    assert all(done <= total for done, total in seen) and seen[-1][0] == seen[-1][1]
    value = plan.to_json(found.recommended)
    assert json.loads(json.dumps(value)) == value
    for rung in value["designs"][0]["rungs"]:
        assert rung["params"] == pytest.approx(0.1 * rung["compute_flops"] ** 0.5, rel=1e-6)
        assert 6 * rung["params"] * rung["tokens"] == pytest.approx(rung["compute_flops"])
    assert "params" not in plan.to_json()["designs"][0]["rungs"][0]


def test_the_command_refuses() -> None:
    wrong = foresight("design", "--budget", 1e22, "--target", 1e22, "--json")
    assert wrong.returncode == 2 and "pays for the target" in wrong.stderr and not wrong.stdout


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"budget_flops": 0.0}, "--budget 0.0: expected a finite"),
        ({"target_flops": math.nan}, "--target nan: expected a finite"),
        ({"target_flops": 1e19}, "it pays for the target"),
        ({"min_compute_flops": 2e20}, "--min-compute 2e.20: expected less than the budget"),
        ({"min_compute_flops": 1e12}, "more than 8 decades below the target"),
        ({"min_compute_flops": 6e19}, "no ladder from 6e.19 FLOPs"),
    ],
)
def test_what_cannot_be_planned_is_said(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_ladder(**({"budget_flops": 1e20, "target_flops": TARGET} | numbers))  # type: ignore[arg-type]


def test_too_few_runs_are_not_planned_from() -> None:
    with pytest.raises(UserError, match="fewer than 3 eligible rungs"):
        plan_ladder(1e20, TARGET, fitted=fit(pilot(2)))


def test_the_mean_width_is_geometric() -> None:
    width = width_of([math.log(0.01), math.log(0.04)])
    assert width.half_width95 == pytest.approx(0.02)
    assert width.standard_error == pytest.approx(math.log(2), rel=1e-6)
