"""Do designed ladders keep their promise? Promised against realised width of the 95 % interval.

Truths and their roughness are drawn from the priors; a pilot of four rungs is trained (simulated),
`plan_ladder` plans the rest of the budget, the planned runs are simulated under the truth, and the
table is fitted as any is. The estimand is the ratio of realised to promised half-width, a geometric
mean over truths; beside it the same for the plain ladder (equal spacing, one seed).
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
from rich.progress import track

from foresight.forecast import PowerLaw, Row, RunTable, fit, plan_ladder
from foresight.forecast.posterior import JITTER_SCALE
from foresight.forecast.priors import LEARNED
from foresight.forecast.prospect import Design

TOP, BUDGET, TARGET = 1e19, 2e20, 1e21
NOISE = 0.001


def half_width(rows: list[Row]) -> float:
    found = fit(RunTable(tuple(rows))).predict(TARGET, force=True)
    assert found.intervals is not None
    return math.log(found.intervals[95][1] / found.intervals[95][0]) / 2


def train(
    law: PowerLaw, design: Design, jitter: float, rng: np.random.Generator, name: str
) -> list[Row]:
    rows = []
    for compute, seeds in zip(design.compute_flops, design.seeds, strict=True):
        common = math.log(float(law(compute))) + jitter * rng.normal()
        rows += [
            Row(
                f"{name}{compute:.3e}/{s}", compute, math.exp(common + NOISE * rng.normal()), seed=s
            )
            for s in range(seeds)
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--truths", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    cases = []
    for number in track(range(wanted.truths), description="truths"):
        rng = np.random.default_rng(number)
        b = LEARNED.exponent_median * math.exp(LEARNED.exponent_sd_log * rng.normal())
        share = rng.beta(LEARNED.floor_alpha, LEARNED.floor_beta)
        law = PowerLaw(3 * (1 - share) * TOP**b, b, 3 * share)
        jitter = abs(JITTER_SCALE * rng.normal())
        pilot = train(law, Design(tuple(float(c) for c in np.geomspace(TOP / 100, TOP, 4)),
                                  (1, 1, 1, 1)), jitter, rng, "pilot")  # fmt: skip
        plan = plan_ladder(BUDGET, TARGET, fitted=fit(RunTable(tuple(pilot))))
        best = plan.designs[0]
        cases.append(
            {
                "now": plan.now,
                "promised": best.width.half_width95,
                "realised": half_width(pilot + train(law, best.design, jitter, rng, "best")),
                "promised_plain": plan.equal.width.half_width95,
                "realised_plain": half_width(
                    pilot + train(law, plan.equal.design, jitter, rng, "plain")
                ),
            }
        )
    logs = {key: np.log([case[key] for case in cases]) for key in cases[0]}
    kept = logs["realised"] - logs["promised"]
    plain = logs["realised_plain"] - logs["promised_plain"]
    result = {
        "truths": len(cases),
        "realised_over_promised": math.exp(float(kept.mean())),
        "standard_error_of_log": float(kept.std(ddof=1) / math.sqrt(len(cases))),
        "plain_realised_over_promised": math.exp(float(plain.mean())),
        "best_over_plain_realised": math.exp(
            float((logs["realised"] - logs["realised_plain"]).mean())
        ),
        "cases": cases,
    }
    if wanted.json:
        print(json.dumps(result, indent=1))
        return
    for case in cases:
        print("  ".join(f"{key} {100 * value:.2f} %" for key, value in case.items()))
    for key, value in result.items():
        if isinstance(value, float):
            print(f"{key}: {value:.2f}")


if __name__ == "__main__":
    main()
