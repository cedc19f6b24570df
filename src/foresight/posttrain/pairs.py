"""Pairs of answers as tokens, in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foresight.data.shards import Encoded, encode_parts
from foresight.data.tokenizer import BOS, Tokenizer
from foresight.document import IM_END, Mark
from foresight.errors import UserError
from foresight.posttrain.chat import render_prompt
from foresight.posttrain.conversations import Pair
from foresight.posttrain.sequences import answered
from foresight.worlds.splits import hash64


@dataclass(frozen=True, eq=False)
class EncodedPair:
    """Two answers to a prompt as tokens, the better one first; only answers have weight. `group`:
    the prompt, which is on one side of a split; `gap`: how much better, if a world knows it."""

    group: str
    chosen: Encoded
    rejected: Encoded
    weight: float = 1.0
    gap: float | None = None


def encode_pairs(
    pairs: Sequence[Pair], tokenizer: Tokenizer, patch: int, context: int
) -> list[EncodedPair]:
    """Answers with their end mark. Raises UserError naming a pair that is too long."""
    found = []
    for one in pairs:
        prompt = encode_parts((Mark(BOS), *render_prompt(one.prompt)), tokenizer, patch)
        chosen, rejected = (
            answered(prompt, [*tokenizer.encode(text.strip()), IM_END])
            for text in (one.chosen, one.rejected)
        )
        # One more: a reward is read after the end mark.
        if max(len(chosen.tokens), len(rejected.tokens)) > context:
            raise UserError(f"pair {one.id}: does not fit the context of {context}; shorten it")
        found.append(EncodedPair(one.group, chosen, rejected, one.weight, one.gap))
    return found


def sides_of(pairs: Sequence[EncodedPair]) -> tuple[list[Encoded], Tensor]:
    """The better answers, then the worse ones (2 n), and the pairs' weights (n,)."""
    sides = [one.chosen for one in pairs] + [one.rejected for one in pairs]
    return sides, torch.tensor([one.weight for one in pairs])


def divide(
    pairs: Sequence[EncodedPair], held_out: float
) -> tuple[list[EncodedPair], list[EncodedPair]]:
    """(to learn from, held out): a prompt is on one side, whatever else is in the file. Raises
    UserError if a side would be empty."""
    kept = [one for one in pairs if hash64(f"held out {one.group}") < held_out * 2.0**64]
    learned = [one for one in pairs if hash64(f"held out {one.group}") >= held_out * 2.0**64]
    if not learned or len(kept) < 2:
        raise UserError(f"{len(pairs)} pairs: too few prompts to hold a share of {held_out} out")
    return learned, kept


class PairOrder:
    """Which pairs a step sees: a fresh order every epoch, a function of (seed, step) alone."""

    def __init__(self, count: int, batch: int, epochs: int, seed: int) -> None:
        self._count, self._batch, self._seed = count, min(batch, count), seed
        self._each = -(-count // self._batch)
        self.steps = epochs * self._each

    def at(self, step: int) -> list[int]:
        epoch, part = divmod(step, self._each)
        order = np.random.default_rng([self._seed, epoch]).permutation(self._count)
        return [int(one) for one in order[part * self._batch : (part + 1) * self._batch]]
