"""Capability forecasts from counts: pass rates of buckets and problems at a larger compute.

The law of the GPT-4 report (section 3.2), -E_P[log pass_rate(C)] = level (C / C_top)^-k over the
problems P of a bucket, from a hierarchical binomial model of single problems (`pass_law`), with
intervals for what the larger model's true and observed rates will be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.buckets import ASIDE, Buckets, assign_buckets
from foresight.forecast.capability_backtest import (
    HiddenRung,
    backtests,
    stretch_of,
    stretched,
)
from foresight.forecast.codes import Reason, reasons_json, worst
from foresight.forecast.counts import Counts, Integers, log_pass_rate
from foresight.forecast.draws import Array, Estimate, rounded
from foresight.forecast.pass_law import ENOUGH, PassPosterior, fit_pass_law
from foresight.runs import sha256_json

MIN_MODELS, MIN_PROBLEMS, MIN_DECADES, MAX_RATIO = 4, 10, 1.5, 1e4
MAX_HALF_WIDTH = 0.15
MISSES = 1.5
"""A stretch of the intervals that is a reason to call the forecast wide."""


class CapabilityCode(Reason):
    """Machine-readable reasons of a verdict."""

    TOO_FEW_MODELS = f"fewer than {MIN_MODELS} models of distinct compute"
    TOO_FEW_PROBLEMS = f"fewer than {MIN_PROBLEMS} problems"
    SHORT_RANGE = f"the models span less than {MIN_DECADES} decades of compute"
    NO_PASSES = "no model passed any sample of any problem"
    NO_FAILURES = "every model passed every sample of every problem"
    FALLS_WITH_COMPUTE = "pass rates fall with compute: not the law of this forecast"
    RATIO_TOO_LARGE = f"the target is over {MAX_RATIO:.0e} times the largest model"
    WIDE_INTERVAL = (
        f"the 95 % interval of the mean pass rate is over "
        f"{100 * MAX_HALF_WIDTH:.0f} points either way"
    )
    BACKTEST_MISSES = (
        "models hidden from the law fell far outside its forecasts: the intervals are stretched"
    )
    ROUGH_INTERVALS = ("rough_intervals", f"the ends of the intervals rest on under {ENOUGH} draws")


REFUSING = frozenset(CapabilityCode) - {
    CapabilityCode.WIDE_INTERVAL,
    CapabilityCode.BACKTEST_MISSES,
    CapabilityCode.ROUGH_INTERVALS,
}


@dataclass(frozen=True)
class GroupForecast:
    """One bucket, one problem, the set-aside problems, or all problems, at the target.

    `mean_log_pass_rate`: mean over the problems of the log of the target's true pass rate (nats);
    `pass_rate`: mean true pass rate, which is what an evaluation is expected to show;
    `pass_at`: mean chance that one of k samples passes; `observed`: mean pass rate that an
    evaluation with n samples per problem will show, binomial noise included;
    `observed_log`: likewise the mean of `log_pass_rate` of each problem's counts, which unlike the
    first can be observed and so be wrong.
    """

    name: str
    problems: int
    mean_log_pass_rate: Estimate
    pass_rate: Estimate
    pass_at: Estimate
    observed: Estimate
    observed_log: Estimate


@dataclass(frozen=True)
class CapabilityForecast:
    """What is expected of one model at `compute_flops`; without groups if refused.

    `k` and `samples` are those of pass@k and of `observed`. `groups`: all problems, the buckets
    from the easiest, and the problems set aside; `by_problem`: every problem in the table's order.
    """

    compute_flops: float
    ratio: float
    k: int
    samples: int
    verdict: str
    reasons: tuple[CapabilityCode, ...]
    groups: tuple[GroupForecast, ...] = ()
    by_problem: tuple[GroupForecast, ...] = ()


@dataclass(frozen=True)
class BucketLaw:
    """-E log pass rate = level (C / C_top)^-exponent over the fitted computes, C_top the largest
    fitted one; `observed` (M,): mean pass rate by model in samples that assigned no problem."""

    name: str
    problems: tuple[str, ...]
    level: Estimate
    exponent: Estimate
    observed: tuple[float | None, ...]


@dataclass(frozen=True)
class Capability:
    """Counts, their buckets, and the fitted law; `posterior` is None if the counts refuse one.
    `hidden`: rolling back-tests, which say how much intervals beyond the ladder are stretched."""

    counts: Counts
    buckets: Buckets
    posterior: PassPosterior | None
    hidden: tuple[HiddenRung, ...]
    reasons: tuple[CapabilityCode, ...]

    def stretch(self, compute_flops: float) -> float:
        """Factor on the intervals at a compute: that of the back-tests as far beyond the ladder as
        they went, 1 inside it."""
        far = math.log(max(compute_flops / float(self.counts.compute[-1]), 1.0))
        tested = max((math.log(rung.ratio) for rung in self.hidden), default=1.0)
        return 1 + (stretch_of(self.hidden) - 1) * min(1.0, far / tested)

    def predict(
        self,
        compute_flops: float,
        *,
        k: int = 1,
        samples: int | None = None,
        seed: int = 0,
        by_problem: bool = True,
    ) -> CapabilityForecast:
        """Forecast one model at a compute, in FLOPs, with pass@k and with so many samples per
        problem (default: the most that the largest model has of any problem). Without
        `by_problem` only groups are forecast, in a fraction of the time.

        Raises UserError if the compute is not a finite positive number, or k or samples is not
        at least 1.
        """
        if not (math.isfinite(compute_flops) and compute_flops > 0):
            raise UserError(f"target compute {compute_flops}: expected a finite number above 0")
        many = int(self.counts.samples[:, -1].max()) if samples is None else samples
        if k < 1 or many < 1:
            raise UserError(f"k = {k}, samples = {many}: expected whole numbers of at least 1")
        ratio = compute_flops / float(self.counts.compute[-1])
        reasons = self.reasons
        if ratio > MAX_RATIO:
            reasons = (*reasons, CapabilityCode.RATIO_TOO_LARGE)
        if self.posterior is None or REFUSING & set(reasons):
            return CapabilityForecast(compute_flops, ratio, k, many, "refused", reasons)
        drawn = self.posterior.log_pass_rate(compute_flops, seed)
        rng, factor = np.random.default_rng(seed + 1), self.stretch(compute_flops)
        found = []
        for name, inside in self.groups().items():
            rates = stretched(drawn, inside, factor)[:, inside]
            found.append(_forecast(name, rates, rng.binomial(many, np.exp(rates)), k, many))
        groups = tuple(found)
        low, high = groups[0].pass_rate.intervals[95]
        if (high - low) / 2 > MAX_HALF_WIDTH:
            reasons = (*reasons, CapabilityCode.WIDE_INTERVAL)
        log_rate = stretched(drawn, np.arange(drawn.shape[1]), factor)
        counted = rng.binomial(many, np.exp(log_rate))
        singles = tuple(
            _forecast(name, log_rate[:, [at]], counted[:, [at]], k, many)
            for at, name in enumerate(self.counts.problems if by_problem else ())
        )
        return CapabilityForecast(
            compute_flops, ratio, k, many, _verdict(reasons), reasons, groups, singles
        )

    def groups(self) -> dict[str, NDArray[np.intp]]:
        """Indices of the problems of every group that is not empty."""
        of = self.buckets.of
        found = {"all": np.arange(len(of))}
        found |= {
            f"bucket {one + 1}": np.flatnonzero(of == one) for one in range(self.buckets.count)
        }
        found["set aside"] = np.flatnonzero(of == ASIDE)
        return {name: inside for name, inside in found.items() if len(inside)}

    def laws(self) -> tuple[BucketLaw, ...]:
        """The law of every group over the fitted computes; empty if nothing was fitted."""
        if self.posterior is None:
            return ()
        curves = np.stack([self.posterior.law(one) for one in self.counts.compute], axis=2)
        x = np.log(self.counts.compute / self.counts.compute[-1])
        laws = []
        for name, inside in self.groups().items():
            y = np.log(-curves[:, inside].mean(axis=1))  # (draws, M)
            slope = (
                (y - y.mean(axis=1, keepdims=True)) @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
            )
            level = np.exp(y.mean(axis=1) - slope * x.mean())
            names = tuple(self.counts.problems[at] for at in inside)
            observed = tuple(
                None if math.isnan(one) else float(one) for one in self.buckets.observed(inside)
            )
            laws.append(BucketLaw(name, names, Estimate.of(level), Estimate.of(-slope), observed))
        return tuple(laws)


@dataclass(frozen=True)
class CapabilityAnswer:
    """The answer to `foresight capability COUNTS`: the fit, and forecasts at the computes asked
    for."""

    fitted: Capability
    forecasts: tuple[CapabilityForecast, ...]

    @property
    def verdict(self) -> str:
        """The worst of the forecasts' verdicts; without any, that of the counts themselves."""
        return worst([one.verdict for one in self.forecasts] or [_verdict(self.fitted.reasons)])

    @property
    def reasons(self) -> list[CapabilityCode]:
        return sorted({*self.fitted.reasons, *(c for one in self.forecasts for c in one.reasons)})

    @property
    def refused(self) -> bool:
        return self.verdict == "refused"

    def to_json(self) -> dict[str, Any]:
        """Same counts, same code, same bytes. A refused answer has no `at`."""
        counts, buckets = self.fitted.counts, self.fitted.buckets
        value: dict[str, Any] = {"verdict": self.verdict, "reasons": reasons_json(self.reasons)}
        if not self.refused:
            value["at"] = [
                asdict(one) | {"reasons": [code.code for code in one.reasons]}
                for one in self.forecasts
            ]
        value |= {
            "laws": [asdict(law) for law in self.fitted.laws()],
            "backtest": {
                "stretch": stretch_of(self.fitted.hidden),
                "hidden": [asdict(rung) for rung in self.fitted.hidden],
            },
            "models": [
                {"model": name, "compute_flops": float(compute)}
                for name, compute in zip(counts.models, counts.compute, strict=True)
            ],
            "provenance": {
                "problems": len(counts.problems),
                "samples": int(counts.samples.sum()),
                "assigned_by": buckets.method,
                "effective_draws": self.fitted.posterior and self.fitted.posterior.effective,
                "remarks": list(counts.remarks),
                "counts_sha256": sha256_json(
                    [counts.problems, counts.models, counts.compute.tolist(),
                     counts.passes.tolist(), counts.samples.tolist(),
                     counts.assign_passes.tolist(), counts.assign_samples.tolist()]
                ),
            },
        }  # fmt: skip
        return rounded(value)


def capability(
    counts: Counts,
    computes: Sequence[float] = (),
    *,
    buckets: int = 6,
    k: int = 1,
    samples: int | None = None,
    seed: int = 0,
) -> CapabilityAnswer:
    """Fit counts and forecast a model at each compute, in FLOPs. `seed` deals samples to the
    halves of the assignment and drives the draws.

    Raises UserError for fewer problems than buckets, or as `Capability.predict`.
    """
    found = fit_capability(counts, buckets, seed)
    made = (found.predict(one, k=k, samples=samples, seed=seed) for one in computes)
    return CapabilityAnswer(found, tuple(made))


def fit_capability(counts: Counts, buckets: int = 6, seed: int = 0) -> Capability:
    """Assign buckets, fit the law, and back-test it on the top rungs.

    The law is fitted to all counts, those that assigned the buckets too: a posterior given
    everything is not bent by a selection, and half of the samples forecast worse (`LOG.md`).
    Raises UserError for fewer problems than buckets.
    """
    assigned = assign_buckets(counts, buckets, seed)
    fitted = counts.with_all_samples()
    reasons = _reasons(fitted)
    if reasons:
        return Capability(fitted, assigned, None, (), reasons)
    posterior = _fit(fitted, seed)
    if float(np.median(posterior.slope.mean(axis=1))) <= 0:
        reasons = (*reasons, CapabilityCode.FALLS_WITH_COMPUTE)
    if posterior.effective < ENOUGH:
        reasons = (*reasons, CapabilityCode.ROUGH_INTERVALS)
    hidden = backtests(fitted, lambda below: _fit(below, seed), seed)
    if stretch_of(hidden) > MISSES:
        reasons = (*reasons, CapabilityCode.BACKTEST_MISSES)
    return Capability(fitted, assigned, posterior, hidden, reasons)


def _fit(counts: Counts, seed: int) -> PassPosterior:
    passes, samples = counts.passes.astype(np.float64), counts.samples.astype(np.float64)
    return fit_pass_law(passes, samples, counts.compute, seed)


def _reasons(counts: Counts) -> tuple[CapabilityCode, ...]:
    """What the counts themselves show, before anything is fitted."""
    reasons = []
    if len(set(counts.compute)) < MIN_MODELS:
        reasons.append(CapabilityCode.TOO_FEW_MODELS)
    if len(counts.problems) < MIN_PROBLEMS:
        reasons.append(CapabilityCode.TOO_FEW_PROBLEMS)
    if math.log10(counts.compute[-1] / counts.compute[0]) < MIN_DECADES:
        reasons.append(CapabilityCode.SHORT_RANGE)
    if not counts.passes.any():
        reasons.append(CapabilityCode.NO_PASSES)
    if (counts.passes == counts.samples).all():
        reasons.append(CapabilityCode.NO_FAILURES)
    return tuple(reasons)


def _forecast(name: str, log_rate: Array, counted: Integers, k: int, samples: int) -> GroupForecast:
    """`log_rate` and `counted` passes of so many samples: draws by problems of the group."""
    rate = np.exp(log_rate)
    # 1 - (1 - p)^k without losing p << 1.
    at_k = -np.expm1(k * np.log1p(-np.minimum(rate, 1 - 1e-12)))
    log_seen = log_pass_rate(counted, samples)
    draws = (log_rate, rate, at_k, counted / samples, log_seen)
    return GroupForecast(name, log_rate.shape[1], *(Estimate.of(one.mean(axis=1)) for one in draws))


def _verdict(reasons: Sequence[CapabilityCode]) -> str:
    if REFUSING & set(reasons):
        return "refused"
    return "wide" if reasons else "forecast"
