"""Pass rates of finished experiments, forecast again by today's law and without its drift.

Each experiment's ladder is fitted as it was, its target forecast from it, and the mean log pass
rate of every difficulty bucket (and of the problems set aside) compared with what the target did,
both as drawn with the target's samples. The estimand is the share of such groups inside the 50, 80
and 95 % intervals. Groups of one suite share a law and a target: they are far from independent. An
experiment that a prior was learned from is in sample.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from foresight.evals.suite_forecast import evidence_of
from foresight.experiment import Experiment
from foresight.forecast.buckets import ASIDE
from foresight.forecast.capability import Capability, fit_capability
from foresight.forecast.capability_backtest import stretched
from foresight.forecast.counts import Counts, log_pass_rate, read_counts

LEVELS = (50, 80, 95)


def groups(fitted: Capability, target: Counts) -> list[list[bool]]:
    """Of every group, whether the target's mean log pass rate is inside each interval."""
    rng = np.random.default_rng(0)
    order = [target.problems.index(name) for name in fitted.counts.problems]
    passes, samples = target.passes[order, 0], target.samples[order, 0]
    compute = float(target.compute[0])
    assert fitted.posterior is not None, "refused counts are left out"
    drawn = fitted.posterior.log_pass_rate(compute)
    factor, found = fitted.stretch(compute), []
    for bucket in [*range(int(fitted.buckets.of.max()) + 1), ASIDE]:
        at = np.flatnonzero(fitted.buckets.of == bucket)
        if not len(at):
            continue
        rates = np.exp(stretched(drawn, at, factor)[:, at])
        told = log_pass_rate(rng.binomial(samples[at], rates), samples[at]).mean(axis=1)
        rank = np.mean(told < log_pass_rate(passes[at], samples[at]).mean())
        found.append([bool(abs(rank - 0.5) < level / 200) for level in LEVELS])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", type=Path, nargs="+", help="directories of finished demos")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    inside: dict[str, list[list[bool]]] = {"as it is": [], "without drift": []}
    for directory in wanted.experiments:
        experiment = Experiment.open(directory)
        trained = experiment.recipe.ladder.trained_targets
        run = experiment.targets[trained - 1]
        for name in experiment.recipe.ladder.suites:
            if not evidence_of(directory, name).exists():
                continue
            suite = directory / "suites" / name
            fitted = fit_capability(read_counts(suite / "ladder.jsonl"), 6)
            target = read_counts(suite / f"{run.path.name}.jsonl", min_models=1)
            if fitted.posterior is None:
                print(f"{directory.name}, {name}: refused ({', '.join(fitted.reasons)})")
                continue
            still = np.zeros_like(fitted.posterior.drift)
            without = replace(fitted, posterior=replace(fitted.posterior, drift=still))
            for law, fit in (("as it is", fitted), ("without drift", without)):
                inside[law] += (rows := groups(fit, target))
                if not wanted.json:
                    shares = ", ".join(f"{sum(row[at] for row in rows)} inside {level} %"
                                       for at, level in enumerate(LEVELS))  # fmt: skip
                    print(f"{directory.name}, {name}, {law}: of {len(rows)} groups {shares}")
    table = {
        law: {
            str(level): float(np.mean([row[at] for row in rows])) for at, level in enumerate(LEVELS)
        }
        | {"n": len(rows)}
        for law, rows in inside.items()
    }
    print(json.dumps(table, indent=2) if wanted.json else "\n".join(
        f"{law}: " + " / ".join(f"{100 * row[str(level)]:.0f}" for level in LEVELS)
        + f" % of {row['n']} groups inside 50 / 80 / 95 %" for law, row in table.items()
    ))  # fmt: skip


if __name__ == "__main__":
    main()
