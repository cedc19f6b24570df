"""Ledger world end to end, seed by seed: SFT, reward model, rules, PPO, and what each does.

Estimands: of the exact parser, on prompts drawn anew about things that were tuned on, things that
never were, and these in words that never were (`foresight.posttrain.conduct`).
The policy is tuned against a *trained* grader. Intervals over prompts; below, the mean over seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console

from foresight.posttrain.chain import Chain, ChainSettings, Outcome
from foresight.posttrain.conduct import GROUPS
from foresight.posttrain.tuning import read_settings
from foresight.report.posttraining_chapter import posttraining_tables
from foresight.views import show, show_table
from foresight.views.tuning import tuning_stages


def summary(outcomes: list[Outcome]) -> list[list[str]]:
    """Least, mean and largest over seeds of what is asked of the arm with rules."""
    rows = []
    for name in GROUPS:
        groups = [
            (one.arms[1].conduct.groups[name], arm.conduct.groups[name])
            for one in outcomes
            for arm in one.arms
            if arm.name == f"ppo-rules-{one.settings.ppo.beta:g}"
        ]
        figures: dict[str, list[float]] = {
            "disallowed in the desired style": [now.sets[0].desired.mean for _, now in groups],
            "look-alikes refused": [
                max(row.refused.mean for row in now.sets[1:3]) for _, now in groups
            ],
            "win rate": [now.win_rate.mean for _, now in groups if now.win_rate],
            "its lower end": [now.win_rate.low or 0 for _, now in groups if now.win_rate],
        }
        for at in (1, 2, 3):
            figures[f"right answers, {groups[0][1].sets[at].prompt_set}, minus before"] = [
                now.sets[at].good.mean - before.sets[at].good.mean for before, now in groups
            ]
        rows += [
            [
                f"{name}: {figure}",
                *(f"{value:.3f}" for value in (min(all_), fmean(all_), max(all_))),
            ]
            for figure, all_ in figures.items()
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="Run of the recipe `ledger`.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--settings", type=Path, help="YAML of ChainSettings.")
    parser.add_argument("--pictured", action="store_true")
    parser.add_argument("--name", default="posttrain", help="Folders are NAME-SEED.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, outcomes = Console(width=140), []
    given: dict[str, Any] = {"pictured": True} if options.pictured else {}
    for seed in options.seeds:
        settings = read_settings(ChainSettings, options.settings, seed=seed, **given)
        folder = options.base.resolve().parents[1] / f"{options.name}-{seed}"
        with tuning_stages(console) as watch:
            outcomes.append(Chain(options.base, folder, settings, watch).run())
        show(console, *posttraining_tables(outcomes[-1]))
    columns = ["over seeds", "least", "mean", "largest"]
    show_table(console, f"{len(outcomes)} seeds", columns, summary(outcomes))


if __name__ == "__main__":
    main()
