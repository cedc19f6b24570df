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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from foresight.data.shards import Encoded, encode_parts
from foresight.data.tokenizer import BOS, Tokenizer
from foresight.document import Mark
from foresight.evals.statistics import t_quantile
from foresight.inference.engine import FORBIDDEN
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import render_prompt, user
from foresight.posttrain.closed_forms import best_value, calibration_after, objective
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.dpo import DPO, DPOSettings
from foresight.posttrain.pairs import EncodedPair
from foresight.posttrain.ppo import PPO, PPOSettings
from foresight.posttrain.rollout import Rollout
from foresight.posttrain.scalar_model import ScalarModel
from foresight.posttrain.sequences import answered, padded
from foresight.posttrain.tuner import Tuner
from foresight.recipe import Recipe, RunSpec

QUESTIONS, ANSWERS = 24, 4
LETTERS = "ABCD"
MODES = (0.35, 0.5, 0.65, 0.8)
METHODS = ("gae", "rloo", "grpo")


@dataclass(frozen=True)
class Bandit:
    """Questions as prompts; truth (questions, answers): how often each answer is right."""

    tokenizer: Tokenizer
    prompts: list[ChatPrompt]
    encoded: list[Encoded]
    letters: list[int]
    truth: np.ndarray
    rewards: np.ndarray


def bandit(seed: int) -> Bandit:
    random = np.random.default_rng(seed)
    tokenizer = Tokenizer.train([f"user assistant q{n} A B C D\n" for n in range(100)] * 4, 320)
    names = [f"q{number}" for number in random.permutation(100)[:QUESTIONS].tolist()]
    prompts = [ChatPrompt(name, user(name), meta={"at": at}) for at, name in enumerate(names)]
    encoded = [
        encode_parts((Mark(BOS), *render_prompt(one.messages)), tokenizer, 8) for one in prompts
    ]
    truth = np.empty((QUESTIONS, ANSWERS))
    for row in truth:
        mode = random.choice(MODES)
        rest = random.dirichlet(np.full(ANSWERS - 1, 2.0)) * (1 - mode)
        row[:] = random.permutation([mode, *rest])
    letters = [tokenizer.encode(letter)[0] for letter in LETTERS]
    rewards = random.uniform(0, 1, (QUESTIONS, ANSWERS))
    return Bandit(tokenizer, prompts, encoded, letters, truth, rewards)


def spec_of(seed: int) -> RunSpec:
    recipe = Recipe.named("ledger")
    corpus = recipe.corpus.model_copy(update={"vocab_size": 320})
    return recipe.model_copy(update={"corpus": corpus}).at(1e10, seed, width=16)


def reference_of(world: Bandit, spec: RunSpec, steps: int = 300) -> Decoder:
    """A model whose answers have the distributions of the truth, nearly."""
    model = Decoder(spec)
    tuner = Tuner({name: model.weight(name) for name in model.rules}, 3e-3, steps)
    rows = [answered(one, [letter]) for one in world.encoded for letter in world.letters]
    shares = torch.tensor(world.truth.flatten(), dtype=torch.float32)
    batch = padded(rows, spec.shape.context)
    for step in range(steps):
        inputs = model.inputs(batch)
        weights = inputs.weights.view(len(rows), -1) * shares[:, None]
        loss, _ = model(replace(inputs, weights=weights.flatten()))
        torch.autograd.backward(loss / QUESTIONS)
        tuner.step(step)
    return model


@torch.no_grad()
def distributions(world: Bandit, model: Decoder) -> np.ndarray:
    """(questions, vocabulary): of the answer's token, as it is drawn."""
    batch = padded([answered(one, [0]) for one in world.encoded], model.spec.shape.context)
    last = torch.from_numpy(batch.weights).argmax(dim=1)
    logits = model.logits(model.inputs(batch)).view(len(last), -1, model.spec.shape.vocab)
    chosen = logits[torch.arange(len(last)), last]
    chosen[:, list(FORBIDDEN)] = -torch.inf
    return torch.softmax(chosen.double(), dim=-1).numpy()


def table(world: Bandit, vocabulary: int, values: np.ndarray) -> np.ndarray:
    """Rewards of the whole vocabulary: other tokens than the letters get none."""
    full = np.zeros((QUESTIONS, vocabulary))
    full[:, world.letters] = values
    return full


class TableReward:
    """A reward per (question, token), or 1 if a fresh draw of the truth is the answer."""

    name = "table"

    def __init__(self, full: np.ndarray, fresh: int | None = None) -> None:
        self._full = full
        self._random = None if fresh is None else np.random.default_rng(fresh)

    def __call__(self, rollouts: list[Rollout]) -> list[dict[str, float]]:
        found = []
        for one in rollouts:
            value = float(self._full[one.prompt.meta["at"], one.tokens[0]])
            if self._random is not None:
                value = float(self._random.random() < value)
            found.append({"table": value})
        return found


def tuned(world: Bandit, start: Decoder, reward: TableReward, settings: PPOSettings) -> Decoder:
    policy = Decoder(start.spec)
    policy.load_state_dict(start.state_dict())
    critic = ScalarModel(start.spec, settings.seed)
    critic.start_from({name: start.weight(name) for name in start.rules})
    with torch.no_grad():
        critic.head.zero_()
    random = np.random.default_rng(settings.seed)

    def prompts(update: int, count: int) -> list[ChatPrompt]:
        return [world.prompts[at] for at in random.integers(QUESTIONS, size=count)]

    stage = PPO(policy, start, critic, world.tokenizer, prompts, reward, settings)
    while stage.step < stage.steps:
        stage.update()
    return policy


def by_dpo(world: Bandit, start: Decoder, beta: float, seed: int, pairs: int) -> Decoder:
    """DPO on pairs of the reference's own answers, preferred with the odds of Bradley-Terry."""
    random = np.random.default_rng(seed)
    shares = distributions(world, start)[:, world.letters]
    found = []
    for number in range(pairs):
        at = int(random.integers(QUESTIONS))
        one, other = random.choice(ANSWERS, 2, p=shares[at] / shares[at].sum())
        gap = world.rewards[at, one] - world.rewards[at, other]
        if random.random() > 1 / (1 + np.exp(-gap)):
            one, other = other, one
        ids = [answered(world.encoded[at], [world.letters[k]]) for k in (one, other)]
        found.append(EncodedPair(str(number), ids[0], ids[1]))
    policy = Decoder(start.spec)
    policy.load_state_dict(start.state_dict())
    stage = DPO(policy, start, found, DPOSettings(beta=beta, epochs=1, lr=1e-3, seed=seed))
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
    world, spec = bandit(seed), spec_of(seed)
    start = reference_of(world, spec)
    before = distributions(world, start)
    full = table(world, spec.shape.vocab, world.rewards)
    truth = table(world, spec.shape.vocab, world.truth)
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
        policies = [(name, tuned(world, start, TableReward(full), one)) for name, one in arms]
        if beside:
            policies.append(("dpo", by_dpo(world, start, beta, seed, 64 * 4 * updates // 2)))
        for name, policy in policies:
            got = objective(distributions(world, policy), before, full, beta)
            rows.append({
                "seed": seed, "beta": beta, "method": name,
                "of_optimum": float(got.sum() / best.sum()),
                "of_gain": float((got - nothing).sum() / (best - nothing).sum()),
            })  # fmt: skip
        policy = tuned(world, start, TableReward(truth, fresh=seed), settings)
        after = distributions(world, policy)[:, world.letters]
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
