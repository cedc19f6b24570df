"""Joint fits of groups: what the others know of the floor narrows and corrects a short ladder."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import PowerLaw, Row, RunTable, answer, answer_jointly
from foresight.forecast.pooling import pooled_priors
from foresight.forecast.priors import LEARNED
from foresight.forecast.rungs import gather

TOP = 1e20


def ladder(group: str, level: float, decades: float, rungs: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    law = PowerLaw(0.6 * TOP**0.2, 0.2, 1.9)
    return [
        Row(f"{group}{i}", float(c), level * float(law(c)) * math.exp(0.001 * rng.normal()),
            group=group)
        for i, c in enumerate(np.geomspace(TOP / 10**decades, TOP, rungs))
    ]  # fmt: skip


def half_width(found: dict[int, tuple[float, float]] | None) -> float:
    assert found is not None
    return math.log(found[95][1] / found[95][0]) / 2


def test_long_ladders_narrow_a_short_one_of_another_level() -> None:
    long = [*ladder("a", 1.0, 4.5, 12, 1), *ladder("b", 1.1, 4.5, 12, 2)]
    short = ladder("c", 0.8, 1.6, 4, 3)
    joint = answer_jointly(RunTable((*long, *short)), [100 * TOP]).answers["c"].forecasts[0]
    alone = answer(RunTable(tuple(short)), [100 * TOP]).forecasts[0]
    truth = 0.8 * float(PowerLaw(0.6 * TOP**0.2, 0.2, 1.9)(100 * TOP))
    assert half_width(joint.intervals) < 0.9 * half_width(alone.intervals)
    assert joint.point is not None and alone.point is not None
    assert abs(math.log(joint.point / truth)) < abs(math.log(alone.point / truth)) + 0.003
    assert joint.intervals and joint.intervals[95][0] <= truth <= joint.intervals[95][1]


def test_groups_that_say_nothing_leave_the_prior_alone() -> None:
    two = ladder("b", 1.0, 0.5, 2)
    priors = pooled_priors({"a": gather(ladder("a", 1.0, 3, 6)), "b": gather(two)})
    assert priors["a"].exponent_median == pytest.approx(LEARNED.exponent_median)
    assert priors["a"].floor_alpha == pytest.approx(LEARNED.floor_alpha, rel=0.25)
    assert priors["b"].exponent_sd_log < LEARNED.exponent_sd_log


def test_a_joint_answer_names_the_group_of_everything() -> None:
    rows = [*ladder("a", 1.0, 3, 6), *ladder("b", 1.2, 3, 6), *ladder("short", 1.0, 0.5, 3)]
    joint = answer_jointly(RunTable(tuple(rows)), [10 * TOP])
    value = joint.to_json()
    assert value["groups"] == {"a": "forecast", "b": "forecast", "short": "refused"}
    assert value["verdict"] == "forecast" and not joint.refused
    assert [item["group"] for item in value["at"]] == ["a", "b"]
    assert {item["group"] for item in value["laws"]} >= {"a", "b"}
    assert all("group" in item for key in ("reasons", "frontier", "backtest")
               for item in value[key])  # fmt: skip
    only = RunTable(tuple(ladder("s", 1.0, 0.5, 3) + ladder("t", 1.0, 0.5, 3)))
    refused = answer_jointly(only, [10 * TOP])
    assert refused.refused and "at" not in refused.to_json()


def test_rows_without_a_group_are_named() -> None:
    rows = (*ladder("a", 1.0, 3, 6), Row("x", 1e19, 3.0))
    with pytest.raises(UserError, match="no group"):
        answer_jointly(RunTable(rows), [1e21])
