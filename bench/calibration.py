"""Coverage of calibration errors, their changes and temperatures on models whose truth is known.

Questions of four options have logits from a normal distribution; the right option is drawn from
their softmax; the model states the softmax of the logits / T. Truths: calibrated (T = 1), T of .5,
.8, 1.5 and 2 (below 1: too sure), and `spike`: calibrated but for questions on which the likeliest
option is given more than .9, where it is right .2 less often. Questions alone, or in passages of
five that share logits and luck. The population's error at the sample's bin edges is read off a
million questions. Beside, for all options in bins of equal width: the percentile bootstrap of the
error as read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from rich.progress import track
from scipy import special

from foresight.evals.calibration import VIEWS, edges_of, gaps
from foresight.evals.choices import Choices
from foresight.evals.norm import Means, norm_difference, norm_intervals
from foresight.evals.temperature import fit_temperature

TRUTHS = ("1", "0.5", "0.8", "1.5", "2", "spike")
PAIRS = (("1", "0.6"), ("1", "1.5"), ("0.8", "0.6"), ("0.6", "1.5"), ("spike", "0.8"))
SIZES = (100, 300, 1000, 5000)
LEVELS = (0.5, 0.8, 0.95)
OPTIONS, PASSAGE, SHARED, SPREAD = 4, 5, 0.3, 1.5
POPULATION = 1_000_000


def drawn(rng: np.random.Generator, n: int, passages: bool) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 4), likeliest first, and luck (n,) in [0, 1]; correlated within passages."""
    size = PASSAGE if passages else 1

    def mixed(*shape: int) -> np.ndarray:
        common = rng.standard_normal((n // size, 1, *shape))
        own = rng.standard_normal((n // size, size, *shape))
        share = SHARED if passages else 0.0
        return (np.sqrt(share) * common + np.sqrt(1 - share) * own).reshape(n, *shape)

    return -np.sort(-SPREAD * mixed(OPTIONS), axis=1), special.ndtr(mixed())


def stated(logits: np.ndarray, truth: str) -> np.ndarray:
    """(n, 4) log-probabilities that the model gives."""
    return special.log_softmax(logits / (1.0 if truth == "spike" else float(truth)), axis=1)


def chances(logits: np.ndarray, truth: str) -> np.ndarray:
    """(n, 4) probabilities of being right."""
    p = special.softmax(logits, axis=1)
    if truth == "spike":
        less = np.where(p[:, 0] > 0.9, 0.2, 0.0)
        p = p + less[:, None] * np.array([-1.0, 1 / 3, 1 / 3, 1 / 3])
    return p


def choices_of(logits: np.ndarray, luck: np.ndarray, truth: str, world: str, size: int) -> Choices:
    """A model that states by `truth` in a world where the right option is drawn by `world`."""
    n = len(luck)
    target = (luck[:, None] > chances(logits, world).cumsum(axis=1)[:, :-1]).sum(axis=1)
    names = tuple((str(at), 0) for at in range(n))
    offered = np.ones(logits.shape, bool)
    return Choices(names, stated(logits, truth), offered, target, np.ones(n), np.arange(n) // size)


@dataclass
class Population:
    """Confidences in rising order and the sum of (chance - confidence) / number below each."""

    confidence: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, truth: str, world: str, options: str) -> Population:
        logits, _ = drawn(np.random.default_rng(99), POPULATION, False)
        p, q = np.exp(stated(logits, truth)), chances(logits, world)
        if options == "top":
            p, q = p[:, :1], q[:, :1]
        order = np.argsort(p, axis=None)
        below = np.cumsum((q - p).ravel()[order]) / p.size
        return cls(p.ravel()[order], np.concatenate([[0.0], below]))

    def error(self, edges: np.ndarray) -> float:
        at = np.searchsorted(self.confidence, edges[1:-1])
        return float(np.abs(np.diff(self.total[[0, *at, -1]])).sum())


@dataclass
class Tally:
    """Intervals that held the truth, by level; sums of errors of the estimates."""

    n: int = 0
    truth: float = 0.0
    read: float = 0.0
    debiased: float = 0.0
    held: np.ndarray = field(default_factory=lambda: np.zeros(len(LEVELS)))
    bootstrap: np.ndarray = field(default_factory=lambda: np.zeros(len(LEVELS)))

    def row(self, resampled: bool) -> dict[str, object]:
        return {
            "truth": round(self.truth / self.n, 4),
            "bias as read": round(self.read / self.n, 4),
            "bias debiased": round(self.debiased / self.n, 4),
            **{f"{100 * level:.0f}": round(share, 3)
               for level, share in zip(LEVELS, self.held / self.n, strict=True)},
            **{f"bootstrap {100 * level:.0f}": round(share, 3) if resampled else ""
               for level, share in zip(LEVELS, self.bootstrap / self.n, strict=True)},
        }  # fmt: skip


def score(tally: Tally, means: Means, truth: float) -> None:
    point, intervals = norm_intervals(means, LEVELS, draws=250)
    tally.n += 1
    tally.truth += truth
    tally.read += means.plug_in - truth
    tally.debiased += point - truth
    tally.held += [_holds(ends, truth) for ends in intervals]


def bootstrap(means: Means, truth: float, rng: np.random.Generator) -> list[bool]:
    """Whether quantiles of the errors as read, of clusters drawn again, hold the truth."""
    clusters = len(means.influence)
    weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), 100) - 1.0
    again = np.abs(means.value + weights @ means.influence).sum(axis=1)
    ends = [np.quantile(again, [(1 - level) / 2, (1 + level) / 2]) for level in LEVELS]
    return [_holds((low, high), truth) for low, high in ends]


def _holds(ends: tuple[float, float], truth: float) -> bool:
    # Sums of rounded numbers leave about 1e-16 where the truth is nought.
    return ends[0] <= truth + 1e-9 and truth <= ends[1] + 1e-9


def errors(simulations: int) -> Iterator[dict[str, object]]:
    for number, truth in enumerate(track(TRUTHS, "errors", disable=not sys.stderr.isatty())):
        populations = {o: Population.of(truth, truth, o) for o in ("all", "top")}
        for n in SIZES:
            for passages in (False, True):
                tallies = {view: Tally() for view in VIEWS}
                for seed in range(simulations):
                    rng = np.random.default_rng([1, number, n, passages, seed])
                    size = PASSAGE if passages else 1
                    some = choices_of(*drawn(rng, n, passages), truth, truth, size)
                    shares = some.probabilities()
                    for view in VIEWS:
                        true = populations[view[0]].error(edges_of(some, shares, *view))
                        means = gaps(some, shares, *view)
                        score(tallies[view], means, true)
                        if view == VIEWS[0]:
                            tallies[view].bootstrap += bootstrap(means, true, rng)
                for view, tally in tallies.items():
                    yield {"T": truth, "n": n, "passages": passages,
                           "options": view[0], "bins": view[1],
                           **tally.row(resampled=view == VIEWS[0])}  # fmt: skip


def changes(simulations: int) -> Iterator[dict[str, object]]:
    """Change of the error over all options, equal width, and the best temperature's interval."""
    for number, (before, after) in enumerate(PAIRS):
        world = "spike" if before == "spike" else "1"
        populations = [Population.of(one, world, "all") for one in (before, after)]
        for n in SIZES:
            for passages in (False, True):
                held, temperature, size = 0, 0, PASSAGE if passages else 1
                for seed in range(simulations):
                    rng = np.random.default_rng([2, number, n, passages, seed])
                    logits, luck = drawn(rng, n, passages)
                    both = [choices_of(logits, luck, one, world, size) for one in (before, after)]
                    pair = [gaps(one, one.probabilities(), "all", "width") for one in both]
                    edges = np.linspace(0.0, 1.0, 11)
                    true = populations[1].error(edges) - populations[0].error(edges)
                    found = norm_difference(pair[0], pair[1], draws=250)
                    assert found.low is not None and found.high is not None
                    held += found.low <= true <= found.high
                    fitted = fit_temperature(both[1])
                    assert fitted and fitted.low is not None and fitted.high is not None
                    temperature += fitted.low <= 1 / float(after) <= fitted.high
                yield {"before": before, "after": after, "n": n, "passages": passages,
                       "truth": round(true, 4), "change 95": held / simulations,
                       "temperature 95": (None if world == "spike" else
                                          temperature / simulations)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    arguments = parser.parse_args()
    for rows in (errors, changes):
        head = True
        for row in rows(arguments.simulations):
            if arguments.json:
                line = json.dumps(row)
            else:
                if head:
                    print("\n" + "\t".join(row))
                line = "\t".join(map(str, row.values()))
            head = False
            print(line, flush=True)


if __name__ == "__main__":
    main()
