"""One question to a model on its way: asked, measured, watched, noted.

What a model says passes the watch before anyone sees it, and is in the audit log before its end is
told: an answer that was given is an answer that is on record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from foresight.errors import UserError
from foresight.inference.language_model import Completion
from foresight.posttrain.chat import Conversation
from foresight.serve.errors import ServiceError
from foresight.serve.pool import Served
from foresight.serve.service import Service
from foresight.serve.watch import Exchange, subject_of
from foresight.serve.worker import Delta


@dataclass
class Asked:
    """A generation for one client; iterate over `events` once. `messages`: what was asked, as it
    is put on record; `subject`: whoever uses the client, if it told."""

    service: Service
    served: Served
    request: Request
    messages: Conversation
    subject: str | None

    async def events(
        self, answers: AsyncIterator[Delta | Completion], n: int
    ) -> AsyncIterator[Delta | Completion]:
        """`answers`: of the model, n of them, not begun yet. Raises ServiceError for what cannot be
        answered."""
        started = time.monotonic()
        first = None
        counted = 0
        finished = False
        model, prompt_tokens = self.served.name, 0
        watch, state = self.service.watch, self.request.scope["state"]
        key = state["key"].name
        exchange = Exchange(
            state["request_id"], key, subject_of(key, self.subject), self.request.url.path,
            self.served, self.messages, n, watch.policy.label,
        )  # fmt: skip
        await watch.admit(exchange)
        generated = watch.screened(exchange, answers)
        try:
            async for event in generated:
                if first is None:
                    first = time.monotonic()
                    self.service.metrics.first_token.labels(model).observe(first - started)
                if isinstance(event, Completion):
                    _sound(event)
                    counted += event.completion_tokens
                    prompt_tokens = event.prompt_tokens
                    finished = True
                yield event
            if finished:
                self._count(prompt_tokens, counted, n, time.monotonic() - (first or started))
        except (asyncio.CancelledError, GeneratorExit):
            self.service.metrics.cancelled.labels(model).inc()
            raise
        except UserError as error:
            raise ServiceError(400, str(error), "invalid_prompt", "messages") from None
        finally:
            await generated.aclose()  # type: ignore[attr-defined]

    def _count(self, prompt: int, drawn: int, n: int, seconds: float) -> None:
        model = self.served.name
        self.service.metrics.tokens.labels(model, "prompt").inc(prompt)
        self.service.metrics.tokens.labels(model, "completion").inc(drawn)
        if drawn > n:
            self.service.metrics.per_token.labels(model).observe(seconds / (drawn / n - 1))
        charge: Any = self.request.scope["state"]["charge"]
        charge(prompt + drawn)


def _sound(completion: Completion) -> None:
    """Raises ServiceError 500 for an answer that the engine gave up."""
    if completion.finish in ("cancelled", "failed"):
        raise ServiceError(500, "the model broke off; ask again", "engine_failed")


async def collected(events: AsyncIterator[Delta | Completion]) -> Sequence[Completion]:
    """The completions alone."""
    return [event async for event in events if isinstance(event, Completion)]
