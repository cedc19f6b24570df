"""Answers that are given while they are made, and clients that leave before the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from foresight.serve.errors import ServiceError

T = TypeVar("T")


class ClientLeft(Exception):  # noqa: N818 - nobody's error
    """Nobody waits for the answer any more."""


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def until_gone(request: Request, work: Awaitable[T], seconds: float) -> T:
    """What `work` comes to. It is cancelled when the client leaves (ClientLeft) or after `seconds`
    (ServiceError 504)."""
    return await _until_gone(request.receive, work, seconds)


async def _until_gone(receive: Receive, work: Awaitable[T], seconds: float) -> T:
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({doing, watching}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        if watching.done():
            raise ClientLeft
        raise ServiceError(504, f"no answer within {seconds:g} seconds", "timeout")
    finally:
        for task in (doing, watching):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def resumed(first: T, rest: AsyncIterator[T]) -> AsyncGenerator[T]:
    """An iteration whose first element was looked at; `rest` is closed with it."""
    async with aclosing(rest):  # type: ignore[type-var]
        yield first
        async for one in rest:
            yield one


class EventStream(Response):
    """Server-sent events: each object a `data:` line, `[DONE]` at the end; an error after the
    first of them is an event like OpenAI's."""

    def __init__(self, events: AsyncIterator[dict[str, Any]], seconds: float) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self._events, self._seconds = events, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientLeft):
            await _until_gone(receive, self._send_all(send), self._seconds + 1.0)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.timeout(self._seconds), aclosing(self._events) as events:  # type: ignore[type-var]
                async for event in events:
                    await self._put(send, _json(event))
        except (TimeoutError, ServiceError) as error:
            late = ServiceError(504, f"no end within {self._seconds:g} seconds", "timeout")
            told = error if isinstance(error, ServiceError) else late
            await self._put(send, _json(told.body))
        else:
            await self._put(send, b"[DONE]")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _put(self, send: Send, data: bytes) -> None:
        body = b"data: %b\n\n" % data
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _json(event: dict[str, Any]) -> bytes:
    """A fifth of the time of `json`, once a token; which halves of a surrogate pair are not for."""
    try:
        return to_json(event)
    except PydanticSerializationError:
        return json.dumps(event, ensure_ascii=False).encode(errors="replace")
