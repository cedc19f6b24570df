"""Does a score rise or fall with scale, or turn? A test with a stated false-alarm rate.

A fall is the slope of a segment (all models, those up to a turn, or those from it on) of the
score over log scale, taken within families. The weights of such a slope rise with scale and sum
to zero in every family, so its expectation is never negative where the truth never falls,
whatever the truth's shape. Its error is known up to the scatter between models of one size, which
is estimated from the residuals about a common quadratic (a line with few models) and the
families' offsets: another shape of the truth can only enlarge it. So noise about a constant is the
least favourable truth, and the largest studentised slope over all segments is compared with its
simulated distribution there. The turn is thus searched inside the null. The simulation is repeated
for scatters from none to far above the standard errors, which there may also fade or grow with
scale, and the largest p-value counts.

A U needs, at one turn, a fall before it and a rise after it, each beyond the same critical value:
two lines with one turn (Simonsohn 2018, "Two lines"), with an intersection-union test of both
halves (Lind and Mehlum 2010, "With or without U?") in place of a quadratic's coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.draws import Array, rounded, student_quantile
from foresight.forecast.scores import ScoreRow, ScoreTable

ALPHA = 0.05
"""Probability, at most, of an alarm where there is none."""
MIN_SIZES = 4
SIMULATIONS = 4000
SCATTERS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Scatters of the null in units of the mean standard error; "only scatter" comes on top."""
UNEVEN = 3.0
"""Only scatter: even, and so many times smaller or larger at the largest scale."""
QUADRATIC_DEGREES = 3
"""Degrees of freedom a quadratic must leave; with fewer a line, and no U can be told."""
TURNS = 201
"""Candidate turning points of the two lines."""


@dataclass(frozen=True)
class Trend:
    """The verdict on one metric; "better" is up for an accuracy, down for a loss.

    `verdict`: rising (better with scale), falling (inverse scaling), u_shaped (worse, then
    better), inverted_u, flat (no segment changes by more than `margin`), unclear. `p_falling` and
    `p_rising` test "never gets worse" and "never gets better"; `p_u` and `p_inverted_u` test
    both at one turn. `change` is that of the score from the smallest to the largest model along a
    line (positive is better), `change_interval` 90 % simultaneous over the segments; `scatter` is
    the sd between models of one size beyond their standard errors. `turn` and its 95 % interval
    are scales. `models`, `families` and `sizes` count what was compared; None: not determined.
    """

    metric: str
    verdict: str
    models: int
    families: int
    sizes: int
    p_falling: float | None = None
    p_rising: float | None = None
    p_u: float | None = None
    p_inverted_u: float | None = None
    change: float | None = None
    change_interval: tuple[float, float] | None = None
    scatter: float | None = None
    turn: float | None = None
    turn_interval: tuple[float, float] | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Same scores, same seed, same bytes."""
        return rounded(asdict(self))


@dataclass(frozen=True)
class Segments:
    """Slopes of segments as unit contrasts (k, n); `reach` (k,) turns a contrast's value into the
    change over its segment. `before` and `after` pair the rows of the segments at one turn."""

    contrasts: Array
    reach: Array
    before: NDArray[np.intp]
    after: NDArray[np.intp]


@dataclass(frozen=True)
class _Test:
    """What is common to data and null: projection onto the residuals, and known variances (n,)."""

    segments: Segments
    residual: Array
    degrees: int
    variance: Array

    def errors(self, y: Array) -> tuple[Array, Array]:
        """Scatter variance (b,) and standard errors (b, k) of the contrasts of y (b, n)."""
        squares = ((y @ self.residual) * y).sum(axis=1)
        known = float(np.diag(self.residual) @ self.variance)
        scatter = np.maximum((squares - known) / self.degrees, 0.0)
        # The floor keeps scores that lie exactly on a line finite.
        floor = 1e-20 * float((y * y).max())
        exact = self.segments.contrasts**2 @ self.variance
        return scatter, np.sqrt(exact + np.maximum(scatter, floor + 1e-300)[:, None])

    def studentised(self, y: Array) -> Array:
        """Slopes over their standard errors, (b, k)."""
        return np.asarray(y @ self.segments.contrasts.T / self.errors(y)[1])

    def null(self, x: Array, seed: int) -> Array:
        """Largest studentised slope of pure noise, (scatters, SIMULATIONS), each row sorted."""
        noise = np.random.default_rng(seed).standard_normal((SIMULATIONS, len(self.variance)))
        only_scatter = _Test(self.segments, self.residual, self.degrees, 0.0 * self.variance)
        place = (x - x.min()) / np.ptp(x)
        rows = [
            only_scatter.studentised(noise * UNEVEN ** (tilt * place)).max(axis=1)
            for tilt in (-1, 0, 1)
        ]
        mean = float(self.variance.mean())
        if mean > 0.0:
            for ratio in SCATTERS:
                sd = np.sqrt(self.variance + ratio**2 * mean)
                rows.append(self.studentised(noise * sd).max(axis=1))
        return np.sort(rows, axis=1)


def trend(
    table: ScoreTable, *, higher_is_better: bool = True, margin: float = 0.05, seed: int = 0
) -> Trend:
    """Judge the scores of a table; at least `MIN_SIZES` sizes, else `unclear`.

    `margin`: largest change, in the unit of the score, that still counts as flat. Raises
    UserError if it is not positive. Deterministic given the seed of the simulated null.
    """
    if not margin > 0.0:
        raise UserError(f"margin {margin}: expected a number above 0")
    rows = _compared(table.rows)
    families = sorted({row.group or "" for row in rows})
    sizes = len({row.scale for row in rows})
    nothing = Trend(table.metric, "unclear", len(rows), len(families), sizes)
    if sizes < MIN_SIZES or len(rows) - len(families) < MIN_SIZES - 1:
        note = f"needs {MIN_SIZES} sizes within families; has {sizes} of {len(rows)} models"
        return replace(nothing, note=note)
    x = np.log([row.scale for row in rows])
    family = np.array([families.index(row.group or "") for row in rows])
    offsets = np.asarray(family[:, None] == np.arange(len(families)), dtype=np.float64)
    y = np.array([row.value for row in rows]) * (1.0 if higher_is_better else -1.0)
    y = y - offsets @ ((offsets.T @ y) / offsets.sum(axis=0))
    test = _prepare(x, family, offsets, np.array([(row.stderr or 0.0) ** 2 for row in rows]))
    null = test.null(x, seed)
    p = _p_values(test, null, y)
    scatter, errors = test.errors(y[None])
    change = test.segments.contrasts @ y * test.segments.reach
    half = float(np.quantile(null, 1 - ALPHA, axis=1).max()) * errors[0] * test.segments.reach
    verdict = _verdict(p, flat=bool((np.abs(change) + half <= margin).all()))
    turn = None
    if verdict in ("u_shaped", "inverted_u"):
        stderr = math.sqrt(float(test.variance.mean()))
        turn = _turn(x, y, offsets, stderr, verdict == "u_shaped")
    bends = _bends(len(rows) - len(families))
    return replace(
        nothing, verdict=verdict,
        p_falling=p["p_falling"], p_rising=p["p_rising"],
        p_u=p["p_u"], p_inverted_u=p["p_inverted_u"],
        change=float(change[0]),
        change_interval=(float(change[0] - half[0]), float(change[0] + half[0])),
        scatter=math.sqrt(float(scatter[0])),
        turn=turn and turn[0],
        turn_interval=turn and turn[1:],
        note="" if bends else "too few models to tell a turn from scatter",
    )  # fmt: skip


def _compared(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The models of families with at least two sizes, in rising scale."""
    sizes: dict[str | None, set[float]] = {}
    for row in rows:
        sizes.setdefault(row.group, set()).add(row.scale)
    return sorted(
        (row for row in rows if len(sizes[row.group]) > 1), key=lambda row: (row.scale, row.run)
    )


def _bends(freedom: int) -> bool:
    return freedom - 2 >= QUADRATIC_DEGREES


def _prepare(x: Array, family: NDArray[np.intp], offsets: Array, variance: Array) -> _Test:
    """Segments and residual projection of a design."""
    powers = range(1, 3 if _bends(len(x) - offsets.shape[1]) else 2)
    smooth = np.hstack([offsets, *((x - x.mean())[:, None] ** power for power in powers)])
    # A standard error of 0 (all answers right, say) is an estimate too, and no certainty.
    variance = np.maximum(variance, variance.mean() / 4)
    residual = np.eye(len(x)) - smooth @ np.linalg.pinv(smooth)
    degrees = len(x) - int(np.linalg.matrix_rank(smooth))
    return _Test(_segments(x, family), residual, degrees, variance)


def _segments(x: Array, family: NDArray[np.intp]) -> Segments:
    """The whole range first, then at every inner size the segments up to it and from it on.

    A segment counts if it holds two models more than families (a line through two says nothing).
    """
    contrasts, reach, before, after = [], [], [], []

    def add(inside: NDArray[np.bool_]) -> int | None:
        weights = np.zeros_like(x)
        spare = 0
        for name in np.unique(family[inside]):
            own = inside & (family == name)
            weights[own] = x[own] - x[own].mean()
            spare += int(own.sum()) - 1
        size = float(np.sqrt(weights @ weights))
        if spare < 2 or size == 0.0:
            return None
        contrasts.append(weights / size)
        reach.append(float(np.ptp(x[inside])) / size)
        return len(contrasts) - 1

    add(np.ones(len(x), dtype=np.bool_))
    for turn in np.unique(x)[1:-1]:
        left, right = add(x <= turn), add(x >= turn)
        if left is not None and right is not None:
            before.append(left)
            after.append(right)
    return Segments(
        np.array(contrasts),
        np.array(reach),
        np.array(before, dtype=np.intp),
        np.array(after, dtype=np.intp),
    )


def _p_values(test: _Test, null: Array, y: Array) -> dict[str, float]:
    """Of a fall, a rise, and either before the other at one turn."""
    slopes = test.studentised(y[None])[0]
    first, last = slopes[test.segments.before], slopes[test.segments.after]
    never = -math.inf  # where no inner size leaves enough models on both sides
    return {
        "p_falling": _p_value(null, float((-slopes).max())),
        "p_rising": _p_value(null, float(slopes.max())),
        "p_u": _p_value(null, float(np.minimum(-first, last).max(initial=never))),
        "p_inverted_u": _p_value(null, float(np.minimum(first, -last).max(initial=never))),
    }


def _p_value(null: Array, observed: float) -> float:
    """Share of the null at least as large, for the least favourable scatter."""
    above = [len(row) - int(np.searchsorted(row, observed)) for row in null]
    return float((1 + max(above)) / (1 + null.shape[1]))


def _verdict(p: Mapping[str, float], *, flat: bool) -> str:
    if min(p["p_u"], p["p_inverted_u"]) <= ALPHA:
        return "u_shaped" if p["p_u"] <= p["p_inverted_u"] else "inverted_u"
    falls, rises = p["p_falling"] <= ALPHA, p["p_rising"] <= ALPHA
    if falls != rises:
        return "falling" if falls else "rising"
    return "flat" if flat and not falls else "unclear"


def _turn(
    x: Array, y: Array, offsets: Array, stderr: float, valley: bool
) -> tuple[float, float, float]:
    """Turning scale and its 95 % interval: the knot of two lines with family offsets.

    The interval holds the knots whose sum of squares an F test does not tell from the best one.
    """
    inner = np.unique(x)[1:-1]
    knots = np.linspace(inner[0], inner[-1], TURNS)
    squares = np.full(TURNS, math.inf)
    for at, knot in enumerate(knots):
        design = np.hstack([offsets, np.minimum(x - knot, 0.0)[:, None],
                            np.maximum(x - knot, 0.0)[:, None]])  # fmt: skip
        found = np.linalg.lstsq(design, y, rcond=None)[0]
        turns = found[-2] < 0.0 < found[-1] if valley else found[-2] > 0.0 > found[-1]
        if turns:
            squares[at] = float(((y - design @ found) ** 2).sum())
    degrees = max(len(x) - offsets.shape[1] - 3, 2)
    best = int(np.argmin(squares))
    error = max(float(squares[best]) / degrees, stderr**2)
    kept = knots[squares <= squares[best] + student_quantile(0.975, degrees) ** 2 * error]
    # Where no pair of lines turns the right way, any inner scale may be the turn.
    if not math.isfinite(squares[best]):
        return math.exp(float(knots[TURNS // 2])), math.exp(knots[0]), math.exp(knots[-1])
    return math.exp(float(knots[best])), math.exp(float(kept[0])), math.exp(float(kept[-1]))
