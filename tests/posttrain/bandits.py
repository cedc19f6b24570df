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

QUESTIONS, LETTERS = 6, "ABCD"


@dataclass(frozen=True)
class Bandit:
    """rewards (questions, letters), between 0 and 1; `reference` answers in known shares."""

    tokenizer: Tokenizer
    prompts: list[ChatPrompt]
    encoded: list[Encoded]
    letters: list[int]
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

    @property
    def table(self) -> np.ndarray:
        """Rewards of the whole vocabulary; other tokens get none."""
        full = np.zeros((QUESTIONS, self.tokenizer.size))
        full[:, self.letters] = self.rewards
        return full

    def prompts_of(self, update: int, count: int) -> Sequence[ChatPrompt]:
        chosen = np.random.default_rng([7, update]).integers(QUESTIONS, size=count)
        return [self.prompts[at] for at in chosen]

    def ppo(self, settings: PPOSettings, reward: Any = None, **more: Any) -> PPO:
        policy = Decoder(self.reference.spec)
        policy.load_state_dict(self.reference.state_dict())
        critic = ScalarModel(policy.spec)
        critic.start_from({name: policy.weight(name) for name in policy.rules})
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


def make_bandit() -> Bandit:
    random = np.random.default_rng(3)
    tokenizer = Tokenizer.train([f"user assistant q{n} A B C D\n" for n in range(100)] * 4, 320)
    prompts = [ChatPrompt(f"q{n}", user(f"q{n}"), meta={"at": n}) for n in range(QUESTIONS)]
    encoded = [
        encode_parts((Mark(BOS), *render_prompt(one.messages)), tokenizer, 8) for one in prompts
    ]
    letters = [tokenizer.encode(one)[0] for one in LETTERS]
    shares = random.dirichlet(np.full(len(LETTERS), 3.0), QUESTIONS)
    recipe = Recipe.named("ledger")
    corpus = recipe.corpus.model_copy(update={"vocab_size": 320})
    spec = recipe.model_copy(update={"corpus": corpus}).at(1e10, 0, width=16)
    model = Decoder(spec)
    tuner = Tuner({name: model.weight(name) for name in model.rules}, 3e-3, 250)
    rows = [answered(one, [letter]) for one in encoded for letter in letters]
    batch = padded(rows, spec.shape.context)
    for step in range(250):
        inputs = model.inputs(batch)
        weights = inputs.weights.view(len(rows), -1) * torch.tensor(shares).float().view(-1, 1)
        loss, _ = model(replace(inputs, weights=weights.flatten()))
        torch.autograd.backward(loss / QUESTIONS)
        tuner.step(step)
    rewards = random.uniform(0, 1, (QUESTIONS, len(LETTERS)))
    return Bandit(tokenizer, prompts, encoded, letters, rewards, model)
