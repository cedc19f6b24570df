"""Capability forecasts: intervals, verdicts, JSON, the command."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.capability import coverage, simulate
from foresight.errors import UserError
from foresight.forecast.capability import (
    CapabilityAnswer,
    CapabilityCode,
    capability,
    fit_capability,
)
from foresight.forecast.capability_backtest import HiddenRung
from foresight.forecast.counts import Counts
from tests.command import foresight

Codes = set[CapabilityCode]


@pytest.fixture(scope="module")
def counts() -> Counts:
    return simulate("law", 3, problems=30, models=5).counts


@pytest.fixture(scope="module")
def answered(counts: Counts) -> CapabilityAnswer:
    return capability(counts, (1e22, 1e23), buckets=3, k=5, samples=7)


def _changed(counts: Counts, passes: np.ndarray, **others: object) -> Counts:
    return replace(counts, passes=passes, **others)  # type: ignore[arg-type]


def test_every_group_and_problem_has_nested_intervals(
    counts: Counts, answered: CapabilityAnswer
) -> None:
    for forecast in answered.forecasts:
        names = [group.name for group in forecast.groups]
        assert names[:4] == ["all", "bucket 1", "bucket 2", "bucket 3"]
        assert sum(group.problems for group in forecast.groups[1:]) == len(counts.problems)
        assert [one.name for one in forecast.by_problem] == list(counts.problems)
        for one in (*forecast.groups, *forecast.by_problem):
            for estimate in (one.mean_log_pass_rate, one.pass_rate, one.pass_at, one.observed):
                ends = [estimate.intervals[level] for level in (95, 80, 50)]
                lows, highs = zip(*ends, strict=True)
                assert list(lows) == sorted(lows) and list(highs) == sorted(highs, reverse=True)
                assert lows[-1] <= estimate.point <= highs[-1]
            assert one.mean_log_pass_rate.intervals[95][1] <= 0
            assert 0 <= one.pass_rate.point <= one.pass_at.point <= 1
            # Jensen: the log of the mean is above the mean of the log.
            assert math.exp(one.mean_log_pass_rate.point) <= one.pass_rate.point + 1e-9


def test_seen_rates_are_wider_than_true_ones(answered: CapabilityAnswer) -> None:
    """Seven samples of a problem add binomial noise to what is expected of it."""
    singles = answered.forecasts[0].by_problem
    wider = [
        np.diff(one.observed.intervals[80])[0] >= np.diff(one.pass_rate.intervals[80])[0] - 1e-9
        for one in singles
    ]
    assert np.mean(wider) > 0.9


def test_easier_buckets_pass_more(answered: CapabilityAnswer) -> None:
    rates = [group.pass_rate.point for group in answered.forecasts[0].groups[1:4]]
    assert rates == sorted(rates, reverse=True)
    levels = [law.level.point for law in answered.fitted.laws()[1:4]]
    assert levels == sorted(levels)
    assert all(0 < law.exponent.point < 1 for law in answered.fitted.laws())


def test_coverage_on_known_truth() -> None:
    """A small version of `bench/capability.py`: single problems of 4 suites, 240 values."""
    found, refused = coverage("law", 4, first=300)
    assert not refused
    table = found["single problem: log pass rate"]
    assert table["n"] == 240
    for level, slack in ((50, 18), (80, 14), (95, 8)):
        assert abs(table[str(level)] - level) < slack, table


def test_the_same_counts_give_the_same_bytes(counts: Counts, answered: CapabilityAnswer) -> None:
    again = capability(counts, (1e22, 1e23), buckets=3, k=5, samples=7)
    one, other = (json.dumps(found.to_json(), sort_keys=True) for found in (answered, again))
    assert one == other
    dealt = fit_capability(counts, 3, seed=1).buckets
    assert (dealt.samples == answered.fitted.buckets.samples).all()  # even numbers halve
    assert (dealt.passes != answered.fitted.buckets.passes).any()
    assert math.isfinite(sum(p["pass_rate"]["point"] for p in json.loads(one)["at"][0]["groups"]))


def _reasons(counts: Counts, at: float = 1e22) -> tuple[str, Codes]:
    found = capability(counts, (at,), buckets=1)
    codes = {code for one in found.forecasts for code in one.reasons}
    assert found.refused == (not found.forecasts[0].groups)
    assert found.refused == ("at" not in found.to_json())
    return found.verdict, codes


def test_what_cannot_carry_a_forecast_is_refused(counts: Counts) -> None:
    zero = np.zeros_like(counts.passes)
    assert _reasons(_changed(counts, zero)) == ("refused", {CapabilityCode.NO_PASSES})
    assert _reasons(counts.take_models(slice(2, 5))) == (
        "refused",
        {CapabilityCode.TOO_FEW_MODELS},
    )
    assert _reasons(_changed(counts, counts.samples)) == (
        "refused",
        {CapabilityCode.NO_FAILURES},
    )
    near = replace(counts, compute=counts.compute[0] * np.geomspace(1, 20, 5))
    assert _reasons(near, 1e20) == ("refused", {CapabilityCode.SHORT_RANGE})
    few = replace(
        counts, problems=counts.problems[:9], passes=counts.passes[:9], samples=counts.samples[:9],
        assign_passes=zero[:9], assign_samples=zero[:9],
    )  # fmt: skip
    assert _reasons(few) == ("refused", {CapabilityCode.TOO_FEW_PROBLEMS})


def test_falling_pass_rates_are_refused(counts: Counts) -> None:
    verdict, codes = _reasons(_changed(counts, counts.passes[:, ::-1].copy()))
    assert verdict == "refused" and CapabilityCode.FALLS_WITH_COMPUTE in codes


def test_a_far_target_is_refused_and_a_near_one_is_not(answered: CapabilityAnswer) -> None:
    fitted = answered.fitted
    assert fitted.predict(1e21 * 2e4).verdict == "refused"
    assert CapabilityCode.RATIO_TOO_LARGE in fitted.predict(1e21 * 2e4).reasons
    assert fitted.predict(2e21).verdict != "refused"
    with pytest.raises(UserError, match="target compute"):
        fitted.predict(math.nan)
    with pytest.raises(UserError, match="k = 0"):
        fitted.predict(1e22, k=0)


def test_a_largest_model_off_the_law_is_noticed(counts: Counts, answered: CapabilityAnswer) -> None:
    """Negative control: the same counts with the largest model as good as the smallest."""
    off = counts.passes.copy()
    off[:, -1] = off[:, 0]
    assert CapabilityCode.BACKTEST_MISSES in fit_capability(_changed(counts, off), 1).reasons
    assert CapabilityCode.BACKTEST_MISSES not in answered.fitted.reasons


def test_rough_intervals_are_owned_up_to(
    counts: Counts, monkeypatch: pytest.MonkeyPatch, answered: CapabilityAnswer
) -> None:
    """The guard on effective draws, and that ordinary counts do not set it off."""
    assert CapabilityCode.ROUGH_INTERVALS not in answered.fitted.reasons
    # By its key: the package's attribute of that name is the function.
    monkeypatch.setattr(sys.modules["foresight.forecast.capability"], "ENOUGH", 1e9)
    verdict, codes = _reasons(counts)
    assert verdict == "wide" and CapabilityCode.ROUGH_INTERVALS in codes


def test_extreme_counts_are_survived(counts: Counts) -> None:
    """One pass, one failure, one solved problem, a step from nothing to all."""
    none, tried = np.zeros((12, 4), dtype=np.int64), np.full((12, 4), 10)
    one_pass, one_solved, step = none.copy(), none.copy(), none.copy()
    one_pass[3, 3], one_solved[0], step[:, 2:] = 1, 10, 10
    small = replace(
        counts.take_models(slice(0, 4)), problems=tuple("abcdefghijkl"),
        compute=10.0 ** np.arange(18, 22), samples=tried, assign_passes=none, assign_samples=none,
    )  # fmt: skip
    for passes in (one_pass, tried - one_pass, one_solved, step):
        found = capability(replace(small, passes=passes), (1e22,), buckets=1)
        rate = found.forecasts[0].groups[0].pass_rate
        assert 0 <= rate.intervals[95][0] <= rate.intervals[95][1] <= 1
        assert found.fitted.posterior is not None and found.fitted.posterior.effective > 10


def test_few_samples_are_wide(counts: Counts) -> None:
    rng = np.random.default_rng(0)
    passes = rng.binomial(1, counts.passes / counts.samples)
    thin = _changed(counts, passes, samples=np.ones_like(passes))
    verdict, codes = _reasons(thin, 1e24)
    assert verdict == "wide" and CapabilityCode.WIDE_INTERVAL in codes


def _write(counts: Counts, path: Path) -> Path:
    rows = ["task_id,flops,correct,n"]
    for i, problem in enumerate(counts.problems):
        for m, compute in enumerate(counts.compute):
            rows.append(f"{problem},{compute:.6e},{counts.passes[i, m]},{counts.samples[i, m]}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_command(counts: Counts, tmp_path: Path) -> None:
    path = _write(counts, tmp_path / "counts.csv")
    done = foresight("capability", path, "--at", "1e22", "--pass-at", 5, "--buckets", 3, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["at"][0]["k"] == 5 and len(found["at"][0]["by_problem"]) == 30
    assert found["verdict"] in ("forecast", "wide")
    shown = foresight("capability", path, "--at", "1e22", "--buckets", 3)
    assert shown.returncode == 0 and "bucket 3" in shown.stdout and "pass@1" in shown.stdout
    refused = foresight("capability", _write(counts.take_models(slice(2, 5)), path), "--at", "1e22")
    assert refused.returncode == 3 and "too_few_models" in refused.stdout
    path.write_text("task_id,flops,correct,n\na,1e18,5,4\n")
    wrong = foresight("capability", path, "--at", "1e22")
    assert wrong.returncode == 2 and "row 1, field passes" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_back_tests_that_miss_widen_what_lies_beyond_the_ladder(answered: CapabilityAnswer) -> None:
    top = float(answered.fitted.counts.compute[-1])

    def width(z: float, compute: float) -> float:
        hidden = (HiddenRung(top, 1, 2.0, (z, z, z)),)
        groups = replace(answered.fitted, hidden=hidden).predict(compute, by_problem=False).groups
        low, high = groups[0].mean_log_pass_rate.intervals[95]
        return high - low

    assert width(9.0, 10 * top) > 1.5 * width(0.5, 10 * top)
    assert width(9.0, top) == width(0.5, top)
