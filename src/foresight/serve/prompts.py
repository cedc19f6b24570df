"""From the bodies of requests to what an engine is asked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.inference.language_model import Sampling
from foresight.posttrain.chat import Conversation
from foresight.posttrain.messages import MessageReader
from foresight.serve.bodies import AsJson, AsSchema, ChatBody, ChatMessage, CompletionBody, Drawing
from foresight.serve.errors import ServiceError
from foresight.serve.settings import Limits

_DATA_URL_GROWTH = 4 / 3


def conversation(messages: Sequence[ChatMessage], limits: Limits) -> Conversation:
    """Raises ServiceError 400 naming the field."""
    rows: list[dict[str, Any]] = []
    pictures = 0
    for message in messages:
        row = message.model_dump(exclude={"name"})
        row["role"] = "system" if row["role"] == "developer" else row["role"]
        if isinstance(row["content"], list):
            for part in row["content"]:
                if part["type"] == "image_url":
                    part["image_url"].pop("detail")
                    pictures += 1
                    _bounded(part["image_url"]["url"], pictures, limits)
        rows.append(row)
    try:
        return MessageReader("the request", None).messages("messages", rows)
    except UserError as error:
        raise ServiceError(400, str(error), "invalid_messages", "messages") from None


def _bounded(url: str, pictures: int, limits: Limits) -> None:
    if pictures > limits.images:
        raise ServiceError(
            400, f"more than {limits.images} pictures", "too_many_images", "messages"
        )
    if len(url) > limits.image_bytes * _DATA_URL_GROWTH + 100:
        raise ServiceError(
            400, f"a picture of {len(url) / _DATA_URL_GROWTH:,.0f} bytes; at most "
            f"{limits.image_bytes:,} are read", "image_too_large", "messages",
        )  # fmt: skip


def sampling(
    body: ChatBody | CompletionBody, limits: Limits, tokenizer: Tokenizer | None
) -> Sampling:
    """Raises ServiceError 400 for what is out of range here."""
    if isinstance(body, ChatBody):
        most = body.max_completion_tokens or body.max_tokens or limits.max_tokens
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        if body.top_logprobs and not body.logprobs:
            raise ServiceError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
        schema = _schema(body)
    else:
        most = 16 if body.max_tokens is None else body.max_tokens
        logprobs, schema = body.logprobs, ""
        if body.best_of is not None and body.best_of != count(body, limits):
            raise ServiceError(400, "best_of is offered where it equals n only", param="best_of")
    if most > limits.max_tokens:
        raise ServiceError(
            400, f"max_tokens {most}: at most {limits.max_tokens}", param="max_tokens"
        )
    bias = {int(token): value for token, value in (body.logit_bias or {}).items()}
    if tokenizer and (wrong := [token for token in bias if token >= tokenizer.size]):
        raise ServiceError(
            400,
            f"logit_bias: {wrong[0]} is none of the {tokenizer.size} tokens",
            param="logit_bias",
        )
    return Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        max_tokens=most,
        stop=tuple(body.stop or ()),
        logit_bias=tuple(bias.items()),
        logprobs=logprobs,
        seed=secrets.randbits(62) if body.seed is None else body.seed,
        schema=schema,
    )


def _schema(body: ChatBody) -> str:
    match body.response_format:
        case AsJson():
            return json.dumps({"type": "object"})
        case AsSchema(json_schema=given):
            return json.dumps(given.schema_)
    return ""


def count(body: Drawing, limits: Limits) -> int:
    """How many answers. Raises ServiceError 400."""
    n = body.n or 1
    if n > limits.n:
        raise ServiceError(400, f"n {n}: at most {limits.n}", param="n")
    return n


def prompts(body: CompletionBody, limits: Limits) -> list[str] | list[tuple[int, ...]]:
    """Texts or token ids. Raises ServiceError 400."""
    given = body.prompt
    if isinstance(given, str):
        return [given]
    if len(given) > limits.prompts and not isinstance(given[0], int):
        raise ServiceError(400, f"{len(given)} prompts: at most {limits.prompts}", param="prompt")
    if isinstance(given[0], int):
        return [tuple(given)]
    if isinstance(given[0], str):
        return list(given)
    return [tuple(one) for one in given]
