"""POST /v1/decisions: questions with given answers, told as probabilities; nothing is generated.

The probability of an answer is the model's own for the letter that stands for it, among the
letters (as rule-based reward models ask; `posttrain/graders.py`). `label_mass`, beyond OpenAI's
fields, is what all letters have together: where it is small, the model would have said something
else, and the shares say little.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from scipy.special import softmax

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.inference.language_model import ScoreRequest
from foresight.inference.prompt import encode_prompt
from foresight.posttrain.chat import Message, render_prompt
from foresight.posttrain.messages import MessageReader
from foresight.serve.bodies import Choice, DecisionBody, InputMessage, Predicate, Rating
from foresight.serve.errors import ServiceError
from foresight.serve.judge import Asks, Judge
from foresight.serve.policy import Policy
from foresight.serve.pool import Pool, Served
from foresight.serve.service import ERRORS, service_of
from foresight.serve.settings import ServiceSettings
from foresight.serve.streams import until_gone

router = APIRouter()
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRUTH = ("the statement is true", "the statement is false")


@router.post("/v1/decisions", responses=ERRORS)
async def decide(body: DecisionBody, request: Request) -> dict[str, Any]:
    """Probabilities of the answers to questions about one input."""
    service = service_of(request)
    served = service.pool.to_ask(body.model)
    given = _given(body.input)

    async def all_answers() -> list[tuple[dict[str, Any], int]]:
        return list(await asyncio.gather(*(_answer(served, given, one) for one in body.questions)))

    found = await until_gone(request, all_answers(), service.settings.limits.seconds)
    tokens = sum(count for _, count in found)
    request.scope["state"]["charge"](tokens)
    return {
        "model": served.name,
        "answers": [answer for answer, _ in found],
        "usage": {
            "input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }  # fmt: skip


def judge_of(policy: Policy, pool: Pool, settings: ServiceSettings) -> Judge:
    """What judges by a policy. Raises UserError if it names what is not there."""
    if policy.judge and policy.judge not in settings.models:
        raise UserError(f"{policy.name}, field judge: {policy.judge!r} is not among the models")
    return Judge(policy, _asks_of(pool, policy.judge) if policy.judge else None)


def _asks_of(pool: Pool, model: str) -> Asks:
    """A judge of the policy: a model's probability that a statement about an exchange is true."""

    async def asks(statement: str, asked: str, answered: str) -> float:
        said = f"user: {asked}\n" + (f"assistant: {answered}\n" if answered else "")
        question = Predicate(type="predicate", instructions=statement)
        answer, _ = await _answer(pool.get(model), [Text(said)], question)
        return float(answer["probability"])

    return asks


def _given(value: str | list[InputMessage]) -> list[Text | Image]:
    """The input as parts of one message: who said what, and pictures where they stand."""
    if isinstance(value, str):
        return [Text(value)]
    parts: list[Text | Image] = []
    reader = MessageReader("the request", None)
    for at, message in enumerate(value):
        parts.append(Text(f"{message.role}: "))
        for number, part in enumerate([] if isinstance(message.content, str) else message.content):
            if part.type == "input_text":
                parts.append(Text(part.text))
                continue
            field = f"input[{at}].content[{number}].image_url"
            try:
                parts.append(reader.picture(field, part.image_url))
            except UserError as error:
                raise ServiceError(400, str(error), "invalid_image", field) from None
        if isinstance(message.content, str):
            parts.append(Text(message.content))
        parts.append(Text("\n"))
    return parts


async def _answer(
    served: Served, given: Sequence[Text | Image], question: Predicate | Choice | Rating
) -> tuple[dict[str, Any], int]:
    """An answer, and how many tokens were read for it."""
    match question:
        case Predicate():
            told = list(_TRUTH)
        case Choice():
            told = [_told(str(one.value), one.description) for one in question.choices]
        case Rating():
            told = [_told(one.label, one.description) for one in question.levels]
    labels = _labels(len(told))
    listed = "\n".join(f"{label}. {text}" for label, text in zip(labels, told, strict=True))
    asked = f"\n\n{question.instructions}\n{listed}\nAnswer with one label."
    prompt = render_prompt((Message("user", (*given, Text(asked))),))
    try:
        scores = await served.worker.score(ScoreRequest(prompt, tuple(labels)))
    except UserError as error:
        raise ServiceError(400, str(error), "invalid_prompt", "input") from None
    nats = [one.logprob for one in scores]
    shares = softmax(nats).tolist()
    mass = math.fsum(math.exp(one) for one in nats)
    answer = {"type": question.type, "name": question.name, **_shape(question, shares),
              "label_mass": min(mass, 1.0)}  # fmt: skip
    return answer, len(encode_prompt(prompt, served.tokenizer, served.about.patch or 1))


def _told(name: str, description: str | None) -> str:
    return f"{name}: {description}" if description else name


def _labels(count: int) -> list[str]:
    """A, B, ... Z; two letters where there are more."""
    if count <= len(_LETTERS):
        return list(_LETTERS[:count])
    return [f"{one}{other}" for one in _LETTERS for other in _LETTERS][:count]


def _shape(question: Predicate | Choice | Rating, shares: list[float]) -> dict[str, Any]:
    if isinstance(question, Predicate):
        return {"probability": shares[0]}
    most = max(range(len(shares)), key=shares.__getitem__)
    if isinstance(question, Choice):
        return {
            "choice": question.choices[most].value,
            "confidence": shares[most],
            "probabilities": [
                {"value": one.value, "probability": share}
                for one, share in zip(question.choices, shares, strict=True)
            ],
        }
    return {
        "score": math.fsum(at * share for at, share in enumerate(shares)),
        "confidence": shares[most],
        "probabilities": [
            {"value": at, "label": one.label, "probability": share}
            for at, (one, share) in enumerate(zip(question.levels, shares, strict=True))
        ],
    }
