"""The watch over what goes through: judged before it is asked and before it is told, put on record,
counted for whoever asked it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.inference.language_model import Completion
from foresight.posttrain.chat import Conversation, Message
from foresight.posttrain.conversations import json_of
from foresight.serve.audit import EVENTS, STANDINGS, AuditLog, Event
from foresight.serve.errors import ServiceError
from foresight.serve.judge import Judge, Verdict
from foresight.serve.metrics import Metrics
from foresight.serve.policy import ACTIONS, Policy, Side
from foresight.serve.pool import Served
from foresight.serve.worker import Delta

log = logging.getLogger("foresight.serve")
_RANDOM = secrets.SystemRandom()
SUSPENDED, OK = "suspended", "ok"


def subject_of(key: str, given: str | None) -> str:
    """Whose request it is: whoever the client names, as a hash, else the client's key."""
    if not given:
        return key
    return f"{key}/{hashlib.sha256(given.encode(errors='replace')).hexdigest()[:24]}"


@dataclass
class Exchange:
    """A question and its answers on their way; `verdicts` by side, the worst of each."""

    request_id: str
    key: str
    subject: str
    route: str
    served: Served
    messages: Conversation
    n: int
    policy: str
    """Which one it is held to; another may be adopted while it is answered."""
    texts: dict[int, str] = field(default_factory=dict)
    """What the model said so far, told or held back."""
    recorded: bool = False
    verdicts: dict[Side, Verdict] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """The last thing that was said to the model."""
        return self.messages[-1].text


class Watch:
    def __init__(self, policy: Policy, judge: Judge, audit: AuditLog, metrics: Metrics) -> None:
        self.policy, self.judge, self.audit, self._metrics = policy, judge, audit, metrics
        self._redact = [re.compile(one) for one in policy.redact]
        self._late: set[asyncio.Task[None]] = set()

    def adopt(self, policy: Policy, judge: Judge) -> None:
        """From the next request on."""
        self.policy, self.judge = policy, judge
        self._redact = [re.compile(one) for one in policy.redact]

    async def admit(self, exchange: Exchange) -> None:
        """Raises ServiceError 403 for one who is suspended, 400 for what is blocked; the latter is
        on record by then."""
        if not self.policy.categories:
            return
        if await asyncio.to_thread(self._state, exchange.subject) == SUSPENDED:
            raise ServiceError(403, "suspended after repeated violations, until a person has "
                               "looked at it", "suspended")  # fmt: skip
        # Whoever asks sends the whole conversation: earlier turns are theirs to make up.
        for message in exchange.messages:
            if message.role != "assistant":
                verdict = await self.judge.judge("input", message.text)
                self._took(exchange, "input", verdict)
        verdict = exchange.verdicts["input"]
        if verdict.action == "block":
            await self.record(exchange, (), "blocked", 0)
            warned = await asyncio.to_thread(self._strike, exchange.subject)
            raise ServiceError(
                400, f"this is not answered here ({verdict.category}){warned}", "content_filter"
            )

    def _took(self, exchange: Exchange, side: Side, verdict: Verdict) -> None:
        before = exchange.verdicts.get(side, Verdict())
        if ACTIONS.index(verdict.action) >= ACTIONS.index(before.action):
            exchange.verdicts[side] = verdict

    async def screened(
        self, exchange: Exchange, events: AsyncIterator[Delta | Completion]
    ) -> AsyncIterator[Delta | Completion]:
        """The events, text held back until it has been judged. Where it is blocked the answer ends
        there, with finish `refused`; the last event is not told before all is on record."""
        run = self._held_back if self.policy.judges("output") else self._passed
        try:
            async with aclosing(events), aclosing(run(exchange, events)) as told:  # type: ignore[type-var]
                async for event in told:
                    yield event
        except UserError:
            exchange.recorded = True  # it was no question: nothing was asked of the model
            raise
        finally:
            # The client left, or something broke: what was said until then is kept all the same.
            if not exchange.recorded:
                texts = [exchange.texts.get(at, "") for at in range(exchange.n)]
                task = asyncio.ensure_future(self.record(exchange, texts, "cancelled", 0))
                self._late.add(task)
                task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("an exchange that broke off is not on record: %s", error)

    async def settled(self) -> None:
        """What is still to be put on record is."""
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _passed(
        self, exchange: Exchange, events: AsyncIterator[Delta | Completion]
    ) -> AsyncIterator[Delta | Completion]:
        finished: list[Completion] = []
        async for event in events:
            if isinstance(event, Delta):
                _note(exchange, event)
                yield event
            else:
                finished.append(event)
        texts = [one.text for one in finished]
        await self.record(exchange, texts, _finish(finished), _tokens(finished))
        for one in finished:
            yield one

    async def _held_back(
        self, exchange: Exchange, events: AsyncIterator[Delta | Completion]
    ) -> AsyncIterator[Delta | Completion]:
        held: dict[int, list[Delta]] = {at: [] for at in range(exchange.n)}
        finished: list[Completion] = []
        async for event in events:
            if isinstance(event, Completion):
                finished.append(event)
                continue
            _note(exchange, event)
            mine = held[event.sample]
            mine.append(event)
            if sum(len(one.text) for one in mine) < self.policy.hold_back:
                continue
            verdict = await self._judged(exchange, exchange.texts[event.sample])
            if verdict.action == "block":  # nothing more is said by any of the answers
                texts = [exchange.texts.get(at, "") for at in held]
                await self.record(exchange, texts, "refused", 0)
                for _ in held:
                    yield Completion("", "refused")
                return
            held[event.sample] = []
            for one in mine:
                yield one
        kept = []
        for whole in finished:
            verdict = await self._judged(exchange, whole.text)
            kept.append(_refused(whole) if verdict.action == "block" else whole)
        texts = [one.text for one in finished]
        await self.record(exchange, texts, _finish(kept), _tokens(finished))
        for at, whole in enumerate(kept):
            for one in held[at] if whole.finish != "refused" else ():
                yield one
        for whole in kept:
            yield whole

    async def _judged(self, exchange: Exchange, text: str) -> Verdict:
        """Of an answer so far."""
        verdict = await self.judge.judge("output", exchange.asked, text)
        self._took(exchange, "output", verdict)
        return verdict

    async def record(
        self, exchange: Exchange, texts: Sequence[str], finish: str, tokens: int
    ) -> None:
        """Put on record. Raises ServiceError 503 if that fails."""
        exchange.recorded = True
        verdicts = exchange.verdicts
        worst = max(verdicts.values(), key=lambda one: ACTIONS.index(one.action), default=Verdict())
        rate = self.policy.sample_rate
        for side, verdict in verdicts.items():
            for name in verdict.scores:
                action = verdict.action if verdict.category == name else "allow"
                self._metrics.judged.labels(name, side, action).inc()
        event = Event(
            request_id=exchange.request_id, key=exchange.key, subject=exchange.subject,
            route=exchange.route, model=exchange.served.name, weights=exchange.served.weights,
            input=[self._told(one) for one in exchange.messages],
            output=[self._redacted(text) for text in texts],
            scores={side: dict(one.scores) for side, one in verdicts.items()},
            policy=exchange.policy, action=worst.action, category=worst.category,
            sampled=worst.action == "allow" and _RANDOM.random() < rate, sample_rate=rate,
            finish=finish, tokens=tokens,
        )  # fmt: skip
        await self.audit.append(event)

    def _told(self, message: Message) -> dict[str, Any]:
        """A message for the log."""
        parts: list[Text | Image] = []
        for part in message.contents:
            if isinstance(part, Text):
                parts.append(Text(self._redacted(part.text)))
            elif self.policy.keep_pictures:
                parts.append(part)
            else:
                height, width, _ = part.pixels.shape
                parts.append(Text(f"[a picture of {width} x {height} pixels]"))
        return json_of(Message(message.role, tuple(parts)))

    def _redacted(self, text: str) -> str:
        for pattern in self._redact:
            text = pattern.sub("[redacted]", text)
        return text

    # Standings

    def _state(self, subject: str) -> str:
        newest = (
            sql.select(STANDINGS.c.state)
            .where(STANDINGS.c.subject == subject)
            .order_by(STANDINGS.c.id.desc())
            .limit(1)
        )
        with self.audit.transaction() as connection:
            return connection.execute(newest).scalar() or OK

    def _strike(self, subject: str) -> str:
        """Count a blocked exchange; what is said of it."""
        rules = self.policy.strikes
        with self.audit.transaction() as connection:
            lifted = connection.execute(
                sql.select(sql.func.max(STANDINGS.c.at)).where(
                    STANDINGS.c.subject == subject, STANDINGS.c.state == OK
                )
            ).scalar()
            since = max(time.time() - 3600 * rules.hours, lifted or 0.0)
            count = connection.execute(
                sql.select(sql.func.count()).select_from(EVENTS).where(
                    EVENTS.c.subject == subject, EVENTS.c.action == "block", EVENTS.c.at >= since
                )
            ).scalar() or 0  # fmt: skip
            if count >= rules.suspend:
                connection.execute(sql.insert(STANDINGS), {
                    "subject": subject, "state": SUSPENDED, "by": "policy", "at": time.time(),
                    "why": f"{count} blocked within {rules.hours:g} hours",
                })  # fmt: skip
                return "; suspended until a person has looked at it"
        if count >= rules.warn:
            return f"; {rules.suspend - count} more and this account is suspended"
        return ""


def _note(exchange: Exchange, delta: Delta) -> None:
    exchange.texts[delta.sample] = exchange.texts.get(delta.sample, "") + delta.text


def _refused(one: Completion) -> Completion:
    """Ended by the watch; how long it was is still told."""
    return Completion(
        "", "refused", prompt_tokens=one.prompt_tokens, completion_tokens=one.completion_tokens
    )


def _finish(completions: Sequence[Completion]) -> str:
    return ",".join(sorted({one.finish for one in completions}))


def _tokens(completions: Sequence[Completion]) -> int:
    return sum(one.completion_tokens for one in completions)
