"""Coverage of capability forecasts on simulated families whose true pass rates are known.

Each suite is a table of counts of 60 problems by 6 models over 3 decades, 5 to 100 samples each;
the target is 3 to 1,000 times the largest model. Scored: does the true value of the target lie in
the 50/80/95 % interval? Truths:

- `prior`: every parameter but the mean level drawn from the model's own prior (are the numerics
  right?);
- `law`: -log p of every problem an exact power law with a shared jitter and scatter of its own;
- `bimodal`: the same, difficulties in two clumps;
- `logistic`: the log odds of passing are linear in log compute (item response theory);
- `heavy`: the law, but deviations of models and problems are Student t with 3 degrees.

And the error that a naive assignment makes: buckets by the same samples whose mean is shown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from foresight.forecast.buckets import ASIDE, assign_buckets
from foresight.forecast.capability import fit_capability
from foresight.forecast.capability_backtest import stretched
from foresight.forecast.counts import Counts
from foresight.forecast.likelihood_table import log_power
from foresight.forecast.pass_law import PRIOR, Bend, scatter_of

TRUTHS = ("prior", "law", "bimodal", "logistic", "heavy")
LEVELS = (50, 80, 95)
PROBLEMS, MODELS, BUCKETS, K = 60, 6, 6, 10


@dataclass(frozen=True)
class Suite:
    """Counts, the true log pass rates (P, M) behind them, and the target's (P,)."""

    counts: Counts
    log_rate: np.ndarray
    target: float
    truth: np.ndarray


def simulate(kind: str, seed: int, problems: int = PROBLEMS, models: int = MODELS) -> Suite:
    rng = np.random.default_rng([TRUTHS.index(kind), seed])
    compute = 10 ** np.linspace(18, 21, models)
    target = float(compute[-1] * 10 ** rng.uniform(0.5, 3.0))
    u = np.log([*compute, target]) - np.log(compute).mean()
    log_rate = _truth(kind, rng, problems, Bend.over(u[:-1]))
    logs = np.stack([log_rate(one) for one in u], axis=1)
    samples = int(rng.choice([5, 10, 20, 50, 100]))
    passes = rng.binomial(samples, np.exp(logs[:, :-1]))
    none = np.zeros_like(passes)
    counts = Counts(
        tuple(map(str, range(problems))), tuple(map(str, range(models))), compute, passes,
        np.full_like(passes, samples), none, none,
    )  # fmt: skip
    return Suite(counts, logs[:, :-1], target, logs[:, -1])


def _truth(
    kind: str, rng: np.random.Generator, problems: int, shape: Bend
) -> Callable[[float], np.ndarray]:
    """A function of u = ln C that draws one model's log pass rates (P,)."""

    def normal(size: int | None = None) -> np.ndarray:
        # Student t with 3 degrees has variance 3.
        heavy = rng.standard_t(3, size) / math.sqrt(3)
        return np.asarray(heavy if kind == "heavy" else rng.standard_normal(size))

    if kind == "prior":
        drawn = {name: rng.normal(*pair) for name, pair in PRIOR.items()}
        tau, kappa, jitter = (math.exp(drawn[f"log_{n}"]) for n in ("tau", "kappa", "jitter"))
        scatter = scatter_of(drawn["log_scatter"])
        link = math.exp(drawn["log_link"])
        mu, k = rng.uniform(-0.5, 1.5), math.exp(drawn["log_exponent"])  # mu: neither all nor none
        level = rng.normal(mu, tau, problems)
        slope = k + drawn["coupling"] * (level - mu) + kappa * rng.standard_normal(problems)

        def eta(u: float) -> np.ndarray:
            steps = u - drawn["drift"] * max(u - shape.top, 0.0)
            return np.asarray(level - slope * steps + drawn["bend"] * shape.of(u))

        return lambda u: (
            -np.exp(
                log_power(eta(u) + jitter * rng.standard_normal(), link)[0]
                + scatter * rng.standard_normal(problems)
            )
        )
    jitter, scatter = rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.4)
    if kind == "logistic":
        ability, hard = rng.uniform(0.15, 0.4), rng.normal(rng.uniform(0, 2), 2.0, problems)
        return lambda u: (
            -np.logaddexp(
                0.0, hard - ability * u + 2 * jitter * normal() + 2 * scatter * normal(problems)
            )
        )
    k, middle = rng.uniform(0.1, 0.35), rng.uniform(0.0, 1.2)
    slope = k * np.exp(0.15 * rng.standard_normal(problems))
    level = rng.normal(middle, rng.uniform(0.6, 1.4), problems)
    if kind == "bimodal":
        level = middle + np.where(rng.random(problems) < 0.5, -1.0, 1.0) + 0.3 * normal(problems)
    return lambda u: -np.exp(level - slope * u + jitter * normal() + scatter * normal(problems))


def tail(drawn: np.ndarray, true: np.ndarray | float) -> np.ndarray:
    """Forecast probabilities (n,) below true values, from draws (draws, n); of ties half: rates
    of easy problems round to 1."""
    return np.asarray((drawn < true).mean(axis=0) + 0.5 * (drawn == true).mean(axis=0))


def score(suite: Suite) -> Iterator[tuple[str, np.ndarray]]:
    """Pairs of an estimand and the forecast probabilities below its true values."""
    counts = suite.counts
    found = fit_capability(counts, BUCKETS)
    if found.posterior is None:
        return
    draws, factor = found.posterior.log_pass_rate(suite.target), found.stretch(suite.target)
    of, everything = found.buckets.of, np.arange(len(suite.truth))
    groups = [("all problems", everything)]
    groups += [("bucket", np.flatnonzero(of == one)) for one in range(of.max() + 1)]
    groups += [("set aside", np.flatnonzero(of == ASIDE))]
    values = {
        "log pass rate": lambda logs: logs,
        "pass rate": np.exp,
        f"pass@{K}": lambda logs: -np.expm1(K * np.log1p(-np.minimum(np.exp(logs), 1 - 1e-12))),
    }
    never = counts.passes.sum(axis=1) == 0
    together = stretched(draws, everything, factor)
    for name, value in values.items():
        for group, inside in groups:
            if len(inside):
                mean = value(stretched(draws, inside, factor)[:, inside]).mean(axis=1)
                yield (
                    f"{group}: mean {name}",
                    tail(mean[:, None], value(suite.truth[inside]).mean()),
                )
        below = tail(value(together), value(suite.truth))
        yield f"single problem: {name}", below
        yield f"zero-pass problem: {name}", below[never]
    n = int(counts.samples[0, 0])
    rng = np.random.default_rng(int(counts.passes.sum()))
    seen = rng.binomial(n, np.exp(suite.truth)).mean() / n
    forecast = rng.binomial(n, np.exp(together)).mean(axis=1, keepdims=True) / n
    yield "all problems: observed pass rate", tail(forecast, seen)


def bias(kind: str, suites: int) -> dict[str, list[float]]:
    """Mean of observed less true mean pass rate by bucket, easiest first, over models and suites:
    shown by the samples that assigned, and by those that did not."""
    found: dict[str, list[list[float]]] = {"naive": [], "ours": []}
    for seed in range(suites):
        suite = simulate(kind, seed)
        counts, buckets = suite.counts, assign_buckets(suite.counts, BUCKETS)
        total = counts.passes.sum(axis=1)
        order = np.argsort(-total, kind="stable")
        order = order[total[order] > 0]
        naive = np.full(len(total), ASIDE)
        naive[order] = np.arange(len(order)) * BUCKETS // max(len(order), 1)
        rate, true = counts.passes / counts.samples, np.exp(suite.log_rate)
        for name, of in (("naive", naive), ("ours", buckets.of)):
            row = []
            for one in range(BUCKETS):
                inside = np.flatnonzero(of == one)
                shown = rate[inside].mean() if name == "naive" else buckets.observed(inside).mean()
                row.append(float(shown - true[inside].mean()))
            found[name].append(row)
    return {name: np.mean(rows, axis=0).tolist() for name, rows in found.items()}


def coverage(kind: str, suites: int, first: int = 0) -> tuple[dict[str, dict[str, float]], int]:
    """Percentage inside each interval and the number of values, by estimand; suites refused."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    refused = 0
    for seed in track(range(first, first + suites), description=kind, disable=None):
        scored = list(score(simulate(kind, seed)))
        refused += not scored
        for name, tails in scored:
            found[name].append(tails)
    table = {}
    for name, parts in found.items():
        tails = np.concatenate(parts)
        inside = {str(c): 100 * float((abs(tails - 0.5) < c / 200).mean()) for c in LEVELS}
        table[name] = inside | {"n": len(tails)}
    return table, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suites", type=int, default=300, help="simulated suites per truth")
    parser.add_argument("--truths", nargs="+", default=list(TRUTHS), choices=TRUTHS)
    parser.add_argument("--first", type=int, default=0, help="seed of the first suite")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    wanted = parser.parse_args()
    start = time.process_time()
    results = {kind: coverage(kind, wanted.suites, wanted.first) for kind in wanted.truths}
    seconds = (time.process_time() - start) / (wanted.suites * len(results))
    biases = {kind: bias(kind, wanted.suites) for kind in wanted.truths}
    if wanted.json:
        tables = {kind: table for kind, (table, _) in results.items()}
        refusals = {kind: refused for kind, (_, refused) in results.items()}
        value = {
            "coverage": tables,
            "refused": refusals,
            "bias": biases,
            "seconds_per_suite": seconds,
        }
        print(json.dumps(value, indent=1))
        return 0
    for kind, (table, refused) in results.items():
        print(f"\n{kind}: {wanted.suites} suites, {refused} of them refused; inside the "
              "50 / 80 / 95 % intervals, %")  # fmt: skip
        for name, row in table.items():
            shown = "".join(f"{row[str(level)]:7.1f}" for level in LEVELS)
            print(f"  {name:36}{shown}   n = {row['n']:,.0f}")
        for name, row in biases[kind].items():
            print(f"  bias of shown pass rates by bucket, points, {name:6}"
                  + "".join(f"{100 * one:+7.2f}" for one in row))  # fmt: skip
    print(f"\n{seconds:.2f} CPU seconds per suite")
    return 0


if __name__ == "__main__":
    sys.exit(main())
