"""Which ladder to train for a budget, and which single run would narrow a forecast most.

Candidates are geometric ladders (bottom, number of rungs, more seeds below or above), the top rung
as large as the budget allows; the best go through an exchange search (Fedorov 1972, "Theory of
optimal experiments", in its simplest form: change one rung, keep what helps). All are ranked by
`Prospect.screen`; what is reported of the best is simulated, fits and all (`Prospect.simulate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from operator import attrgetter, itemgetter
from typing import Any, TypeGuard

import numpy as np

from foresight.errors import UserError
from foresight.forecast.allocation import Recommendation
from foresight.forecast.draws import rounded
from foresight.forecast.forecast import Fit
from foresight.forecast.prospect import (
    DECADES_BELOW,
    NOTHING,
    TRUTHS,
    Design,
    Prospect,
    Width,
    half_width95,
    width_of,
)
from foresight.forecast.reasons import MIN_DECADES, MIN_ELIGIBLE_RUNGS

PILOT_DECADES = 3.0
"""Without runs or a smallest compute, the smallest rung may lie so far below the budget."""
NEAR_TARGET = 2.0
"""No rung is closer to the target than this factor: it would be the target."""
MIN_STEP, MAX_STEP = 1.4, 10.0
"""Factors between neighbouring rungs: nearer ones would share their jitter (the same width, the
same rounding), and in a wider gap nothing checks the law."""
MAX_SEEDS = 6
PATTERNS = ((1, 1), (2, 1), (1, 2), (3, 2))
"""Seeds of the lower and of the upper half of a ladder."""
CONTENDERS, ROUNDS, GAIN = 5, 8, 0.01
"""So many of the best candidates, of different numbers of rungs, are improved by exchanges, each
until a round gains less than this share, or so many rounds."""
HEATS, FINALISTS = 3, 3
"""Contenders are simulated on so many truths; so many of the best go on to `TRUTHS`."""
TRUTH_ORDER = (2, 6, 10, 0, 4, 8, 1, 3, 5, 7, 9, 11)
"""The first `HEATS` are a low, a middle and a high one."""
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Budgets of the curve, in units of the one given."""
EQUAL_RUNGS = 6
"""Rungs of the plain ladder that designs are compared with: equal spacing, one seed."""
PER_DECADE = 4

Sizes = Callable[[float], Recommendation | None]
"""Size and tokens for a compute in FLOPs, as `Answer.recommended` gives them."""


@dataclass(frozen=True)
class Expected:
    """A design and the interval that it is expected to give: `width` is simulated, and
    `extrapolation_ratio` is the target's compute over the largest rung's."""

    name: str
    design: Design
    width: Width
    extrapolation_ratio: float


@dataclass(frozen=True)
class Candidate:
    """One more run: the 95 % half-width it is expected to leave, by screening, and what that gains:
    `log_gain` is the fall of its natural log."""

    compute_flops: float
    half_width95: float
    log_gain: float

    @property
    def gain_per_flop(self) -> float:
        return self.log_gain / self.compute_flops


@dataclass(frozen=True)
class OneMore:
    """Single runs tried (empty without a pilot ladder), and the simulated width after the one that
    narrows most, and after the one that narrows most per FLOP."""

    candidates: tuple[Candidate, ...]
    best: Expected
    best_per_flop: Expected


@dataclass(frozen=True)
class Plan:
    """Answer of `plan_ladder`. `now`: half-width of the 95 % interval before any further run, None
    without runs. `designs`: the best first; `equal`: the plain ladder for the same budget; `curve`:
    the best design of each budget, rising."""

    budget_flops: float
    target_flops: float
    min_compute_flops: float
    basis: str
    now: float | None
    designs: tuple[Expected, ...]
    equal: Expected
    curve: tuple[tuple[float, Expected], ...]
    one_more: OneMore | None

    def to_json(self, recommended: Sizes | None = None) -> dict[str, Any]:
        """Same runs, same code, same bytes; widths are natural logs (0.01 is 1 % either way).

        `recommended` gives rungs their params and tokens where a frontier with sizes is known.
        """

        def shown(one: Expected) -> dict[str, Any]:
            return _expected_json(one, recommended or (lambda compute: None))

        value = {
            "budget_flops": self.budget_flops,
            "target_flops": self.target_flops,
            "min_compute_flops": self.min_compute_flops,
            "basis": self.basis,
            "simulated_ladders": TRUTHS,
            "half_width95_now": self.now,
            "designs": [shown(one) for one in self.designs],
            "equal_spacing_one_seed": shown(self.equal),
            "curve": [{"budget_flops": budget, **shown(one)} for budget, one in self.curve],
            "one_more_run": None,
        }
        if self.one_more is not None:
            value["one_more_run"] = {
                "best": shown(self.one_more.best),
                "best_per_flop": shown(self.one_more.best_per_flop),
                "candidates": [
                    asdict(one) | {"log_gain_per_flop": one.gain_per_flop}
                    for one in self.one_more.candidates
                ],
            }
        return rounded(value)


def plan_ladder(
    budget_flops: float,
    target_flops: float,
    *,
    min_compute_flops: float | None = None,
    fitted: Fit | None = None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """The ladders that narrow the 95 % interval at `target_flops` most for `budget_flops` of
    further training, and the single run that does.

    `fitted`: the fit to the runs there are. `min_compute_flops`: the smallest compute at which the
    recipe is sound (default: the smallest rung, or three decades below the budget). `watch` is told
    the number of simulated fits, done and in all. Raises UserError if a number is no finite
    positive one, the budget pays for the target, or no ladder fits into the budget.
    """
    low = _checked_low(budget_flops, target_flops, min_compute_flops, fitted)
    if fitted is None:
        prospect = Prospect.of_priors(low, budget_flops, target_flops)
    else:
        prospect = Prospect.of_runs(fitted, target_flops)
    search = _Search(prospect, low)
    contenders = search.best(budget_flops)
    equal = search.equal(budget_flops)
    if not contenders or equal is None:
        raise UserError(
            f"no ladder from {low:.3g} FLOPs, of {MIN_ELIGIBLE_RUNGS} rungs over {MIN_DECADES} "
            f"decades, fits into {budget_flops:.3g} FLOPs: raise --budget or lower --min-compute"
        )
    now = None if fitted is None else half_width95(fitted, target_flops)
    candidates = () if now is None else _candidates(prospect, low, budget_flops, now)
    singles = [
        Design((max(candidates, key=key).compute_flops,), (1,))
        for key in (attrgetter("log_gain"), attrgetter("gain_per_flop"))
        if candidates
    ]
    budgets = [f * budget_flops for f in FACTORS if f != 1.0 and f * budget_flops < target_flops]
    race = _Race(prospect, watch)
    race.total = HEATS * (len(contenders) + 1) + (TRUTHS - HEATS) * (FINALISTS + 1)
    race.total += TRUTHS * (len(budgets) + len(singles))
    # Simulation has the last word, and the plain ladder runs too: screening may be wrong about it.
    heats = sorted({*contenders, equal}, key=lambda one: race.width(one, HEATS).half_width95)
    finals = sorted(heats[:FINALISTS], key=lambda one: race.width(one, TRUTHS).half_width95)
    rungs = len(finals[0].seeds)
    curve = [(budget_flops, race.expect("best", finals[0]))]
    for budget in budgets:
        found = search.best(budget, rungs) or search.best(budget)
        if found:
            curve.append((budget, race.expect(f"budget {budget:.3g}", found[0])))
    runs = [race.expect("one more run", single) for single in singles]
    watch(race.total, race.total)
    return Plan(
        budget_flops=budget_flops,
        target_flops=target_flops,
        min_compute_flops=low,
        basis="priors" if fitted is None else "runs",
        now=now,
        designs=tuple(
            race.expect(f"runner-up {at}" if at else "best", one) for at, one in enumerate(finals)
        ),
        equal=race.expect("equal spacing, one seed", equal),
        curve=tuple(sorted(curve, key=itemgetter(0))),
        one_more=OneMore(candidates, runs[0], runs[1]) if runs else None,
    )


def _checked_low(budget: float, target: float, low: float | None, fitted: Fit | None) -> float:
    named = {"budget": budget, "target": target}
    if low is not None:
        named["min-compute"] = low
    for name, value in named.items():
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"--{name} {value}: expected a finite number of FLOPs above 0")
    if budget >= target:
        raise UserError(
            f"--budget {budget:.3g}: it pays for the target of {target:.3g} FLOPs itself; "
            f"expected less than the target"
        )
    if low is None:
        low = budget / 10**PILOT_DECADES
        if fitted is not None and fitted.rungs is not None:
            low = math.exp(float(fitted.rungs.x[0]))
    if low < target / 10**DECADES_BELOW:
        raise UserError(
            f"--min-compute {low:.3g}: more than {DECADES_BELOW:g} decades below the target"
        )
    if low >= budget:
        raise UserError(f"--min-compute {low:.3g}: expected less than the budget, {budget:.3g}")
    return low


class _Race:
    """Simulated widths of designs, each of them on the same truths; what was fitted is kept."""

    def __init__(self, prospect: Prospect, watch: Callable[[int, int], None]) -> None:
        self.prospect = prospect
        self.watch = watch
        self.total = 0
        self.done = 0
        self.logs: dict[Design, list[float]] = {}

    def width(self, design: Design, truths: int) -> Width:
        logs = self.logs.setdefault(design, [])
        while len(logs) < truths:
            self.watch(self.done, self.total)
            logs.append(self.prospect.simulate(design, TRUTH_ORDER[len(logs)]))
            self.done += 1
        return width_of(logs)

    def expect(self, name: str, design: Design) -> Expected:
        ratio = math.exp(self.prospect.horizon(design))
        return Expected(name, design, self.width(design, TRUTHS), ratio)


def _candidates(prospect: Prospect, low: float, budget: float, now: float) -> tuple[Candidate, ...]:
    """Single runs on a log grid, none at a rung there is; the screened change of the interval is
    applied to the interval there is."""
    high = min(budget, prospect.target_flops / NEAR_TARGET)
    steps = max(round(PER_DECADE * math.log10(high / low)), 1)
    before = prospect.screen(NOTHING)
    found = []
    for compute in np.geomspace(low, high, steps + 1):
        if np.abs(prospect.rungs - math.log(compute)).min() < math.log(MIN_STEP) / 2:
            continue
        after = prospect.screen(Design((float(compute),), (1,)))
        found.append(Candidate(float(compute), now * after / before, math.log(before / after)))
    return tuple(found)


class _Search:
    """Candidate ladders above `low` FLOPs and their improvement by exchanges."""

    def __init__(self, prospect: Prospect, low: float) -> None:
        self.prospect = prospect
        self.low = low
        self.ceiling = prospect.target_flops / NEAR_TARGET
        self.screened: dict[Design, float] = {}

    def best(self, budget: float, rungs: int | None = None) -> list[Design]:
        """The best design of each number of rungs (or of one), the best first."""
        leading: dict[int, Design] = {}
        for start in self._starts(budget):
            if not self._valid(start) or rungs not in (None, len(start.seeds)):
                continue
            best = leading.setdefault(len(start.seeds), start)
            if self._screen(start) < self._screen(best):
                leading[len(start.seeds)] = start
        chosen = sorted(leading.values(), key=self._screen)[:CONTENDERS]
        return sorted((self._improve(one, budget) for one in chosen), key=self._screen)

    def equal(self, budget: float) -> Design | None:
        """The plain ladder: equal spacing in log compute, one seed, wherever rungs there are."""
        return self._stretch(
            self.low, tuple(np.linspace(0.0, 1.0, EQUAL_RUNGS)), (1,) * EQUAL_RUNGS, budget
        )

    def _starts(self, budget: float) -> Iterator[Design | None]:
        fewest = MIN_ELIGIBLE_RUNGS if not len(self.prospect.rungs) else 1
        highest = min(budget, self.ceiling)
        for step in range(max(int(2 * math.log10(highest / self.low)), 0) + 1):
            for rungs in range(fewest, 11):
                places = tuple(np.linspace(0.0, 1.0, rungs))
                for below, above in PATTERNS:
                    seeds = (below,) * (rungs // 2) + (above,) * (rungs - rungs // 2)
                    yield self._stretch(self.low * 10 ** (step / 2), places, seeds, budget)

    def _stretch(
        self, bottom: float, places: tuple[float, ...], seeds: tuple[int, ...], budget: float
    ) -> Design | None:
        """Rungs at `places` (0 to 1, in log compute) between the bottom and the largest top that
        the budget pays for; None if it pays for none."""

        def at(log_top: float) -> Design:
            span = log_top - math.log(bottom)
            # A single rung is the top.
            shares = places if len(places) > 1 else (1.0,)
            return Design(tuple(bottom * math.exp(span * share) for share in shares), seeds)

        low, high = math.log(bottom), math.log(self.ceiling)
        if low > high or at(low).cost_flops > budget:
            return None
        if at(high).cost_flops > budget:
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if at(middle).cost_flops <= budget else (low, middle)
            high = low
        return at(high)

    def _valid(self, design: Design | None) -> TypeGuard[Design]:
        """What the forecaster asks of a ladder, rungs there are included."""
        if design is None:
            return False
        x = np.unique(np.concatenate([self.prospect.rungs, design.x]))
        wide = x[-1] - x[0] >= MIN_DECADES * math.log(10) * (1 - 1e-9)
        if not wide or len(x) < MIN_ELIGIBLE_RUNGS or np.diff(x).max() > math.log(MAX_STEP) + 1e-9:
            return False
        return bool(len(design.x) < 2 or np.diff(design.x).min() > math.log(MIN_STEP) - 1e-9)

    def _screen(self, design: Design) -> float:
        if design not in self.screened:
            self.screened[design] = self.prospect.screen(design)
        return self.screened[design]

    def _improve(self, design: Design, budget: float) -> Design:
        for _ in range(ROUNDS):
            neighbours = [one for one in self._neighbours(design, budget) if self._valid(one)]
            if not neighbours:
                break
            best = min(neighbours, key=self._screen)
            if self._screen(best) > self._screen(design) * (1 - GAIN):
                break
            design = best
        return design

    def _neighbours(self, design: Design, budget: float) -> Iterator[Design | None]:
        """One rung's seeds or place changed, or the bottom."""
        bottom, seeds = design.compute_flops[0], design.seeds
        span = max(float(design.x[-1] - design.x[0]), 1e-9)
        places = tuple((design.x - design.x[0]) / span)
        for at in range(len(seeds)):
            for change in (-1, 1):
                if 1 <= seeds[at] + change <= MAX_SEEDS:
                    changed = (*seeds[:at], seeds[at] + change, *seeds[at + 1 :])
                    yield self._stretch(bottom, places, changed, budget)
            if 0 < at < len(seeds) - 1:
                for share in (1 / 3, 2 / 3):
                    moved = places[at - 1] + share * (places[at + 1] - places[at - 1])
                    yield self._stretch(
                        bottom, (*places[:at], moved, *places[at + 1 :]), seeds, budget
                    )
        for factor in (0.5, 2.0):
            if bottom * factor >= self.low * (1 - 1e-9):
                yield self._stretch(bottom * factor, places, seeds, budget)


def _expected_json(one: Expected, recommended: Sizes) -> dict[str, Any]:
    rungs: list[dict[str, Any]] = []
    for compute, seeds in zip(one.design.compute_flops, one.design.seeds, strict=True):
        size = recommended(compute)
        rungs.append({"compute_flops": compute, "seeds": seeds})
        if size is not None:
            rungs[-1] |= {"params": size.params, "tokens": size.tokens}
    return {
        "name": one.name,
        "rungs": rungs,
        "cost_flops": one.design.cost_flops,
        "extrapolation_ratio": one.extrapolation_ratio,
        **asdict(one.width),
    }
