"""Ledger world end to end: SFT, reward model, rules, PPO, and what each arm does to refusals.

Estimands, by the exact parser, on prompts drawn anew about things that were tuned on and about
things that never were, half of them in a phrasing that never was: shares of answers (one draw at
temperature 1) that refuse, refuse in the desired style, and give both steps right, by prompt set;
the gold judge's win rate over SFT; the calibration error of questions about colours, whose truth is
known. The policy is tuned against a *trained* grader.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foresight.data.tokenizer import Tokenizer
from foresight.inference.checkpoints import load_model
from foresight.inference.engine import Engine
from foresight.inference.language_model import ScoreRequest
from foresight.model.decoder import Decoder
from foresight.posttrain import ledger as chats
from foresight.posttrain.chat import render_prompt
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.graders import TrainedGrader
from foresight.posttrain.pairs import divide, encode_pairs
from foresight.posttrain.ppo import PPO, PPOSettings
from foresight.posttrain.reward_audit import CollapseAlarm, audit_rewards
from foresight.posttrain.reward_model import (
    LearnedReward,
    RewardReport,
    RewardSettings,
    RewardTraining,
    normalise,
    report_on,
    score,
)  # fmt: skip
from foresight.posttrain.rollout import Rollout, roll_out
from foresight.posttrain.rubric import read_rubric
from foresight.posttrain.rule_weights import Rated, RuleWeights, fit_rule_weights
from foresight.posttrain.ruled_reward import RuledReward, answered_of
from foresight.posttrain.scalar_model import ScalarModel
from foresight.posttrain.sft import SFT, SFTSettings, encode_demonstrations
from foresight.worlds.ledger import PALETTE, PHRASES, things

MAX_TOKENS = 24


class Calls:
    """Times a part, and says so."""

    def __init__(self) -> None:
        self.at = time.perf_counter()

    def said(self, what: str) -> None:
        now = time.perf_counter()
        print(f"  {what} ({now - self.at:.0f} s)", flush=True)
        self.at = now


def questions(count: int, trained: bool, pictured: bool) -> list[ChatPrompt]:
    """Half in the phrasings of tuning, half in the one that was kept."""
    half = count // 2
    return [
        *chats.prompts(9_000, half, trained, chats.EVEN, PHRASES[:-1], pictured),
        *chats.prompts(9_001, half, trained, chats.EVEN, PHRASES[-1:], pictured),
    ]


def table_of(
    model: Decoder, tokenizer: Tokenizer, before: dict[bool, list[Rollout]] | None, pictured: bool
) -> tuple[dict[str, Any], dict[bool, list[Rollout]]]:
    rows: dict[str, Any] = {}
    answers = {}
    for trained in (True, False):
        answers[trained] = roll_out(
            model, tokenizer, questions(800, trained, pictured), 1, MAX_TOKENS, seed=77
        )
        name = "seen" if trained else "held out"
        rows[name] = {
            row.prompt_set: {
                "refused": row.refused.mean,
                "desired": row.desired.mean,
                "good": row.good.mean,
            }
            for row in chats.four_sets(answers[trained])
        }
        if before:
            rate = chats.win_rate(answers[trained], before[trained])
            rows[name]["win_rate"] = [rate.mean, rate.low, rate.high]
    return rows, answers


def calibration(model: Decoder, tokenizer: Tokenizer) -> dict[str, float]:
    """Of questions about every thing's colour: the error over all options, from exact truths."""
    engine = Engine(model, tokenizer, "policy", batch=64)
    some = things()
    asked = chats.colour_prompts(0, 2000)
    by_name = {one.meta["thing"].name: one for one in asked}
    prompts = [by_name[one.name] for one in some if one.name in by_name]
    scores = engine.score(
        [ScoreRequest(render_prompt(one.messages), tuple(PALETTE)) for one in prompts]
    )
    logs = np.array([[one.logprob for one in row] for row in scores])
    share = np.exp(logs - logs.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    truth = np.array([one.meta["thing"].colours for one in prompts])
    bins = np.minimum((share * 10).astype(int), 9).ravel()
    gaps = (share - truth).ravel()
    top = share.argmax(1)
    return {
        "ece": float(sum(abs(gaps[bins == at].sum()) for at in range(10)) / len(gaps)),
        "accuracy": float(truth[np.arange(len(top)), top].mean()),
        "confidence": float(share.max(1).mean()),
    }


def tuned(
    sft: Decoder, tokenizer: Tokenizer, critic: ScalarModel, reward: Any, settings: PPOSettings,
    pictured: bool, colours: float, folder: Path | None,
) -> tuple[Decoder, list[dict[str, Any]]]:  # fmt: skip
    policy = sft.copy()
    own = ScalarModel(sft.spec)
    own.start_from(critic.weights)

    def source(update: int, count: int) -> list[ChatPrompt]:
        asked = round(colours * count)
        return [
            *chats.prompts(20_000 + update, count - asked, True, pictured=pictured),
            *chats.colour_prompts(20_000 + update, asked, True),
        ]

    stage = PPO(policy, sft, own, tokenizer, source, reward, settings, folder)
    rows = []
    while stage.step < stage.steps:
        rows.append(stage.update())
        if stage.step % 20 == 0:
            row = rows[-1]
            print(f"    {stage.step}: reward {row['reward']:.2f} kl {row['kl']:.2f} ended "
                  f"{row['ended']:.2f} agreement {row['agreement']:.1e} "
                  f"{row['seconds']:.1f} s", flush=True)  # fmt: skip
    return policy, rows


def fine_tuned(
    start: Decoder, tokenizer: Tokenizer, seed: int, pictured: bool, calls: Calls
) -> Decoder:
    sft, shape = start.copy(), start.spec.shape
    demonstrations = list(chats.demonstrations(seed, 12_000, pictured))
    encoded = encode_demonstrations(demonstrations, tokenizer, shape.patch, shape.context)
    stage = SFT(sft, encoded, SFTSettings(seed=seed, lr=1.5e-3))
    while stage.step < stage.steps:
        row = stage.update()
    calls.said(f"SFT, loss {row['loss']:.3f}")
    return sft


def reward_model_of(
    sft: Decoder, tokenizer: Tokenizer, drawn: list[Rollout], seed: int, calls: Calls
) -> tuple[ScalarModel, RewardReport]:
    shape = sft.spec.shape
    preferred = chats.preferences(seed, drawn)
    learned, kept = divide(encode_pairs(preferred, tokenizer, shape.patch, shape.context), 0.2)
    model = ScalarModel(sft.spec, seed)
    model.start_from(sft.named_weights)
    training = RewardTraining(model, learned, RewardSettings(seed=seed, epochs=2, lr=1e-3))
    while training.step < training.steps:
        training.update()
    normalise(model, [one.encoded for one in drawn[:2000]])
    report = report_on(model, kept)
    calls.said(f"reward model on {len(preferred)} pairs: accuracy {report.accuracy.mean:.3f}, "
               f"ceiling {report.ceiling:.3f}, error {report.calibration_error:.3f}")  # fmt: skip
    return model, report


def rules_of(
    model: ScalarModel, drawn: list[Rollout], seed: int, scale: float, calls: Calls
) -> tuple[RuledReward, dict[str, Any]]:
    """Rules by a grader that was trained on 2,000 labelled answers; what the audit says."""
    rubric, samples = read_rubric("refusal"), answered_of(drawn)
    labels = [chats.class_of(one.prompt.meta["query"], one.text) or "unreadable" for one in drawn]
    grader = TrainedGrader.fit(rubric, samples[:2000], labels[:2000])
    classes = grader.grade(samples)
    likeliest = [rubric.columns[at] for at in classes.argmax(1)]
    right = np.mean([a == b for a, b in zip(likeliest[2000:], labels[2000:], strict=True)])
    rewards = score(model, [one.encoded for one in drawn])
    rated = Rated.of(rubric, samples, rewards, classes, labels)
    weights, _ = fit_rule_weights(rated, rubric, seed=seed)
    wrong = {
        name: [str(one) for one in audit_rewards(rated, how.total(rated), rubric).wrong]
        for name, how in (("by_hand", RuleWeights.by_hand(rubric)), ("fitted", weights))
    }
    calls.said(f"grader right {right:.3f}; by hand {len(wrong['by_hand'])} classes in the wrong "
               f"order, fitted {len(wrong['fitted'])}; {weights.sets}")  # fmt: skip
    alarm = CollapseAlarm(rubric)
    reward = RuledReward(LearnedReward(model), grader, rubric, weights, alarm=alarm, scale=scale)
    return reward, {"grader_accuracy": float(right), "audit": wrong}


def one_seed(base: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    calls, pictured = Calls(), options.pictured
    start, tokenizer, _ = load_model(base)
    sft = fine_tuned(start, tokenizer, seed, pictured, calls)
    table, before = table_of(sft, tokenizer, None, pictured)
    table["calibration"] = calibration(sft, tokenizer)
    found: dict[str, Any] = {"seed": seed, "pictured": pictured, "arms": {"sft": table}}
    calls.said(f"SFT measured {json.dumps(table)}")
    asked = chats.prompts(seed + 500, 8000, True, pictured=pictured)
    drawn = roll_out(sft, tokenizer, asked, 2, MAX_TOKENS, seed + 5)
    model, report = reward_model_of(sft, tokenizer, drawn, seed, calls)
    rules, told = rules_of(model, drawn, seed, options.scale, calls)
    found |= {"reward_model": asdict(report), **told}
    arms: dict[str, Any] = {"rm only": LearnedReward(model), "rules": rules}
    settings = PPOSettings(
        updates=options.updates, prompts=48, samples=2, max_tokens=MAX_TOKENS, beta=options.beta,
        lr=options.lr, critic_lr=1e-3, seed=seed,
    )  # fmt: skip
    for name in options.arms:
        folder = options.out.with_suffix("") / f"{seed}-{name}" if options.out else None
        policy, rows = tuned(sft, tokenizer, model, arms[name], settings, pictured, 0.0, folder)
        table, _ = table_of(policy, tokenizer, before, pictured)
        table["calibration"] = calibration(policy, tokenizer)
        table["kl"] = float(np.mean([row["kl"] for row in rows[-10:]]))
        found["arms"][name] = table
        calls.said(f"{name}: {json.dumps(table)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path, help="Run of the recipe `ledger`.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", default=["rm only", "rules"])
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--beta", type=float, default=0.05)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--pictured", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in options.seeds:
        print(f"seed {seed}", flush=True)
        rows.append(one_seed(options.base, seed, options))
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
