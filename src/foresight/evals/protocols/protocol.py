"""What a protocol is: how items are put to a model and how its answers become scores."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import Layout, joined
from foresight.evals.record import Reason
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Parts,
    Sampling,
)


@dataclass(frozen=True)
class Attempt:
    """An item to be answered for the `sample`-th time, behind a prefix of `shots` examples.

    `stream` names the random stream: it depends on task, item and sample alone, so that a run that
    is taken up again draws what it would have drawn.
    """

    item: Item
    prefix: Parts
    shots: int
    sample: int
    stream: str

    def seed(self, use: str) -> int:
        """A 31-bit seed of its own for every use."""
        digest = hashlib.sha256(f"{self.stream}/{use}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True)
class Answer:
    """What a protocol finds out about an attempt: the fields of `Record` that it decides."""

    prompt: str
    output: str
    answer: str | None
    score: float | None
    reason: Reason = Reason.OK
    choice_logprobs: tuple[float, ...] = ()
    tokens: int = 0
    details: dict[str, Any] = field(default_factory=dict)


Emit = Callable[[int, Answer], None]
"""Called once for every attempt, by its index, as soon as it is answered, in any order."""


class Protocol(BaseModel, ABC):
    """Settings that decide a score. All fields go into the task's hash but those excluded from
    serialisation, which are resources (a sandbox)."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    batch: ClassVar[int] = 256
    """Attempts put at a time: what a kill between two stages can cost."""

    layout: Layout = Layout()
    """How prompts are written."""

    @abstractmethod
    def check(self, item: Item) -> None:
        """Raises UserError if the item cannot be put this way, before anything is asked."""

    @abstractmethod
    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        """Answer all attempts. What the model or the grader fails to do is a reason, never an
        exception."""

    def samples_differ(self) -> bool:
        """False: a second sample of an item would be the first one again."""
        return False

    def settings(self) -> dict[str, Any]:
        """What the task's hash covers, JSON values."""
        return self.model_dump(mode="json")

    def prompt(self, attempt: Attempt, order: Sequence[int] | None = None) -> Parts:
        """Prefix and question."""
        asked = self.layout.asked(attempt.item, attempt.shots + 1, order)
        return joined([*attempt.prefix, *asked])


def requests(
    attempts: Sequence[Attempt], prompts: Sequence[Parts], use: str, **sampling: Any
) -> list[GenerateRequest]:
    """One draw for each attempt, from its random stream for this use."""
    return [
        GenerateRequest(prompt, Sampling(seed=one.seed(use), **sampling))
        for one, prompt in zip(attempts, prompts, strict=True)
    ]


def needs_choices(item: Item) -> None:
    """Raises UserError unless the item has choices and says which is right."""
    if len(item.choices) < 2 or not isinstance(item.target, int):
        raise UserError(
            f"item {item.id}: a multiple-choice item needs two or more `choices` and the index of "
            f"the right one as `target`"
        )


def needs_answers(item: Item) -> None:
    """Raises UserError unless the item has a tuple of texts as target."""
    if not isinstance(item.target, tuple) or not item.target:
        raise UserError(f"item {item.id}: `target` must list at least one accepted answer")


def came(completion: Completion) -> bool:
    """Whether the model answered at all, be it with nothing."""
    return completion.finish not in ("failed", "cancelled", "refused")


def unanswered(prompt: str, completion: Completion) -> Answer:
    """The answer of a completion that never came, which has no score, or that its endpoint marks
    as declined: score 0."""
    details = {"finish": completion.finish, "error": completion.error}
    refused = completion.finish == "refused"
    return Answer(
        prompt, completion.text, None, 0.0 if refused else None,
        Reason.REFUSAL if refused else Reason.NO_RESPONSE,
        tokens=completion.completion_tokens, details=details,
    )  # fmt: skip
