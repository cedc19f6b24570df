"""Does reinforcement learning reach what the KL-regularised objective allows, exactly known?

A bandit in words: 24 questions, one token as an answer, a reference policy trained to known answer
distributions, a table of rewards. Estimands, per beta and method, over seeds: the share of the
possible gain, (J(pi) - J(ref)) / (J* - J(ref)), and J(pi) / J*, with J = E[r] - beta KL(pi || ref)
computed from the full distributions of the trained model, and J* from its own reference. Then the
reward 1[answer = a fresh draw of the truth]: the calibration error of the answers beside the one
that the closed form predicts. Intervals are 95 %, Student's t over seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from foresight.evals.statistics import t_quantile
from foresight.model.decoder import Decoder
from foresight.posttrain.closed_forms import best_value, calibration_after, objective
from foresight.posttrain.dpo import DPO, DPOSettings
from foresight.posttrain.pairs import EncodedPair
from foresight.posttrain.ppo import PPOSettings
from foresight.posttrain.rollout import Rollout
from foresight.posttrain.sequences import answered

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.posttrain.bandits import LETTERS, Bandit, make_bandit

QUESTIONS = 24
MODES = (0.35, 0.5, 0.65, 0.8)
METHODS = ("gae", "rloo", "grpo")


def bandit(seed: int) -> Bandit:
    """Questions, how often each answer is right, what each earns."""
    random = np.random.default_rng(seed)
    numbers = random.permutation(100)[:QUESTIONS].tolist()
    truth = np.empty((QUESTIONS, len(LETTERS)))
    for row in truth:
        mode = random.choice(MODES)
        rest = random.dirichlet(np.full(len(LETTERS) - 1, 2.0)) * (1 - mode)
        row[:] = random.permutation([mode, *rest])
    return make_bandit(numbers, truth, random.uniform(0, 1, truth.shape), seed, steps=300)


class FreshDraw:
    """1 if the answer is what a fresh draw of the truth says is right."""

    name = "fresh draw"

    def __init__(self, truth: np.ndarray, seed: int) -> None:
        self._truth, self._random = truth, np.random.default_rng(seed)

    def __call__(self, rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
        chances = [self._truth[one.prompt.meta["at"], one.tokens[0]] for one in rollouts]
        return [{"right": float(self._random.random() < chance)} for chance in chances]


def tuned(world: Bandit, settings: PPOSettings, reward: FreshDraw | None = None) -> Decoder:
    stage = world.ppo(settings, reward)
    with torch.no_grad():
        if stage.critic:
            stage.critic.head.zero_()
    while stage.step < stage.steps:
        stage.update()
    return stage.policy


def by_dpo(world: Bandit, beta: float, seed: int, pairs: int) -> Decoder:
    """DPO on pairs of the reference's own answers, preferred with the odds of Bradley-Terry."""
    random = np.random.default_rng(seed)
    shares = world.shares(world.reference)[:, world.letters]
    found = []
    for number in range(pairs):
        at = int(random.integers(QUESTIONS))
        one, other = random.choice(len(LETTERS), 2, p=shares[at] / shares[at].sum())
        gap = world.rewards[at, one] - world.rewards[at, other]
        if random.random() > 1 / (1 + np.exp(-gap)):
            one, other = other, one
        ids = [answered(world.encoded[at], [world.letters[k]]) for k in (one, other)]
        found.append(EncodedPair(str(number), ids[0], ids[1]))
    policy = world.reference.copy()
    stage = DPO(
        policy, world.reference, found, DPOSettings(beta=beta, epochs=1, lr=1e-3, seed=seed)
    )
    while stage.step < stage.steps:
        stage.update()
    return policy


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Over all answers, in ten bins of equal width, from exact chances: no noise in it."""
    bins = np.minimum((confidence * 10).astype(int), 9).ravel()
    gaps = (confidence - right).ravel()
    return float(sum(abs(gaps[bins == at].sum()) for at in range(10)) / len(gaps))


def one_seed(seed: int, betas: list[float], updates: int, beside: bool) -> list[dict[str, object]]:
    """`beside`: the other methods too."""
    world = bandit(seed)
    before, full, truth = world.shares(world.reference), world.table, world.whole(world.truth)
    rows: list[dict[str, object]] = []
    for beta in betas:
        settings = PPOSettings(
            updates=updates,
            prompts=128,
            samples=4,
            max_tokens=1,
            beta=beta,
            missing_end=None,
            lr=1e-3,
            critic_lr=3e-3,
            seed=seed,
            minibatches=2,
        )
        best = best_value(before, full, beta)
        nothing = objective(before, before, full, beta)
        methods = METHODS if beside else METHODS[:1]
        arms = [(method, settings.model_copy(update={"advantage": method})) for method in methods]
        policies = [(name, tuned(world, one)) for name, one in arms]
        if beside:
            policies.append(("dpo", by_dpo(world, beta, seed, 64 * 4 * updates // 2)))
        for name, policy in policies:
            got = objective(world.shares(policy), before, full, beta)
            rows.append({
                "seed": seed, "beta": beta, "method": name,
                "of_optimum": float(got.sum() / best.sum()),
                "of_gain": float((got - nothing).sum() / (best - nothing).sum()),
            })  # fmt: skip
        policy = tuned(world, settings, FreshDraw(truth, seed))
        after = world.shares(policy)[:, world.letters]
        predicted = calibration_after(before, truth, beta)[:, world.letters]
        rows.append({
            "seed": seed, "beta": beta, "method": "question answering",
            "ece_before": calibration_error(before[:, world.letters], world.truth),
            "ece_after": calibration_error(after, world.truth),
            "ece_predicted": calibration_error(predicted, world.truth),
        })  # fmt: skip
        for row in rows[-len(policies) - 1 :]:
            print(json.dumps(row), flush=True)
    return rows


def told(rows: list[dict[str, object]]) -> None:
    keys = dict.fromkeys((row["beta"], row["method"]) for row in rows)
    for beta, method in keys:
        some = [row for row in rows if (row["beta"], row["method"]) == (beta, method)]
        for name in [key for key in some[0] if key not in ("seed", "beta", "method")]:
            values = np.array([float(row[name]) for row in some])  # type: ignore[arg-type]
            half = 0.0
            if len(values) > 1:
                half = t_quantile(len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
            print(f"beta {beta:<5} {method:20} {name:14} {values.mean():.3f} "
                  f"[{values.mean() - half:.3f}, {values.mean() + half:.3f}] "
                  f"worst {values.min():.3f}, n = {len(values)} seeds")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--betas", type=float, nargs="+", default=[0.3, 0.1, 0.03])
    parser.add_argument("--updates", type=int, default=80)
    parser.add_argument("--beside", type=int, default=2, help="Seeds with the other methods too.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for seed in range(options.seeds)
        for row in one_seed(seed, options.betas, options.updates, seed < options.beside)
    ]
    told(rows)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
