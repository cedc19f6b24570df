"""What a language model is to those who ask it: two questions, and their answers.

`generate` continues prompts, `score` gives log-probabilities of continuations. `Engine` answers
from a checkpoint of ours, `APIModel` from any OpenAI-compatible endpoint; evaluations, rollouts
and graders are written against this protocol and know neither. All log-probabilities are natural
logarithms, of the model's own distribution at temperature 1 before any bias or cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from foresight.document import Part
from foresight.errors import UserError

Finish = Literal["stop", "length", "cancelled", "failed", "refused"]
"""Ended by a stop string, a stop token or the end mark; cut at `max_tokens` or at the end of the
context; given up by the caller; not answered (`Completion.error` says why)."""
Parts = tuple[Part, ...]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Raises UserError for values outside their range.

    `temperature` 0 takes the likeliest token. `top_k` 0 keeps all. The cuts apply in the order
    bias, temperature, top-k, top-p. `logprobs`: alternatives reported beside every token drawn;
    None: no log-probabilities. `seed`: the n completions of a request draw from streams of their
    own, the same whatever else is being answered. `schema`: a JSON schema that the answer follows,
    as far as `max_tokens` lets it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    seed: int = 0
    schema: str = ""

    def __post_init__(self) -> None:
        checks = (
            ("temperature", self.temperature, 0.0 <= self.temperature < 100.0, "0 or more"),
            ("top_p", self.top_p, 0.0 < self.top_p <= 1.0, "above 0 and at most 1"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (all) or more"),
            ("max_tokens", self.max_tokens, self.max_tokens >= 0, "0 or more"),
            ("logprobs", self.logprobs, self.logprobs is None or self.logprobs >= 0, "0 or more"),
        )
        for name, value, right, allowed in checks:
            if not right:
                raise UserError(f"{name} {value}: must be {allowed}")
        if "" in self.stop:
            raise UserError("stop: an empty stop string would end every answer at once")


@dataclass(frozen=True)
class GenerateRequest:
    """A prompt of text and pictures, or its token ids, to be continued `n` times."""

    prompt: Parts | tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    n: int = 1


@dataclass(frozen=True)
class Token:
    """A token of an answer. `text` may be broken UTF-8 (replaced); `top`: (id or None where the
    endpoint does not tell it, text, log-probability), likeliest first."""

    id: int | None
    text: str
    logprob: float
    top: tuple[tuple[int | None, str, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """One continuation. `text` ends before the stop string. `tokens`: if log-probabilities were
    asked for. `token_ids`: all that were drawn, or () where the endpoint does not tell them."""

    text: str
    finish: Finish
    token_ids: tuple[int, ...] = ()
    tokens: tuple[Token, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""


@dataclass(frozen=True)
class ScoreRequest:
    """Continuations of one prompt. Token ids of prompt + continuation are those of the joined
    text; what they have beyond the prompt's own ids is scored (as lm-evaluation-harness does;
    spaces that end the prompt go to the continuation)."""

    prompt: Parts | tuple[int, ...]
    continuations: tuple[str | tuple[int, ...], ...]
    top: int = 0
    """Alternatives told beside every token scored."""


@dataclass(frozen=True)
class Score:
    """A continuation's log-probability in nats, of each token and in all; `greedy`: every token
    is the likeliest one. `error`: why there is none (then logprob is nan). `top`: of each token, if
    asked for, (id, text, log-probability) of what could have stood there, likeliest first."""

    logprob: float
    token_logprobs: tuple[float, ...]
    greedy: bool
    error: str = ""
    top: tuple[tuple[tuple[int, str, float], ...], ...] = ()


class LanguageModel(Protocol):
    """Answers come in the order of the requests, whatever order they are computed in.

    `on_done(index, answer)` is called as soon as a request is answered (progress, records that
    survive a kill). What cannot be answered (an endpoint that gives up) is an answer with `error`
    set, never an exception in the middle of a batch; what can never work (a wrong key, a prompt
    too long for the context) raises UserError before anything is asked where it can be seen.
    """

    name: str
    """Identifies the weights: two models with the same name give the same answers."""

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]: ...

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]: ...
