"""An engine on a thread of its own, asked from an event loop.

The thread steps while anything is open. What a step brought to light goes to the loop in one call,
so that sixty-four streams cost it one wake-up a step and not sixty-four.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.inference.engine import Engine, Ticket
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    Parts,
    Sampling,
    Score,
    ScoreRequest,
    Token,
)
from foresight.inference.rows import GenerateRow
from foresight.posttrain.chat import Conversation, render_prompt

log = logging.getLogger("foresight.serve")


@dataclass(frozen=True)
class About:
    """What is known of a model; nothing of one behind another endpoint."""

    tokenizer: Tokenizer | None = None
    context: int | None = None
    parameters: int | None = None
    patch: int | None = None


@dataclass(frozen=True)
class Delta:
    """Settled text of the completion `sample`, with its tokens if log-probabilities are wanted."""

    sample: int
    text: str
    tokens: tuple[Token, ...] = ()


Event = Delta | tuple[Completion, ...] | tuple[Score, ...] | Exception


class Worker:
    """`tokens_drawn`: in all, cancelled ones too; `open_requests`: not answered yet."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.name = engine, engine.name
        shape = engine.shape
        self.about = About(engine.tokenizer, shape.context, shape.params, shape.patch)
        self.tokens_drawn = 0
        self.open_requests = 0
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._events: list[tuple[asyncio.Queue[Event], Event]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"engine {engine.name}", daemon=True)

    def start(self) -> None:
        """From within the event loop that will ask."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """What is open gets an error; returns when the thread has ended."""

        def stop() -> None:
            self._stopped = True

        self._inbox.put(stop)
        await asyncio.to_thread(self._thread.join)

    @property
    def cache_bytes(self) -> int:
        """Of keys and values."""
        return self.engine.cache.bytes

    def chat(
        self, messages: Conversation, sampling: Sampling, n: int
    ) -> AsyncIterator[Delta | Completion]:
        """Answers to a conversation; see `generate`."""
        return self.generate(GenerateRequest(render_prompt(messages), sampling, n))

    def complete(
        self, prompt: Parts | tuple[int, ...], sampling: Sampling, n: int
    ) -> AsyncIterator[Delta | Completion]:
        """Continuations of a text or of token ids; see `generate`."""
        return self.generate(GenerateRequest(prompt, sampling, n))

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Delta | Completion]:
        """Text as it settles, then each completion. Raises UserError for what can never be
        answered. Whoever stops listening cancels the request."""
        async for event in self._ask(request, stream=True):
            if isinstance(event, Delta):
                yield event
            elif isinstance(event, tuple):
                for one in event:
                    assert isinstance(one, Completion)
                    yield one

    async def score(self, request: ScoreRequest) -> tuple[Score, ...]:
        """Raises UserError for what can never be answered."""
        found: tuple[Score, ...] = ()
        async for event in self._ask(request, stream=False):
            assert isinstance(event, tuple)
            found = event  # type: ignore[assignment]
        return found

    async def _ask(
        self, request: GenerateRequest | ScoreRequest, stream: bool
    ) -> AsyncIterator[Event]:
        events: asyncio.Queue[Event] = asyncio.Queue()
        opened: list[Ticket] = []
        self._inbox.put(lambda: self._submit(request, events, stream, opened))
        self.open_requests += 1
        answered = False
        try:
            while not answered:
                event = await events.get()
                if isinstance(event, Exception):
                    answered = True
                    raise event
                answered = isinstance(event, tuple)
                yield event
        finally:
            self.open_requests -= 1
            if not answered:
                self._inbox.put(lambda: self._cancel(opened))

    # On the thread

    def _cancel(self, opened: list[Ticket]) -> None:
        for ticket in opened:
            self.engine.cancel(ticket)

    def _submit(
        self,
        request: GenerateRequest | ScoreRequest,
        events: asyncio.Queue[Event],
        stream: bool,
        opened: list[Ticket],
    ) -> None:
        told: dict[int, int] = {}

        def on_text(sample: int, text: str) -> None:
            row = opened[0].rows[sample]
            assert isinstance(row, GenerateRow)
            tokens = row.tokens(told.get(sample, 0)) if row.sampling.logprobs is not None else ()
            told[sample] = len(row.drawn)
            self._events.append((events, Delta(sample, text, tokens)))

        def on_done(answers: tuple[Any, ...]) -> None:
            self._events.append((events, answers))
            # The ticket knows this closure, which knows the ticket: such rings wait for a rare
            # collection with all that was drawn in them.
            opened.clear()

        try:
            opened.append(self.engine.submit(request, on_done, on_text if stream else None))
        except UserError as error:
            self._events.append((events, error))

    def _run(self) -> None:
        while not self._stopped:
            self._serve_inbox()
            if self.engine.busy:
                try:
                    self.tokens_drawn += self.engine.step()
                except Exception:
                    # Nobody may wait for ever for an engine that broke.
                    log.exception("a step of %s failed; what was open is cancelled",
                                  self.engine.name)  # fmt: skip
                    self.engine.cancel_all()
            self._tell()
        self.engine.cancel_all()
        self._tell()

    def _serve_inbox(self) -> None:
        """Waits if there is nothing else to do."""
        with suppress(Empty):
            while not self._stopped:
                idle = not self.engine.busy and not self._events
                self._inbox.get(block=idle)()

    def _tell(self) -> None:
        events, self._events = self._events, []
        assert self._loop is not None, "a worker is started before it is asked"
        if events and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_hand_out, events)


def _hand_out(events: list[tuple[asyncio.Queue[Event], Event]]) -> None:
    for queue, event in events:
        queue.put_nowait(event)
