"""Seconds of a step and peak memory of SFT, reward model and PPO at larger models, by width alone.

Estimand: median wall seconds over a few steps after the first, on this machine with two threads, of
random weights (what a step costs does not depend on them); peak resident memory of a process that
does that stage and nothing else. PPO: 16 prompts x 2 answers of 24 tokens, 1 epoch of 2 steps.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console

from foresight.data.tokenizer import Tokenizer
from foresight.model.decoder import Decoder
from foresight.posttrain import ledger as chats
from foresight.posttrain.conversations import Pair
from foresight.posttrain.pairs import encode_pairs
from foresight.posttrain.ppo import PPO, PPOSettings
from foresight.posttrain.reward_model import LearnedReward, RewardSettings, RewardTraining
from foresight.posttrain.scalar_model import ScalarModel
from foresight.posttrain.sft import SFT, SFTSettings, encode_demonstrations
from foresight.recipe import Recipe, RunSpec
from foresight.training.loop import Stepper
from foresight.views import show_table
from foresight.worlds import ledger

STAGES = ("sft", "reward", "ppo")
_STEPS = 3


def spec_of(parameters: float) -> RunSpec:
    """The recipe's model whose number of parameters is nearest."""
    recipe = Recipe.named("ledger")
    widths = range(64, 4096, recipe.architecture.head_dim)
    width = min(widths, key=lambda one: abs(recipe.shape(one).params - parameters))
    return recipe.at(1e15, 0, width=width)


def stage_of(name: str, model: Decoder, tokenizer: Tokenizer) -> Stepper:
    shape, rng = model.spec.shape, np.random.default_rng(0)
    if name == "sft":
        read = list(chats.demonstrations(0, 800))
        encoded = encode_demonstrations(read, tokenizer, shape.patch, shape.context)
        return SFT(model, encoded, SFTSettings(epochs=4))
    scalar = ScalarModel(model.spec)
    if name == "reward":
        pairs = [
            Pair(one.id, one.messages, ledger.content(one.meta["query"], rng), "No.")
            for one in chats.prompts(0, 512, True)
        ]
        encoded_pairs = encode_pairs(pairs, tokenizer, shape.patch, shape.context)
        return RewardTraining(scalar, encoded_pairs, RewardSettings(epochs=8))
    settings = PPOSettings(updates=_STEPS + 1, prompts=16, samples=2, epochs=1)
    return PPO(
        model, model.copy(), scalar, tokenizer,
        lambda update, count: chats.prompts(update, count, True), LearnedReward(scalar), settings,
    )  # fmt: skip


def measure(name: str, parameters: float) -> dict[str, Any]:
    """In this process."""
    torch.set_num_threads(2)
    spec = spec_of(parameters)
    texts = [one.text for one in ledger.documents(0, 3000, "train")]
    stage = stage_of(name, Decoder(spec), Tokenizer.train(texts, spec.shape.vocab))
    rows = [stage.update() for _ in range(_STEPS + 1)][1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "stage": name, "parameters": spec.shape.params, "width": spec.shape.width,
        "depth": spec.shape.depth, "positions": median(row["positions"] for row in rows),
        "seconds": median(row["seconds"] for row in rows), "bytes": peak,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=float, nargs="+", default=[1e7, 1e8])
    parser.add_argument("--one", help="Only this stage, in this process, as JSON.")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.parameters[0])))
        return
    rows = []
    for parameters in options.parameters:
        for name in STAGES:
            words = [sys.executable, __file__, "--one", name, "--parameters", str(parameters)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            one = json.loads(done.stdout)
            rows.append([
                f"{name}, {one['parameters'] / 1e6:.1f} M", f"{one['width']} x {one['depth']}",
                f"{one['positions']:,.0f}", f"{one['seconds']:.2f}",
                f"{one['positions'] / one['seconds']:,.0f}", f"{one['bytes'] / 1e9:.2f}",
            ])  # fmt: skip
    columns = ["stage", "width x depth", "positions a step", "s a step", "positions/s", "peak GB"]
    show_table(Console(width=120), "Post-training by size", columns, rows)


if __name__ == "__main__":
    main()
