"""Small language models with known answers, and small tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

from foresight.document import Text
from foresight.evals.item import Item
from foresight.evals.layout import prompt_text
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    Score,
    ScoreRequest,
)


def unit(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


class Written:
    """Answers by functions of the prompt (and the seed); counts what it was asked.

    `backward`: answers arrive in reverse order. `stop_after`: raises KeyboardInterrupt after so
    many answers, as a killed process would end.
    """

    def __init__(
        self,
        write: Callable[[str, GenerateRequest], str] = lambda prompt, request: "",
        nats: Callable[[str, str], float] = lambda prompt, choice: -1 - unit(prompt + choice),
        name: str = "written",
        backward: bool = False,
        stop_after: int | None = None,
        finish: str = "stop",
    ) -> None:
        self.write, self.nats, self.name, self.backward = write, nats, name, backward
        self.stop_after, self.finish, self.asked = stop_after, finish, 0
        self.requests: list[GenerateRequest | ScoreRequest] = []

    def _order(self, n: int) -> list[int]:
        return list(range(n))[:: -1 if self.backward else 1]

    def _count(self) -> None:
        if self.stop_after is not None and self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += 1

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        self.requests += requests
        found: dict[int, tuple[Completion, ...]] = {}
        for at in self._order(len(requests)):
            self._count()
            text = self.write(prompt_text(requests[at].prompt), requests[at])
            for stop in requests[at].sampling.stop:
                text = text.partition(stop)[0]
            found[at] = (Completion(text, self.finish, completion_tokens=len(text.split())),)
            if on_done:
                on_done(at, found[at])
        return [found[at] for at in range(len(requests))]

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]:
        self.requests += requests
        found: dict[int, tuple[Score, ...]] = {}
        for at in self._order(len(requests)):
            self._count()
            prompt = prompt_text(requests[at].prompt)
            found[at] = tuple(self._score(prompt, one) for one in requests[at].continuations)
            if on_done:
                on_done(at, found[at])
        return [found[at] for at in range(len(requests))]

    def _score(self, prompt: str, continuation: str) -> Score:
        nats = self.nats(prompt, continuation)
        if math.isnan(nats):
            return Score(nats, (), False, error="not answered")
        tokens = max(len(continuation.split()), 1)
        return Score(nats, (nats / tokens,) * tokens, nats > -1.2)


def choice_items(n: int, choices: int = 4) -> tuple[Item, ...]:
    return tuple(
        Item(
            f"q{at}",
            (Text(f"Question {at}?"),),
            tuple(f"option {at} {letter}" for letter in "abcdefgh"[:choices]),
            int(unit(f"target {at}") * choices),
        )
        for at in range(n)
    )


def open_items(n: int) -> tuple[Item, ...]:
    return tuple(Item(f"q{at}", (Text(f"{at} + 1 ="),), (), (str(at + 1),)) for at in range(n))
