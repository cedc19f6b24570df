"""POST /v1/completions: texts or token ids continued, or their own log-probabilities told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from foresight.data.tokenizer import BOS
from foresight.document import Text
from foresight.errors import UserError
from foresight.inference.language_model import Completion, ScoreRequest, Token
from foresight.inference.prompt import printable
from foresight.posttrain.chat import user
from foresight.serve import prompts
from foresight.serve.answers import Head, text_logprobs, usage
from foresight.serve.asking import Asked, collected
from foresight.serve.bodies import CompletionBody
from foresight.serve.chat import FINISH
from foresight.serve.errors import ServiceError
from foresight.serve.service import ERRORS, Service, service_of
from foresight.serve.streams import EventStream, resumed, until_gone
from foresight.serve.worker import Delta

router = APIRouter()


@router.post("/v1/completions", responses=ERRORS)
async def complete(body: CompletionBody, request: Request) -> Response:
    """Continuations of prompts. With `echo` and `logprobs`, log-probabilities of the prompt, too:
    of a text, of all its tokens (a begin mark stands before them); of token ids, of all but the
    first, before which nothing stands."""
    return await _Completion(service_of(request), body, request).answer()


class _Completion:
    def __init__(self, service: Service, body: CompletionBody, request: Request) -> None:
        self.service, self.body, self.request = service, body, request
        self.limits = service.settings.limits
        self.served = service.pool.to_ask(body.model)
        self.prompts = prompts.prompts(body, self.limits)
        self.n = prompts.count(body, self.limits)
        self.tokenizer = self.served.about.tokenizer
        self.drawn = prompts.sampling(body, self.limits, self.tokenizer)
        if body.echo:
            _ = self.served.tokenizer  # what is echoed are our tokens
        id = f"cmpl-{request.scope['state']['request_id']}"
        self.head = Head.of(id, self.served.name, self.served.weights)
        if body.stream and body.echo:
            raise ServiceError(400, "echo is not offered with stream", param="echo")

    async def answer(self) -> Response:
        if not self.body.stream:
            work = self._all()
            return JSONResponse(await until_gone(self.request, work, self.limits.seconds))
        if len(self.prompts) > 1:
            raise ServiceError(400, "stream is offered for one prompt a request", param="prompt")
        events = self._events(self.prompts[0])
        first = await until_gone(self.request, anext(events), self.limits.seconds)
        return EventStream(self._chunks(first, events), self.limits.seconds)

    def _text(self, prompt: str | tuple[int, ...]) -> str:
        if isinstance(prompt, str):
            return prompt
        if self.tokenizer is None:
            return f"[{len(prompt)} token ids]"
        return self.tokenizer.decode([one for one in prompt if one < self.tokenizer.size])

    def _events(self, prompt: str | tuple[int, ...]) -> AsyncIterator[Delta | Completion]:
        asked = Asked(
            self.service, self.served, self.request, user(self._text(prompt)), self.body.subject
        )
        parts = (Text(prompt),) if isinstance(prompt, str) else prompt
        return asked.events(self.served.worker.complete(parts, self.drawn, self.n), self.n)

    async def _all(self) -> dict[str, Any]:
        """Prompts are answered side by side."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(prompt)) for prompt in self.prompts]
        found = [task.result() for task in tasks]
        choices = [
            {"index": at, **choice}
            for at, choice in enumerate(choice for choices, _ in found for choice in choices)
        ]
        total = usage(
            sum(told["prompt_tokens"] for _, told in found),
            sum(told["completion_tokens"] for _, told in found),
        )
        return self.head.object("text_completion", choices=choices, usage=total)

    async def _one(
        self, prompt: str | tuple[int, ...]
    ) -> tuple[list[dict[str, Any]], dict[str, int]]:
        wanted = self.body.echo and self.body.logprobs is not None
        echoed = await self._echoed(prompt) if wanted else ()
        before = self._text(prompt) if self.body.echo else ""
        found = await collected(self._events(prompt))
        choices = []
        for one in found:
            logprobs = None
            if self.body.logprobs is not None:
                shown = one.tokens if not wanted else (*echoed, *one.tokens)
                logprobs = text_logprobs(shown, 0)
                if wanted and not isinstance(prompt, str):
                    # Nothing stands before the first: it has no probability.
                    logprobs["token_logprobs"][0] = logprobs["top_logprobs"][0] = None
            choices.append({"text": before + one.text, "logprobs": logprobs,
                            "finish_reason": FINISH[one.finish]})  # fmt: skip
        drawn = sum(one.completion_tokens for one in found)
        return choices, usage(found[0].prompt_tokens, drawn)

    async def _echoed(self, prompt: str | tuple[int, ...]) -> tuple[Token, ...]:
        """The prompt's tokens with their log-probabilities."""
        tokenizer = self.served.tokenizer
        if isinstance(prompt, str):
            ids: list[int] = tokenizer.encode(prompt)
            first: tuple[int, ...] = (BOS,)
            shown: tuple[Token, ...] = ()
        else:
            ids, first = list(prompt[1:]), prompt[:1]
            shown = (Token(first[0], self._shown(first[0]), 0.0),)
        if not ids:
            return shown
        ask = ScoreRequest(first, (tuple(ids),), self.body.logprobs or 0)
        try:
            [score] = await self.served.worker.score(ask)
        except UserError as error:
            raise ServiceError(400, str(error), "invalid_prompt", "prompt") from None
        tops = score.top or ((),) * len(ids)
        return shown + tuple(
            Token(token, self._shown(token), nats, top)
            for token, nats, top in zip(ids, score.token_logprobs, tops, strict=True)
        )

    def _shown(self, token: int) -> str:
        tokenizer = self.served.tokenizer
        return printable(token, tokenizer) if token < tokenizer.size else ""

    async def _chunks(
        self, first: Delta | Completion, rest: AsyncIterator[Delta | Completion]
    ) -> AsyncIterator[dict[str, Any]]:
        found: list[Completion] = []
        told, length = [0] * self.n, [0] * self.n
        async with aclosing(resumed(first, rest)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    at, text, tokens, finish = event.sample, event.text, event.tokens, None
                else:
                    at, text, finish = len(found), "", FINISH[event.finish]
                    tokens = event.tokens[told[at] :]
                    found.append(event)
                logprobs = None
                if self.body.logprobs is not None:
                    logprobs = text_logprobs(tokens, length[at])
                told[at] += len(tokens)
                length[at] += sum(len(token.text) for token in tokens)
                choice = {"index": at, "text": text, "logprobs": logprobs, "finish_reason": finish}
                yield self.head.object("text_completion", choices=[choice])
        if self.body.stream_options and self.body.stream_options.include_usage:
            total = usage(found[0].prompt_tokens, sum(one.completion_tokens for one in found))
            yield self.head.object("text_completion", choices=[], usage=total)
