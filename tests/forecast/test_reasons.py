"""Every trap that a table shows is named; clean ladders are not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from foresight.forecast import Code, PowerLaw, Row, RunTable, fit

TOP = 1e20
LAW = PowerLaw(1.2 * TOP**0.15, 0.15, 1.7)


def ladder(rungs: int = 8, decades: float = 3.0, noise: float = 0.001, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [
        Row(f"r{i}", float(c), float(LAW(c)) * math.exp(noise * rng.normal()),
            params=0.1 * c**0.5, tokens=c**0.5 / 0.6, steps=1000, planned_steps=1000,
            schedule="cosine")
        for i, c in enumerate(np.geomspace(TOP / 10**decades, TOP, rungs))
    ]  # fmt: skip


def reasons(rows: list[Row]) -> tuple[Code, ...]:
    return fit(RunTable(tuple(rows))).reasons


def test_clean_ladders_are_not_flagged() -> None:
    flagged = [seed for seed in range(40) if reasons(ladder(seed=seed))]
    print(f"clean ladders flagged: {len(flagged)} of 40")
    assert len(flagged) <= 1


def test_schedules_and_unfinished_runs() -> None:
    rows = ladder()
    assert Code.MIXED_SCHEDULES in reasons([*rows[:4], *(replace(r, schedule="wsd")
                                                        for r in rows[4:])])  # fmt: skip
    stopped = [replace(row, steps=400) for row in rows]
    assert Code.MID_RUN in reasons(stopped)
    # A constant rate has no end that could be missed.
    assert not reasons([replace(row, schedule="constant") for row in stopped])


def test_fixed_tokens_and_uneven_tokens() -> None:
    fixed = [replace(r, params=r.compute_flops / 6e10, tokens=1e10) for r in ladder()]
    assert Code.FIXED_TOKENS in reasons(fixed)
    uneven = [
        replace(r, params=(r.params or 1) * f, tokens=(r.tokens or 1) / f)
        for r, f in zip(ladder(), [1, 4, 1, 4] * 2, strict=True)
    ]
    assert Code.UNEVEN_TOKENS in reasons(uneven)


def test_sizes_that_grow_as_under_a_long_cosine() -> None:
    grown = [
        replace(r, params=1e-7 * r.compute_flops**0.8, tokens=1e7 / 6 * r.compute_flops**0.2)
        for r in ladder(decades=2.0)
    ]
    assert Code.SIZE_GROWTH in reasons(grown)


def test_small_rungs_off_plateau_and_missed_back_tests() -> None:
    rows = ladder(12)
    off = [replace(r, loss=r.loss * (1 + 0.12 * (TOP / 1e3 / r.compute_flops) ** 1.0))
           for r in rows]  # fmt: skip
    assert Code.SMALL_RUNGS_OFF in reasons(off)
    flat = [replace(r, loss=1.7 + 1e-3 * i) for i, r in enumerate(reversed(rows))]
    flat = [replace(r, compute_flops=c.compute_flops)
            for r, c in zip(reversed(flat), rows, strict=True)]  # fmt: skip
    flat = [replace(r, loss=1.7 * (1 + 0.004 * math.exp(-i))) for i, r in enumerate(flat)]
    assert {Code.PLATEAU} & set(reasons(flat))
    # Validation text in the larger runs' training data: their losses fall off the law.
    leaked = [replace(r, loss=r.loss * (0.9 if i >= 9 else 1.0)) for i, r in enumerate(rows)]
    assert {Code.BACKTEST_MISSES, Code.STEEPENING} & set(reasons(leaked))


@pytest.mark.parametrize("code", list(Code))
def test_every_reason_is_explained(code: Code) -> None:
    assert len(code.text) > 20
