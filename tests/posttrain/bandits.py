"""Questions of one token: a reference of known distributions, a table of rewards, exact values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from foresight.data.shards import Encoded, encode_parts
from foresight.data.tokenizer import BOS, Tokenizer
from foresight.document import Mark
from foresight.inference.engine import FORBIDDEN
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import render_prompt, user
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.ppo import PPO, PPOSettings
from foresight.posttrain.rollout import Rollout
from foresight.posttrain.scalar_model import ScalarModel
from foresight.posttrain.sequences import answered, padded
from foresight.posttrain.tuner import Tuner
from foresight.recipe import Recipe

LETTERS = "ABCD"


@dataclass(frozen=True)
class Bandit:
    """truth, rewards (questions, letters): how often an answer is right, what it earns; `reference`
    answers in the shares of the truth, nearly."""

    tokenizer: Tokenizer
    prompts: list[ChatPrompt]
    encoded: list[Encoded]
    letters: list[int]
    truth: np.ndarray
    rewards: np.ndarray
    reference: Decoder

    @torch.no_grad()
    def shares(self, model: Decoder) -> np.ndarray:
        """(questions, vocabulary): how the answer's token is drawn."""
        batch = padded([answered(one, [0]) for one in self.encoded], model.spec.shape.context)
        last = torch.from_numpy(batch.weights).argmax(dim=1)
        logits = model.logits(model.inputs(batch)).view(len(last), -1, model.spec.shape.vocab)
        chosen = logits[torch.arange(len(last)), last]
        chosen[:, list(FORBIDDEN)] = -torch.inf
        return torch.softmax(chosen.double(), dim=-1).numpy()

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Values (questions, letters) over the whole vocabulary; other tokens have none."""
        full = np.zeros((len(self.prompts), self.tokenizer.size))
        full[:, self.letters] = values
        return full

    @property
    def table(self) -> np.ndarray:
        return self.whole(self.rewards)

    def prompts_of(self, update: int, count: int) -> Sequence[ChatPrompt]:
        chosen = np.random.default_rng([7, update]).integers(len(self.prompts), size=count)
        return [self.prompts[at] for at in chosen]

    def ppo(self, settings: PPOSettings, reward: Any = None, **more: Any) -> PPO:
        policy = self.reference.copy()
        critic = ScalarModel(policy.spec)
        critic.start_from(policy.named_weights)
        return PPO(
            policy, self.reference, critic, self.tokenizer, self.prompts_of,
            reward or TableReward(self.table), settings, **more,
        )  # fmt: skip


class TableReward:
    """Of the first token; to be read in one part or, halved, in two."""

    name = "table"

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def __call__(self, rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
        values = [float(self.table[one.prompt.meta["at"], one.tokens[0]]) for one in rollouts]
        return [{"one": 0.5 * value, "other": 0.5 * value} for value in values]


def small_bandit() -> Bandit:
    """Six questions, 250 steps."""
    random = np.random.default_rng(3)
    truth = random.dirichlet(np.full(len(LETTERS), 3.0), 6)
    return make_bandit(range(6), truth, random.uniform(0, 1, truth.shape), seed=0, steps=250)


def make_bandit(
    numbers: Sequence[int], truth: np.ndarray, rewards: np.ndarray, seed: int, steps: int
) -> Bandit:
    """Questions of these numbers below 100, and a reference trained to the truth."""
    tokenizer = Tokenizer.train([f"user assistant q{n} A B C D\n" for n in range(100)] * 4, 320)
    names = [f"q{n}" for n in numbers]
    prompts = [ChatPrompt(name, user(name), meta={"at": at}) for at, name in enumerate(names)]
    encoded = [
        encode_parts((Mark(BOS), *render_prompt(one.messages)), tokenizer, 8) for one in prompts
    ]
    letters = [tokenizer.encode(one)[0] for one in LETTERS]
    recipe = Recipe.named("ledger")
    corpus = recipe.corpus.model_copy(update={"vocab_size": 320})
    spec = recipe.model_copy(update={"corpus": corpus}).at(1e10, seed, width=16)
    model = Decoder(spec)
    tuner = Tuner(model.named_weights, 3e-3, steps)
    batch = padded(
        [answered(one, [letter]) for one in encoded for letter in letters], spec.shape.context
    )
    shares = torch.tensor(truth).float().view(-1, 1)
    for step in range(steps):
        inputs = model.inputs(batch)
        weights = inputs.weights.view(len(shares), -1) * shares
        loss, _ = model(replace(inputs, weights=weights.flatten()))
        torch.autograd.backward(loss / len(prompts))
        tuner.step(step)
    return Bandit(tokenizer, prompts, encoded, letters, truth, rewards, model)
