"""Rolling back-tests of the pass-rate law: the top rungs hidden, forecast from those below.

A law can be right in form and its posterior exact, and the next decade of training still bring a
change that no smaller model shows. How much the intervals must give is read from the ladder itself,
as for losses (`backtest`): standardised errors of hidden rungs, of thirds of the problems by the
difficulty that the smaller models say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.forecast.counts import Counts, log_pass_rate
from foresight.forecast.draws import Array
from foresight.forecast.pass_law import PassPosterior

SAME_RUNG = 0.05
"""Models whose ln C differ by less are one rung."""
RUNGS_BELOW, CUTS = 3, 2
"""Least rungs that forecast a hidden one, and how many of the top rungs are hidden in turn."""
THIRDS = 3
DOUBT = 2.0
"""Weight of the posterior's own word, in back-tests."""
STRETCH = (1.0, 4.0)
"""Bounds of the factor: as few back-tests as a ladder has must not say everything."""


@dataclass(frozen=True)
class HiddenRung:
    """A rung forecast from those below, `ratio` times the largest of them: standardised errors of
    log(-mean log pass rate) of thirds of the problems, the easiest first; positive: worse than
    forecast."""

    compute_flops: float
    models: int
    ratio: float
    z: tuple[float, ...]


def backtests(
    counts: Counts, fit: Callable[[Counts], PassPosterior], seed: int
) -> tuple[HiddenRung, ...]:
    """The top rungs hidden in turn, the highest first; as many as the ladder can spare."""
    starts = [0, *(np.flatnonzero(np.diff(np.log(counts.compute)) > SAME_RUNG) + 1).tolist()]
    ends = [*starts[1:], len(counts.compute)]
    found = []
    for rung in range(len(starts) - 1, max(RUNGS_BELOW, len(starts) - CUTS) - 1, -1):
        below = counts.take_models(slice(None, starts[rung]))
        hidden = counts.take_models(slice(starts[rung], ends[rung]))
        if below.passes.any() and (hidden.samples > 0).all(axis=1).sum() >= THIRDS:
            found.append(_hidden(below, hidden, fit(below), seed))
    return tuple(found)


def _hidden(below: Counts, hidden: Counts, posterior: PassPosterior, seed: int) -> HiddenRung:
    compute = float(hidden.compute[0])
    order = np.argsort(-posterior.law(compute).mean(axis=0))
    rng = np.random.default_rng(seed)
    drawn = [
        log_pass_rate(
            rng.binomial(samples, np.exp(posterior.log_pass_rate(float(c), seed + at))), samples
        )
        for at, (c, samples) in enumerate(zip(hidden.compute, hidden.samples.T, strict=True))
    ]
    seen = log_pass_rate(hidden.passes, hidden.samples)
    z = []
    for third in np.array_split(order[(hidden.samples[order] > 0).all(axis=1)], THIRDS):
        forecast = np.mean([np.log(-one[:, third].mean(axis=1)) for one in drawn], axis=0)
        observed = float(np.log(-seen[third].mean(axis=0)).mean())
        z.append((observed - float(np.median(forecast))) / float(forecast.std()))
    ratio = compute / float(below.compute[-1])
    return HiddenRung(compute, len(hidden.compute), ratio, tuple(z))


def stretch_of(rungs: tuple[HiddenRung, ...]) -> float:
    """Factor by which intervals beyond the ladder are to be wider than the posterior's."""
    squares = sum(float(np.mean(np.square(rung.z))) for rung in rungs)
    return float(np.clip(np.sqrt((DOUBT + squares) / (DOUBT + len(rungs))), *STRETCH))


def stretched(log_rate: Array, inside: NDArray[np.intp], factor: float) -> Array:
    """Draws (draws, P) of log pass rates whose common deviation over the problems `inside` is
    `factor` times as large; the problems' own deviations stay."""
    x = np.log(np.maximum(-log_rate, 1e-12))
    off = x[:, inside] - np.median(x[:, inside], axis=0)
    return np.asarray(-np.exp(x + (factor - 1) * off.mean(axis=1, keepdims=True)))
