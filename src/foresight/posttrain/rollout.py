"""Answers that a policy draws to prompts, with all that is known about them, a record each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foresight.data.shards import Encoded, encode_parts
from foresight.data.tokenizer import BOS, Tokenizer
from foresight.document import Mark
from foresight.evals.layout import prompt_text
from foresight.evals.record import Reason, Record, record_key
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest, Sampling
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import render_prompt
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.sequences import answered
from foresight.runs import write_atomic


@dataclass(frozen=True, eq=False)
class Rollout:
    """An answer as it was drawn. `tokens` end with the end mark if `ended`; `sampled`: the engine's
    log-probabilities of them, in nats at temperature 1."""

    prompt: ChatPrompt
    sample: int
    text: str
    tokens: tuple[int, ...]
    ended: bool
    sampled: tuple[float, ...]
    encoded: Encoded = field(repr=False)


class Reward(Protocol):
    """What answers are worth, in parts that are added up: {part: its reward}, one each."""

    name: str

    def __call__(self, rollouts: Sequence[Rollout]) -> list[dict[str, float]]: ...


def roll_out(
    model: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[ChatPrompt],
    n: int,
    max_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[Rollout]:
    """`n` answers to each prompt, the answers to one after the other.

    What is drawn is a function of weights, prompts and seed. An answer ends with an end mark, or
    at `max_tokens`, and then has none: nothing is ever put behind what was drawn.
    """
    engine = Engine(model, tokenizer, "policy", batch=min(256, len(prompts) * n))
    patch = model.spec.shape.patch
    rendered = [render_prompt(one.messages) for one in prompts]
    asked = [
        GenerateRequest(parts, Sampling(temperature, max_tokens=max_tokens, logprobs=0,
                                        seed=seed + 1_000_003 * at), n)
        for at, parts in enumerate(rendered)
    ]  # fmt: skip
    found = []
    for prompt, parts, completions in zip(prompts, rendered, engine.generate(asked), strict=True):
        encoded = encode_parts((Mark(BOS), *parts), tokenizer, patch)
        for sample, one in enumerate(completions):
            found.append(Rollout(
                prompt, sample, one.text, one.token_ids, one.finish == "stop",
                tuple(token.logprob for token in one.tokens), answered(encoded, one.token_ids),
            ))  # fmt: skip
    return found


def rollouts_path(folder: Path, update: int) -> Path:
    """Where an update's answers are: `foresight view` reads one, or all of `folder`."""
    return folder / f"update-{update:06d}" / "records.jsonl"


def write_rollouts(
    path: Path, rollouts: Sequence[Rollout], parts: Sequence[dict[str, float]], **columns: Any
) -> None:
    """A record each, whose `details` hold the reward in parts, their sum, and further columns; its
    task is the prompt set, its model the name of the folder."""
    lines = []
    for at, (one, reward) in enumerate(zip(rollouts, parts, strict=True)):
        task, model = f"prompts: {one.prompt.prompt_set}", path.parent.name
        said = [f"{turn.role}: {prompt_text(turn.parts)}" for turn in one.prompt.messages]
        details = {"ended": one.ended, "reward": reward, "total": sum(reward.values())} | {
            name: float(np.asarray(values)[at]) for name, values in columns.items()
        }
        # By place: an update may ask a prompt twice.
        key = record_key(task, str(at), one.sample, model)
        record = Record(
            key, task, one.prompt.id, one.sample, model, "", 1.0, "\n".join(said), one.text,
            None, None, None, Reason.UNGRADED, tokens=len(one.tokens), details=details,
        )  # fmt: skip
        lines.append(record.to_line() + "\n")
    write_atomic(path, "".join(lines))
