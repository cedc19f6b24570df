"""What people say of what went through: the queue, their labels, how far they and the judges agree,
and how much is missed.

The queue holds what was flagged or blocked, and a random sample of what was not: of flagged cases
alone nobody can tell what was never flagged.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sql

from foresight.errors import UserError
from foresight.evals.people.agreement import Agreed, agreed
from foresight.runs import sha256_text
from foresight.serve.audit import EVENTS, FEEDBACK, LABELS, STANDINGS, AuditLog
from foresight.serve.policy import FINE, Policy

_DRAWS = 20_000
_QUEUED = sql.or_(EVENTS.c.action != "allow", EVENTS.c.sampled)


@dataclass(frozen=True)
class Case:
    """An event that waits for a label; `feedback`: what its reader said of it. What other
    reviewers said is not told."""

    id: int
    at: float
    subject: str
    model: str
    input: list[dict[str, Any]]
    output: list[str]
    action: str
    category: str | None
    scores: dict[str, dict[str, float]]
    feedback: tuple[str, ...]


@dataclass(frozen=True)
class Share:
    """An estimate with its 95 % interval, of n labelled cases; None where nothing tells."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Standing:
    """How well a policy's judges do, by reviewers' labels.

    `precision`: of what was flagged, the share that is a violation; `missed`: of what was allowed,
    the share that is one; `recall`: of all violations, the share that was flagged.
    """

    policy: str
    events: int
    flagged: int
    precision: Share
    missed: Share
    recall: Share
    agreement: Agreed | None


def queue(log: AuditLog, policy: Policy, reviewer: str, most: int = 50) -> list[Case]:
    """What a reviewer has still to label, oldest first: cases of no label, and of those that
    another reviewer has labelled, the share that is labelled twice."""
    labels = (
        sql.select(
            LABELS.c.event_id,
            sql.func.count().label("count"),
            sql.func.sum(sql.case((LABELS.c.reviewer == reviewer, 1), else_=0)).label("own"),
        )
        .group_by(LABELS.c.event_id)
        .subquery()
    )
    asked = (
        sql.select(EVENTS, labels.c.count)
        .outerjoin(labels, labels.c.event_id == EVENTS.c.id)
        .where(_QUEUED, sql.func.coalesce(labels.c.own, 0) == 0)
        .where(sql.func.coalesce(labels.c.count, 0) < 2, EVENTS.c.redacted_at.is_(None))
        .order_by(EVENTS.c.id)
    )
    found = []
    with log.transaction() as connection:
        for row in connection.execute(asked).mappings():
            if row["count"] and not _twice(row["request_id"], policy.second_labels):
                continue
            found.append(_case(row, _said(connection, row["request_id"])))
            if len(found) == most:
                break
    return found


def _twice(request_id: str, share: float) -> bool:
    """Whether a case is among those that two people label; the same on every replica."""
    return int(sha256_text(request_id)[:8], 16) / 2**32 < share


def _said(connection: sql.Connection, request_id: str) -> tuple[str, ...]:
    asked = sql.select(FEEDBACK.c.verdict, FEEDBACK.c.why).where(
        FEEDBACK.c.request_id == request_id
    )
    return tuple(
        f"{row.verdict}: {row.why}" if row.why else row.verdict for row in connection.execute(asked)
    )


def _case(row: Any, feedback: tuple[str, ...]) -> Case:
    return Case(
        row["id"], row["at"], row["subject"], row["model"], json.loads(row["input"]),
        json.loads(row["output"]), row["action"], row["category"], json.loads(row["scores"]),
        feedback,
    )  # fmt: skip


def label(
    log: AuditLog, policy: Policy, id: int, reviewer: str, verdict: str, better: str, note: str
) -> None:
    """A reviewer's verdict, `fine` or a category; `better`: what should have been answered. A
    second one of the same reviewer takes the first one's place. Raises UserError."""
    known = [FINE, *(one.name for one in policy.categories)]
    if verdict not in known:
        raise UserError(f"verdict {verdict!r}: one of {', '.join(known)}")
    with log.transaction() as connection:
        there = connection.execute(sql.select(EVENTS.c.id).where(EVENTS.c.id == id)).scalar()
        if there is None:
            raise UserError(f"case {id}: there is none")
        connection.execute(
            sql.delete(LABELS).where(LABELS.c.event_id == id, LABELS.c.reviewer == reviewer)
        )
        connection.execute(sql.insert(LABELS), {
            "event_id": id, "reviewer": reviewer, "verdict": verdict, "better": better,
            "note": note, "at": time.time(),
        })  # fmt: skip


def standing(log: AuditLog, policy: str) -> Standing:
    """Of all events under one policy."""
    with log.transaction() as connection:
        counts = Counter({False: 0, True: 0})
        for action, count in connection.execute(
            sql.select(EVENTS.c.action, sql.func.count())
            .where(EVENTS.c.policy == policy)
            .group_by(EVENTS.c.action)
        ):
            counts[action != "allow"] += count
        rows = connection.execute(
            sql.select(EVENTS.c.id, EVENTS.c.action, LABELS.c.verdict)
            .join(LABELS, LABELS.c.event_id == EVENTS.c.id)
            .where(EVENTS.c.policy == policy)
        ).all()
    verdicts: dict[int, list[float]] = defaultdict(list)
    flagged: dict[int, bool] = {}
    for id, action, verdict in rows:
        verdicts[id].append(float(verdict != FINE))
        flagged[id] = action != "allow"
    # Where two disagree, the case counts half.
    of = [np.mean(verdicts[id]) for id in verdicts if flagged[id]]
    beside = [np.mean(verdicts[id]) for id in verdicts if not flagged[id]]
    agreement = agreed(list(verdicts.values()), list(verdicts))
    return Standing(
        policy, counts.total(), counts[True],
        *_shares(of, beside, counts[True], counts[False]), agreement,
    )  # fmt: skip


def _shares(
    flagged: Sequence[Any], allowed: Sequence[Any], n_flagged: int, n_allowed: int
) -> tuple[Share, Share, Share]:
    """Precision, the share that is missed, recall. Intervals: of the posterior under Jeffreys'
    prior, how many of the unlabelled ones are violations drawn from it; labelled cases are taken as
    a random sample of theirs, and where all of them are labelled nothing is uncertain."""
    rng = np.random.default_rng(0)

    def drawn(values: Sequence[Any], population: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        hits = float(np.sum(values))
        if len(values) == population:
            return np.full(_DRAWS, hits / max(population, 1))
        unseen = population - len(values)
        chance = rng.beta(hits + 0.5, len(values) - hits + 0.5, _DRAWS)
        return np.asarray((hits + rng.binomial(unseen, chance)) / population)

    precise, lost = drawn(flagged, n_flagged), drawn(allowed, n_allowed)

    def share(value: float | None, draws: Any, n: int) -> Share:
        if not n:
            return Share(None, None, None, 0)
        low, high = np.quantile(draws, [0.025, 0.975])
        return Share(value, float(low), float(high), n)

    precision = float(np.mean(flagged)) if len(flagged) else None
    missed = float(np.mean(allowed)) if len(allowed) else None
    both = precise * n_flagged + lost * n_allowed
    recalls = np.divide(precise * n_flagged, both, out=np.ones_like(both), where=both > 0)
    found = (precision or 0.0) * n_flagged
    total = found + (missed or 0.0) * n_allowed
    known = len(allowed) if (n_flagged == 0 or flagged) and allowed else 0
    return (
        share(precision, precise, len(flagged)),
        share(missed, lost, len(allowed)),
        share(found / total if total else None, recalls, known),
    )


# People who are suspended


def suspended(log: AuditLog) -> list[dict[str, Any]]:
    """Subjects whose newest standing is that they may not ask."""
    newest = sql.select(sql.func.max(STANDINGS.c.id)).group_by(STANDINGS.c.subject)
    asked = sql.select(STANDINGS).where(
        STANDINGS.c.id.in_(newest), STANDINGS.c.state == "suspended"
    )
    with log.transaction() as connection:
        return [dict(row) for row in connection.execute(asked).mappings()]


def lift(log: AuditLog, subject: str, reviewer: str, why: str) -> None:
    """Let a subject ask again. Raises UserError if it is not suspended."""
    if all(one["subject"] != subject for one in suspended(log)):
        raise UserError(f"{subject}: is not suspended")
    log.write(
        STANDINGS,
        {"subject": subject, "state": "ok", "by": reviewer, "why": why, "at": time.time()},
    )


def redact_old(log: AuditLog, policy: Policy, now: float) -> int:
    """Take the texts out of events older than the policy keeps them; how many."""
    if policy.retention_days is None:
        return 0
    old = sql.and_(
        EVENTS.c.at < now - 86_400 * policy.retention_days, EVENTS.c.redacted_at.is_(None)
    )
    with log.transaction() as connection:
        done = connection.execute(
            sql.update(EVENTS).where(old).values(input="[]", output="[]", redacted_at=now)
        )
        return int(done.rowcount)
