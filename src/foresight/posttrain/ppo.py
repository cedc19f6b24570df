"""Reinforcement learning on a policy's own answers: PPO, and GRPO and RLOO on the same rollouts.

After Ziegler et al. 2019 and Ouyang et al. 2022 (section 3.5, appendix C.4): the reward of an
answer at its last token, a KL penalty on every token, a critic that starts as the reward model,
clipped updates. Dropout does not exist in our models; the sampling temperature is in every
log-probability.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from foresight.data.loader import Batch
from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.model.decoder import Decoder
from foresight.posttrain.advantages import (
    gae,
    group_advantages,
    kl_estimates,
    token_rewards,
    whiten,
)
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.objectives import ppo_loss, value_loss
from foresight.posttrain.rollout import Reward, Rollout, roll_out, rollouts_path, write_rollouts
from foresight.posttrain.scalar_model import ScalarModel
from foresight.posttrain.sequences import padded, target_logprobs
from foresight.posttrain.tuner import Tuner
from foresight.runs import Run
from foresight.training.checkpoint import Checkpoint, restore

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
AGREEMENT = 1e-3
"""Nats by which the engine and the trainer may differ about a drawn token in float32."""


class PPOSettings(BaseModel):
    """How a policy is tuned; the defaults suit models of up to some million parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    advantage: Literal["gae", "grpo", "rloo"] = "gae"
    """`gae`: PPO with a critic; `grpo`, `rloo`: against other answers to the prompt, no critic."""
    updates: Count = 100
    """Rounds of drawing answers and learning from them."""
    prompts: Count = 64
    """Prompts of an update."""
    samples: Count = 2
    """Answers to each; `grpo` and `rloo` need two or more."""
    max_tokens: Count = 24
    """Longest answer."""
    temperature: Positive = 1.0
    """Of the draws, and of every log-probability."""
    beta: Annotated[float, Field(ge=0)] = 0.05
    """Weight of the KL penalty, in units of reward per nat."""
    target_kl: Positive | None = None
    """Nats per answer that `beta` is steered to; None: it is fixed."""
    kl_horizon: Count = 2000
    """Answers over which an adaptive `beta` follows."""
    missing_end: float | None = -1.0
    """Reward of an answer that does not end in `max_tokens`; None: it is scored like any other."""
    gamma: Positive = 1.0
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95
    epochs: Count = 4
    """Passes over the answers of an update."""
    minibatches: Count = 2
    """Steps of a pass."""
    clip: Positive = 0.2
    value_clip: Positive = 0.5
    lr: Positive = 3e-4
    """Peak rate of the policy."""
    critic_lr: Positive = 1e-3
    critic_first: Annotated[int, Field(ge=0)] = 0
    """Updates in which the critic alone learns. It starts from a reward model, which knows no
    rules: until it has learned them, the few refusals that a policy is to learn from earn less than
    it expects on the whole, and are gone before it tells where they are right."""
    stop_kl: Positive | None = None
    """An update ends early once the policy has moved this far from the one that drew, in nats a
    token."""
    reward_clip: Positive = 10.0
    """Rewards of answers are held within this."""
    pretraining: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the pre-training loss that is mixed in (PPO-ptx)."""
    pretraining_rows: Count = 8
    """Rows of the corpus beside every minibatch."""
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Buffer:
    """The answers of an update, (B, T) each: targets' mask, log-probabilities of old policy and
    reference, old values, advantages and returns."""

    batch: Batch
    mask: Tensor
    old: Tensor
    reference: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def part(self, rows: Tensor) -> Buffer:
        """The answers in `rows`."""
        fields = (self.mask, self.old, self.reference, self.values, self.advantages, self.returns)
        return Buffer(self.batch.rows(rows.numpy()), *(one[rows] for one in fields))


PromptSource = Callable[[int, int], Sequence[ChatPrompt]]
"""(update, how many) -> prompts; a pure function, so that a killed run goes on with the same."""


def cycled(prompts: Sequence[ChatPrompt], seed: int) -> PromptSource:
    """Prompts in a fresh order every time they have all been asked."""

    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        return [int(one) for one in np.random.default_rng([seed, epoch]).permutation(len(prompts))]

    def source(update: int, count: int) -> list[ChatPrompt]:
        found = []
        for at in range(update * count, (update + 1) * count):
            epoch, place = divmod(at, len(prompts))
            found.append(prompts[order(epoch)[place]])
        return found

    return source


class PPO:
    """The state between two updates: policy, critic, their optimisers, and beta."""

    def __init__(
        self,
        policy: Decoder,
        reference: Decoder,
        critic: ScalarModel | None,
        tokenizer: Tokenizer,
        prompts: PromptSource,
        reward: Reward,
        settings: PPOSettings,
        rollouts: Path | None = None,
        corpus: Callable[[int, int], Batch] | None = None,
    ) -> None:
        """`reference` is not changed; `critic` is needed for `gae` alone; `rollouts`: a folder for
        a file of every update's answers; `corpus(start, count)`: rows for the pre-training loss."""
        if settings.advantage == "gae" and critic is None:
            raise UserError("advantage gae: needs a critic; start it from a reward model")
        if settings.advantage != "gae" and settings.samples < 2:
            raise UserError(f"advantage {settings.advantage}: needs samples of 2 or more")
        if settings.pretraining and corpus is None:
            raise UserError("pretraining: needs the rows of a corpus")
        self.policy, self.reference, self.tokenizer = policy, reference, tokenizer
        self.critic = critic if settings.advantage == "gae" else None
        self._prompts, self._reward, self.settings = prompts, reward, settings
        self._folder, self._corpus = rollouts, corpus
        self.step, self.steps = 0, settings.updates
        self.beta = torch.tensor([settings.beta])
        self.weights = policy.named_weights
        inner = settings.updates * settings.epochs * settings.minibatches
        self._tuner = Tuner(self.weights, settings.lr, inner)
        self._critic_tuner = (
            Tuner(self.critic.trained, settings.critic_lr, inner) if self.critic else None
        )

    # One update

    def update(self) -> dict[str, Any]:
        """Draw answers, score them, learn from them; what is worth watching about it."""
        started, s = time.perf_counter(), self.settings
        prompts = self._prompts(self.step, s.prompts)
        rollouts = roll_out(
            self.policy, self.tokenizer, prompts, s.samples, s.max_tokens,
            seed=(s.seed << 32) + self.step, temperature=s.temperature,
        )  # fmt: skip
        parts = self._reward(rollouts)
        scores = self._scores(rollouts, parts)
        buffer, row = self._buffer(rollouts, scores)
        kl = (kl_estimates(buffer.old, buffer.reference)[0] * buffer.mask).sum(dim=1)
        row |= self._learn(buffer)
        self._steer(float(kl.mean()), len(rollouts))
        if self._folder:
            write_rollouts(
                rollouts_path(self._folder, self.step + 1), rollouts, parts,
                scored=scores.numpy(), kl=kl.numpy(),
                logprob=(buffer.old * buffer.mask).sum(dim=1).numpy(),
            )  # fmt: skip
        self.step += 1
        names = dict.fromkeys(name for one in parts for name in one)
        return {
            "step": self.step,
            "positions": int(buffer.batch.inputs.size) * s.epochs * (2 if self.critic else 1),
            "reward": float(scores.mean()),
            "kl": float(kl.mean()),
            "beta": float(self.beta),
            "tokens_per_answer": float(np.mean([len(one.tokens) for one in rollouts])),
            "ended": float(np.mean([one.ended for one in rollouts])),
            **{f"reward/{name}": float(np.mean([one.get(name, 0.0) for one in parts]))
               for name in names},
            **row,
            "seconds": time.perf_counter() - started,
        }  # fmt: skip

    def _scores(self, rollouts: Sequence[Rollout], parts: Sequence[dict[str, float]]) -> Tensor:
        s = self.settings
        scores = torch.tensor([sum(one.values()) for one in parts], dtype=torch.float32)
        scores = scores.clamp(-s.reward_clip, s.reward_clip)
        if s.missing_end is not None:
            ended = torch.tensor([one.ended for one in rollouts])
            scores = torch.where(ended, scores, torch.full_like(scores, s.missing_end))
        return scores

    @torch.no_grad()
    def _buffer(self, rollouts: Sequence[Rollout], scores: Tensor) -> tuple[Buffer, dict[str, Any]]:
        s = self.settings
        batch = padded([one.encoded for one in rollouts], self.policy.spec.shape.context)
        mask = torch.from_numpy(batch.weights).ne(0).float()
        old, entropy = target_logprobs(self.policy, batch, s.temperature)
        reference, _ = target_logprobs(self.reference, batch, s.temperature)
        drawn = old if s.temperature == 1 else target_logprobs(self.policy, batch)[0]
        agreement = _agreement(rollouts, drawn, mask)
        if agreement > AGREEMENT and self.policy.spec.precision == "fp32":
            raise UserError(
                f"update {self.step + 1}: the engine and the trainer differ by {agreement:.3g} "
                f"nats about a token that was drawn; ratios would be wrong"
            )
        rewards = token_rewards(scores, old, reference, mask, float(self.beta))
        if self.critic:
            values = self.critic.values(batch) * mask
            advantages, returns = gae(rewards, values, mask, s.gamma, s.lam)
        else:
            values = returns = torch.zeros_like(old)
            grouped = rewards.sum(dim=1).view(-1, s.samples)
            advantages = group_advantages(grouped, s.advantage == "rloo")[:, None] * mask
        error = (returns - values)[mask.bool()]
        explained = 1 - float(error.var() / (returns[mask.bool()].var() + 1e-8))
        if s.advantage == "gae":
            advantages = whiten(advantages, mask)
        buffer = Buffer(batch, mask, old, reference, values, advantages, returns)
        return buffer, {
            "agreement": agreement,
            "entropy": float((entropy * mask).sum() / mask.sum()),
            "explained_variance": explained,
        }

    def _learn(self, buffer: Buffer) -> dict[str, Any]:
        s, rows = self.settings, len(buffer.mask)
        random = torch.Generator().manual_seed(s.seed * 1_000_003 + self.step)
        totals = dict.fromkeys(("clipped", "approx_kl", "ratio", "tokens", "value_loss"), 0.0)
        first: float | None = None
        norm, inner = 0.0, self.step * s.epochs * s.minibatches
        for epoch in range(s.epochs):
            order = torch.randperm(rows, generator=random)
            for at, some in enumerate(order.chunk(s.minibatches)):
                number = inner + epoch * s.minibatches + at
                norm, found = self._minibatch(buffer, some, number)
                if first is None:
                    first = abs(found["ratio"] / found["tokens"] - 1)
                for name, value in found.items():
                    totals[name] += value
            if s.stop_kl and totals["approx_kl"] / totals["tokens"] > 1.5 * s.stop_kl:
                break
        tokens = totals.pop("tokens")
        means = {name: value / tokens for name, value in totals.items()}
        return means | {"grad_norm": norm, "first_ratio_error": first}

    def _minibatch(
        self, buffer: Buffer, rows: Tensor, number: int
    ) -> tuple[float, dict[str, float]]:
        s = self.settings
        part = buffer.part(rows)
        tokens = part.mask.sum()
        logprobs, _ = target_logprobs(self.policy, part.batch, s.temperature)
        found = ppo_loss(logprobs, part.old, part.advantages, part.mask, s.clip)
        loss = found.loss / tokens
        if s.pretraining and self._corpus:
            more = self._corpus(number * s.pretraining_rows, s.pretraining_rows)
            nats, _ = self.policy(self.policy.inputs(more))
            loss = loss + s.pretraining * nats / float(more.weights.sum())
        norm = 0.0
        if self.critic is None or self.step >= s.critic_first:
            torch.autograd.backward(loss)
            norm = self._tuner.step(number)
        error = torch.zeros(())
        if self.critic and self._critic_tuner:
            values = self.critic.values(part.batch) * part.mask
            error = value_loss(values, part.values, part.returns, part.mask, s.value_clip)
            torch.autograd.backward(error / tokens)
            self._critic_tuner.step(number)
        return norm, {
            "clipped": float(found.clipped), "approx_kl": float(found.approx_kl),
            "ratio": float(found.ratio), "tokens": float(tokens),
            "value_loss": float(error.detach()),
        }  # fmt: skip

    def _steer(self, kl: float, answers: int) -> None:
        """Beta towards the target (Ziegler et al. 2019, section 2.2)."""
        s = self.settings
        if s.target_kl:
            error = min(max(kl / s.target_kl - 1, -0.2), 0.2)
            self.beta *= 1 + error * answers / s.kl_horizon

    # Kept and taken up again

    @property
    def _state(self) -> dict[str, Tensor]:
        state = {f"policy/{name}": value for name, value in self._tuner.state.items()}
        state["beta"] = self.beta
        if self.critic and self._critic_tuner:
            state |= {f"critic/{name}": value for name, value in self.critic.weights.items()}
            state |= {f"critic_adam/{n}": value for n, value in self._critic_tuner.state.items()}
        return state

    def save(self, run: Run) -> None:
        Checkpoint.write(run.checkpoints, self.step, self.weights, self._state)

    def resume(self, checkpoint: Checkpoint) -> None:
        restore(self.weights, checkpoint.load("weights"), checkpoint.path)
        restore(self._state, checkpoint.load("optimizer"), checkpoint.path)
        self.step = checkpoint.step


def _agreement(rollouts: Sequence[Rollout], drawn: Tensor, mask: Tensor) -> float:
    """Largest difference in nats about a drawn token between the engine and `drawn` (B, T)."""
    sampled = torch.tensor([value for one in rollouts for value in one.sampled])
    return float((drawn[mask.bool()] - sampled).abs().max())
