"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from foresight.inference.language_model import Completion, Token
from foresight.serve import prompts
from foresight.serve.answers import Head, chat_logprobs, usage_of
from foresight.serve.asking import Asked, collected
from foresight.serve.bodies import ChatBody
from foresight.serve.errors import ServiceError
from foresight.serve.service import ERRORS, Service, service_of
from foresight.serve.streams import EventStream, resumed, until_gone
from foresight.serve.worker import Delta

router = APIRouter()


@router.post("/v1/chat/completions", responses=ERRORS)
async def chat(body: ChatBody, request: Request) -> Response:
    """An answer to a conversation; with `stream`, as server-sent events."""
    service = service_of(request)
    return await _Chat(service, body, request).answer()


class _Chat:
    def __init__(self, service: Service, body: ChatBody, request: Request) -> None:
        self.body, self.request, self.limits = body, request, service.settings.limits
        self.served = service.pool.to_ask(body.model)
        messages = prompts.conversation(body.messages, self.limits)
        if messages[-1].role == "assistant":
            raise ServiceError(400, "messages: the last one is the assistant's; it must be a "
                               "user's or a system message", param="messages")  # fmt: skip
        self.drawn = prompts.sampling(body, self.limits, self.served.about.tokenizer)
        self.n, self.messages = prompts.count(body, self.limits), messages
        self.asked = Asked(service, self.served, request, messages, body.subject)
        id = f"chatcmpl-{request.scope['state']['request_id']}"
        self.head = Head.of(id, self.served.name, self.served.weights)

    async def answer(self) -> Response:
        answers = self.served.worker.chat(self.messages, self.drawn, self.n)
        events = self.asked.events(answers, self.n)
        if not self.body.stream:
            work = collected(events)
            found = await until_gone(self.request, work, self.limits.seconds)
            return JSONResponse(self._whole(found))
        # What cannot be answered at all is an error, not a stream with an error in it.
        first = await until_gone(self.request, anext(events), self.limits.seconds)
        return EventStream(self._chunks(first, events), self.limits.seconds)

    def _logprobs(self, tokens: tuple[Token, ...]) -> dict[str, Any] | None:
        if not self.body.logprobs:
            return None
        return chat_logprobs(tokens, self.served.about.tokenizer)

    def _whole(self, found: Sequence[Completion]) -> dict[str, Any]:
        choices = [
            {
                "index": at,
                "message": {"role": "assistant", "content": one.text, "refusal": None},
                "logprobs": self._logprobs(one.tokens),
                "finish_reason": FINISH[one.finish],
            }
            for at, one in enumerate(found)
        ]
        return self.head.object("chat.completion", choices=choices, usage=usage_of(found))

    async def _chunks(
        self, first: Delta | Completion, rest: AsyncIterator[Delta | Completion]
    ) -> AsyncIterator[dict[str, Any]]:
        found: list[Completion] = []
        told = [0] * self.n
        for at in range(self.n):
            yield self._chunk(at, {"role": "assistant", "content": "", "refusal": None})
        async with aclosing(resumed(first, rest)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    told[event.sample] += len(event.tokens)
                    delta = {"content": event.text}
                    yield self._chunk(event.sample, delta, self._logprobs(event.tokens))
                    continue
                at = len(found)
                found.append(event)
                # Tokens that settled no text: an end mark, part of a stop string.
                left = self._logprobs(event.tokens[told[at] :])
                yield self._chunk(at, {}, left, FINISH[event.finish])
        if self.body.stream_options and self.body.stream_options.include_usage:
            yield self.head.object("chat.completion.chunk", choices=[], usage=usage_of(found))

    def _chunk(
        self, at: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": at, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self.head.object("chat.completion.chunk", choices=[choice])


FINISH = {"stop": "stop", "length": "length", "refused": "content_filter"}
