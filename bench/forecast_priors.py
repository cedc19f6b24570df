"""The priors of `foresight.forecast`, learned from public ladders, and with each source left out.

Type-II maximum likelihood: over a grid of priors (exponent's median and spread, Beta of the
floor's share), the log marginal likelihood of every ladder, cut at 1, 1/10 and 1/100 of its
largest compute, with the three laws that have a floor weighing the same; averaged within a
source, summed over sources. Printed are the means over the grid, weighed by that likelihood
(taken as it is, one source one vote). Writes `forecast_priors.json`, which `forecast.py` reads.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from foresight.forecast import Row, RunTable, frontier
from foresight.forecast.law import FADING, FLOOR, OFFSET
from foresight.forecast.posterior import fit_posterior
from foresight.forecast.priors import Prior
from foresight.forecast.rungs import Rungs, gather

sys.path.insert(0, str(Path(__file__).parent))
from forecast_families import families, rows_of

WHERE = Path(__file__).parent / "forecast_priors.json"
MEDIANS, SPREADS = (0.11, 0.14, 0.18), (0.15, 0.3, 0.5)
FLOORS = ((1, 1), (2, 2), (2, 1), (3, 2), (4, 3), (6, 4), (8, 6))
CUTS = (1, 10, 100)


def ladders(folder: Path) -> list[tuple[str, Rungs]]:
    """(source, rungs) of every family at every cut. Pythia is left out: its tokens are fixed."""
    found = []
    for family in families(folder):
        if family.trap == "fixed_tokens":
            continue
        top = frontier(rows_of(family))[-1].compute_flops
        for k in CUTS:
            points = frontier(rows_of(family.below(top / k)))
            if len(points) >= 4:
                rows = [Row(str(i), p.compute_flops, p.loss, sigma=p.sigma)
                        for i, p in enumerate(points)]  # fmt: skip
                found.append((family.source, gather(RunTable(tuple(rows)).rows)))
    return found


def log_evidence(rungs: Rungs, prior: Prior) -> float:
    scores = np.array(
        [fit_posterior(form, rungs, prior).log_evidence for form in (FLOOR, OFFSET, FADING)]
    )
    return float(np.log(np.exp(scores - scores.max()).mean()) + scores.max())


def mean_prior(grid: list[Prior], log_likelihood: np.ndarray) -> Prior:
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()

    def mean(values: list[float]) -> float:
        return float(weight @ np.array(values))

    share = mean([p.floor_alpha / (p.floor_alpha + p.floor_beta) for p in grid])
    size = mean([p.floor_alpha + p.floor_beta for p in grid])
    return Prior(
        round(math.exp(mean([math.log(p.exponent_median) for p in grid])), 3),
        round(mean([p.exponent_sd_log for p in grid]), 2),
        round(share * size, 1),
        round((1 - share) * size, 1),
    )


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/scaling")
    grid = [Prior(m, s, *f) for m, s, f in itertools.product(MEDIANS, SPREADS, FLOORS)]
    data = ladders(folder)
    sources = sorted({source for source, _ in data})
    table = np.array([
        [log_evidence(rungs, prior) for prior in grid]
        for _, rungs in track(data, description="evidence of each ladder")
    ])  # fmt: skip
    votes = {
        source: table[[i for i, (name, _) in enumerate(data) if name == source]].mean(axis=0)
        for source in sources
    }
    total = np.sum(list(votes.values()), axis=0)
    learned = {"": mean_prior(grid, total)}
    learned |= {source: mean_prior(grid, total - vote) for source, vote in votes.items()}
    for source, prior in learned.items():
        print(f"{'without ' + source if source else 'all sources':24} {prior}")
    WHERE.write_text(json.dumps({name: prior.__dict__ for name, prior in learned.items()}, indent=1)
                     + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
