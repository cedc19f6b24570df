"""Why a table cannot carry a forecast, or only a wide one: machine-readable reasons.

Each is read from the table alone. What a table does not show (a validation set that leaks, rungs
all badly tuned alike) cannot be refused; the interval has to be wide enough for it.
Source: design/forecasting.md, lessons 2 to 6 and protocol, point 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foresight.forecast.backtest import Backtest, Stack
from foresight.forecast.codes import Reason
from foresight.forecast.law import FADE, FADE_EXPONENT, FADING
from foresight.forecast.rungs import Rungs, cluster
from foresight.forecast.table import Row

MIN_ELIGIBLE_RUNGS, MIN_DECADES, MAX_RATIO = 4, 1.5, 1e4
MAX_HALF_WIDTH = 0.10
FINISHED = 0.95
"""Share of its planned steps after which a run's schedule counts as finished."""
SAME_TOKENS, UNEVEN = 1.3, 10.0
"""Range of D that counts as fixed while N grows; range of D / N along a ladder that is uneven."""
GROWTH = 0.6
"""Exponent of N in C above which small runs had too many tokens: unmatched schedules make the
best size grow as C^.7 to C^.9, matched ones as C^.5 (Porian et al. 2024, section 3)."""
PLATEAU_SHARE = 0.95
"""Floor as a share of the loss at the largest rung from which nothing is left to fall."""
EXCESS, SURE = 0.01, 0.9
"""Excess of the smallest rung, in log loss, and weight of the fading law, that are reported."""
ROUGHNESS = 0.003
"""Scatter of log loss about a smooth ladder that is no sign of anything (recipe jitter)."""
MISS = 4.0
"""|z| of a back-test, against Student-t4 errors, that the drift of the others denies."""


class Code(Reason):
    """Machine-readable reasons of a verdict."""

    TOO_FEW_RUNGS = f"fewer than {MIN_ELIGIBLE_RUNGS} eligible rungs of distinct compute"
    SHORT_RANGE = f"the eligible rungs span less than {MIN_DECADES} decades of compute"
    NON_MONOTONE = "the loss rises with compute: not a compute-efficient ladder of one recipe"
    MIXED_SHAPES = "runs of equal compute differ in size: pass the compute-efficient ones"
    MIXED_SCHEDULES = "the runs have different learning-rate schedules: fit one at a time"
    MID_RUN = "losses were read before the runs' schedules ended: they are not final losses"
    FIXED_TOKENS = (
        "tokens hardly differ while size grows: such a ladder is not "
        "compute-efficient, and a law of compute does not hold on it"
    )
    PLATEAU = "the floor is at the smallest loss: nothing is left to extrapolate"
    RATIO_TOO_LARGE = f"the target is more than {MAX_RATIO:.0e} times the largest rung"
    UNEVEN_TOKENS = f"tokens per parameter differ more than {UNEVEN:.0f}-fold along the ladder"
    SIZE_GROWTH = (
        f"the best size grows faster than C^{GROWTH}: losses read mid-run, or a "
        "warm-up or schedule that does not match the length of the small runs"
    )
    SMALL_RUNGS_OFF = (
        "the small rungs are worse than the law of the larger ones: badly "
        "tuned, or too short for it"
    )
    WIDE_INTERVAL = f"the 95 % interval is wider than {100 * MAX_HALF_WIDTH:.0f} % either way"
    STEEPENING = "the log-log slope steepens: a law with a floor is not yet in force"
    BACKTEST_MISSES = "hidden rungs fell far outside what the rungs below them predicted"
    NOT_CALIBRATED = "too few back-tests at this ratio: the interval rests on the priors"


REFUSING = frozenset(
    {
        Code.TOO_FEW_RUNGS,
        Code.SHORT_RANGE,
        Code.NON_MONOTONE,
        Code.MIXED_SHAPES,
        Code.MIXED_SCHEDULES,
        Code.MID_RUN,
        Code.FIXED_TOKENS,
        Code.PLATEAU,
        Code.RATIO_TOO_LARGE,
    }
)
SILENT = frozenset({Code.NOT_CALIBRATED})


def verdict_of(reasons: Sequence[Code]) -> str:
    """`refused`, `wide` or `forecast`."""
    if REFUSING & set(reasons):
        return "refused"
    return "wide" if set(reasons) - SILENT else "forecast"


def reasons_of_runs(rows: Sequence[Row], rungs: Rungs | None) -> tuple[Code, ...]:
    """What the runs show before anything is fitted, whatever the target."""
    checks = {
        Code.TOO_FEW_RUNGS: rungs is None or len(rungs) < MIN_ELIGIBLE_RUNGS,
        Code.SHORT_RANGE: rungs is None or rungs.x[-1] - rungs.x[0] < MIN_DECADES * math.log(10),
        Code.MIXED_SHAPES: _mixed_shapes(rows),
        Code.MIXED_SCHEDULES: len({row.schedule for row in rows if row.schedule}) > 1,
        Code.MID_RUN: any(_mid_run(row) for row in rows),
        Code.NON_MONOTONE: rungs is not None and _rises(rungs),
        Code.STEEPENING: rungs is not None
        and len(rungs) >= MIN_ELIGIBLE_RUNGS
        and _steepens(rungs),
    }
    return tuple(code for code, found in checks.items() if found) + _reasons_of_sizes(rows)


def reasons_of_fit(rungs: Rungs, stack: Stack, backtest: Backtest) -> tuple[Code, ...]:
    """What the fitted laws and their back-test show."""
    top, bottom = float(rungs.x[-1]), float(rungs.x[0])
    weights = np.array(stack.weights)
    share = weights @ [np.median(one.floor_shares(top)) for one in stack.posteriors]
    found = []
    if share > PLATEAU_SHARE:
        found.append(Code.PLATEAU)
    for one, weight in zip(stack.posteriors, stack.weights, strict=True):
        if one.form is FADING and weight > SURE:
            at = np.exp(-one.theta[:, FADE_EXPONENT] * (bottom - one.centre))
            if float(np.quantile(np.log1p(one.theta[:, FADE] * at), 0.1)) > EXCESS:
                found.append(Code.SMALL_RUNGS_OFF)
    if any(abs(entry.z) > MISS for entry in backtest.scored):
        found.append(Code.BACKTEST_MISSES)
    return tuple(found)


def _mixed_shapes(rows: Sequence[Row]) -> bool:
    for group in cluster(rows):
        sizes = [row.params for row in group if row.params is not None]
        if sizes and max(sizes) > 1.1 * min(sizes):
            return True
    return False


def _mid_run(row: Row) -> bool:
    """The run had steps of its schedule left. A constant rate has no end to reach."""
    constant = row.schedule is not None and row.schedule.lower().startswith("const")
    if row.steps is None or row.planned_steps is None or constant:
        return False
    return row.steps < FINISHED * row.planned_steps


def _reasons_of_sizes(rows: Sequence[Row]) -> tuple[Code, ...]:
    """What sizes and tokens along the ladder say about its efficiency."""
    sized = [row for row in rows if row.params and row.tokens]
    if len(sized) < MIN_ELIGIBLE_RUNGS:
        return ()
    x = np.log([row.compute_flops for row in sized])
    n = np.log([row.params or 1.0 for row in sized])
    d = np.log([row.tokens or 1.0 for row in sized])
    if np.ptp(n) > 2 * math.log(SAME_TOKENS) and np.ptp(d) < math.log(SAME_TOKENS):
        return (Code.FIXED_TOKENS,)
    found = []
    if np.ptp(d - n) > math.log(UNEVEN):
        found.append(Code.UNEVEN_TOKENS)
    if len(sized) > MIN_ELIGIBLE_RUNGS and np.ptp(x) > 0:
        design = np.stack([np.ones_like(x), x - x.mean()], axis=1)
        (level, growth), *_ = np.linalg.lstsq(design, n, rcond=None)
        residual = n - design @ np.array([level, growth])
        error = math.sqrt(
            float(residual @ residual) / max(len(x) - 2, 1) / float(np.var(x) * len(x))
        )
        if growth - error > GROWTH:
            found.append(Code.SIZE_GROWTH)
    return tuple(found)


def _rises(rungs: Rungs) -> bool:
    """A rung is worse than a cheaper one by more than noise and jitter explain."""
    variance = rungs.variance + ROUGHNESS**2
    for later in range(1, len(rungs)):
        best = int(np.argmin(rungs.y[:later]))
        allowed = 2.5 * math.sqrt(variance[later] + variance[best])
        if rungs.y[later] - rungs.y[best] > allowed:
            return True
    return False


def _steepens(rungs: Rungs) -> bool:
    """The weighted quadratic through the rungs bends down by more than 2.5 standard errors."""
    delta = rungs.x - rungs.x.mean()
    design = np.stack([np.ones_like(delta), delta, delta**2], axis=1)
    weight = 1.0 / np.sqrt(rungs.variance + ROUGHNESS**2)
    covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design)
    bend = (covariance @ (design * weight[:, None] ** 2).T @ rungs.y)[2]
    return bool(bend < -2.5 * math.sqrt(covariance[2, 2]))
