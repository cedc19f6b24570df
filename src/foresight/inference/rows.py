"""Rows of the engine: one completion, or the continuations of one prompt, on their way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foresight.data.tokenizer import IMG, Tokenizer
from foresight.inference.assembler import Assembler
from foresight.inference.drawing import Drawn, Stream
from foresight.inference.guide import Guide
from foresight.inference.language_model import Completion, Finish, Sampling, Score, Token
from foresight.inference.network import causal_after
from foresight.inference.prompt import Prompt, printable

Alternatives = tuple[tuple[int, str, float], ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """New tokens of a row: ids, positions (count,) int64; patches (m, 3 p^2) uint8; `mask`
    (count, start + count) to add to the scores, or None; `kept`: how many stay in the cache."""

    row: Row
    start: int
    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    patches: NDArray[np.uint8]
    mask: Tensor | None = None

    @property
    def count(self) -> int:
        return len(self.ids)


class Row(ABC):
    """`slot`: where it is in the cache, None while it waits; `done`: positions read so far."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.slot: int | None = None
        self.done = 0

    @property
    @abstractmethod
    def room(self) -> int:
        """Positions of the cache that it needs."""

    def piece(self, budget: int) -> Piece:
        """The next tokens to read, about `budget` of them."""
        start, end = self.done, min(self.done + budget, len(self.prompt))
        return Piece(
            self,
            start,
            self.prompt.ids[start:end],
            np.arange(start, end),
            self._patches(start, end),
        )

    def _patches(self, start: int, end: int) -> NDArray[np.uint8]:
        before = int((self.prompt.ids[:start] == IMG).sum())
        inside = int((self.prompt.ids[start:end] == IMG).sum())
        return self.prompt.patches[before : before + inside]


class GenerateRow(Row):
    """One completion."""

    def __init__(
        self, prompt: Prompt, sampling: Sampling, sample: int, tokenizer: Tokenizer, context: int
    ) -> None:
        super().__init__(prompt)
        self.sampling, self.sample, self._tokenizer = sampling, sample, tokenizer
        self.stream = Stream(sampling.seed, sample)
        self.most = min(sampling.max_tokens, context - len(prompt) + 1)
        self.drawn: list[Drawn] = []
        self.guide = Guide(sampling.schema, tokenizer) if sampling.schema else None
        self.finish: Finish | None = None if self.most > 0 else "length"
        self._assembler = Assembler(tokenizer.token_bytes, sampling.stop)

    @property
    def room(self) -> int:
        # The last token that is drawn is never read.
        return len(self.prompt) + self.most - 1

    @property
    def last(self) -> int:
        """The token that is read next to draw one: the last of the prompt or of those drawn."""
        return self.drawn[-1].id if self.drawn else int(self.prompt.ids[-1])

    def push(self, drawn: Drawn, ends: Sequence[int]) -> str:
        """Take a token; the text that it settles."""
        ending = drawn.id in ends or drawn.id in self.sampling.stop_tokens
        self.drawn.append(drawn)
        if self.guide:
            self.guide.push(drawn.id)
        text = "" if ending else self._assembler.push(drawn.id)
        if ending or self._assembler.stopped:
            self.finish = "stop"
        elif len(self.drawn) >= self.most:
            self.finish = "length"
        if self.finish:
            text += self._assembler.finish()
        return text

    def cancel(self) -> None:
        self.finish = "cancelled"
        self._assembler.finish()

    def tokens(self, start: int = 0) -> tuple[Token, ...]:
        """What was drawn from the `start`th on, if log-probabilities were asked for."""
        return tuple(
            Token(
                one.id,
                printable(one.id, self._tokenizer),
                one.logprob,
                tuple((i, printable(i, self._tokenizer), value) for i, value in one.top),
            )
            for one in self.drawn[start:]
            if one.logprob is not None
        )

    @property
    def answered(self) -> bool:
        return self.finish is not None

    def answer(self) -> Completion | None:
        """The completion, once it is finished."""
        if self.finish is None:
            return None
        return Completion(
            self._assembler.text,
            self.finish,
            tuple(one.id for one in self.drawn),
            self.tokens(),
            len(self.prompt),
            len(self.drawn),
        )


class ScoreRow(Row):
    """Continuations of one prompt. All but their last tokens are read behind the prompt, each
    seeing the prompt and itself alone, and leave nothing in the cache."""

    def __init__(self, prompt: Prompt, tails: Sequence[Sequence[int]], top: int) -> None:
        super().__init__(prompt)
        self.tails, self.top = tails, top
        self.scores: tuple[Score, ...] | None = None

    @property
    def room(self) -> int:
        return len(self.prompt) + sum(len(tail) - 1 for tail in self.tails)

    def piece(self, budget: int) -> Piece:
        rest = len(self.prompt) - self.done
        if rest > budget:
            return super().piece(budget)
        heads = [np.array(tail[:-1], np.int64) for tail in self.tails]
        positions = [np.arange(self.done, len(self.prompt))]
        positions += [np.arange(len(self.prompt), len(self.prompt) + len(head)) for head in heads]
        return Piece(
            self,
            self.done,
            np.concatenate([self.prompt.ids[self.done :], *heads]),
            np.concatenate(positions),
            self._patches(self.done, len(self.prompt)),
            self._mask(rest, [len(head) for head in heads])
            if self.room > len(self.prompt)
            else None,
        )

    def _mask(self, rest: int, sizes: Sequence[int]) -> Tensor:
        """The prompt in causal order; every continuation sees the prompt and itself."""
        mask = causal_after(self.done, rest + sum(sizes))
        first = len(self.prompt)
        at = first
        for size in sizes:
            mask[at - self.done : at - self.done + size, first:at] = -torch.inf
            at += size
        return mask

    def asked(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the last piece, counted from its end: which positions predict, and what came."""
        behind = sum(len(tail) - 1 for tail in self.tails)
        at: list[int] = []
        offset = -behind
        for tail in self.tails:
            at += [-behind - 1, *range(offset, offset + len(tail) - 1)]
            offset += len(tail) - 1
        return np.array(at), np.array([token for tail in self.tails for token in tail], np.int64)

    def take(
        self, logprobs: Sequence[float], greedy: Sequence[bool], top: Sequence[Alternatives]
    ) -> None:
        """Log-probability of every token `asked` for, whether it is the likeliest, and what else
        could have stood there, if that is wanted."""
        scores, first = [], 0
        for tail in self.tails:
            own = slice(first, first + len(tail))
            values = tuple(logprobs[own])
            scores.append(Score(sum(values), values, all(greedy[own]), top=tuple(top[own])))
            first += len(tail)
        self.scores = tuple(scores)

    def cancel(self) -> None:
        self.scores = tuple(Score(float("nan"), (), False, "cancelled") for _ in self.tails)

    @property
    def answered(self) -> bool:
        return self.scores is not None

    def answer(self) -> tuple[Score, ...] | None:
        """The scores, once they are there."""
        return self.scores


def pack_tails(length: int, tails: Sequence[Sequence[int]], context: int) -> list[list[list[int]]]:
    """Continuations in order, in groups that fit the context behind a prompt of `length`."""
    groups: list[list[list[int]]] = [[]]
    used = length
    for tail in tails:
        if groups[-1] and used + len(tail) - 1 > context:
            groups.append([])
            used = length
        groups[-1].append(list(tail))
        used += len(tail) - 1
    return groups
