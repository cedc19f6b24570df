"""From what an engine answers to OpenAI's objects."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from foresight.data.tokenizer import Tokenizer
from foresight.inference.language_model import Completion, Token


@dataclass(frozen=True)
class Head:
    """What all objects of one answer begin with."""

    id: str
    model: str
    weights: str
    created: int

    @classmethod
    def of(cls, request_id: str, model: str, weights: str) -> Head:
        return cls(request_id, model, weights, int(time.time()))

    def object(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": self.weights, **fields,
        }  # fmt: skip


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def usage_of(completions: Sequence[Completion]) -> dict[str, int]:
    """The prompt, which all have in common, counts once."""
    return usage(completions[0].prompt_tokens, sum(one.completion_tokens for one in completions))


def chat_logprobs(tokens: Iterable[Token], tokenizer: Tokenizer | None) -> dict[str, Any]:
    def one(token: int | None, text: str, logprob: float) -> dict[str, Any]:
        known = tokenizer is not None and token is not None
        raw = tokenizer.token_bytes[token] if known else text.encode()  # type: ignore[union-attr,index]
        return {"token": text, "logprob": logprob, "bytes": list(raw)}

    return {
        "content": [
            one(token.id, token.text, token.logprob)
            | {"top_logprobs": [one(*other) for other in token.top]}
            for token in tokens
        ],
        "refusal": None,
    }


def text_logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """As completions have them: four lists. Where two alternatives have one text (broken
    characters), the likelier stands."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [
            {text: logprob for _, text, logprob in reversed(token.top)} for token in tokens
        ],
        "text_offset": offsets,
    }
