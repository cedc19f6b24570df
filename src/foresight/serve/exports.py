"""Reviewed cases as what makes the next model better: demonstrations, prompts for rules, items of
evaluations, rows for the classifier; each says where it came from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sql

from foresight.errors import UserError
from foresight.posttrain.chat import Conversation, Message
from foresight.posttrain.conversations import ChatPrompt, Demonstration, row_of
from foresight.posttrain.messages import MessageReader
from foresight.serve.audit import EVENTS, LABELS, AuditLog

Kind = Literal["sft", "prompts", "items", "classifier"]


@dataclass(frozen=True)
class Reviewed:
    """A case with its verdict: what most reviewers said, the newest where they are even. `weight`:
    how many exchanges it stands for, as one of a random sample."""

    id: int
    messages: Conversation
    outputs: tuple[str, ...]
    verdict: str
    better: str
    weight: float
    meta: dict[str, Any]

    @property
    def asked(self) -> str:
        return self.messages[-1].text


def reviewed(log: AuditLog) -> list[Reviewed]:
    """All labelled cases whose texts are still there, oldest first."""
    asked = (
        sql.select(EVENTS, LABELS.c.reviewer, LABELS.c.verdict, LABELS.c.better)
        .join(LABELS, LABELS.c.event_id == EVENTS.c.id)
        .where(EVENTS.c.redacted_at.is_(None))
        .order_by(EVENTS.c.id, LABELS.c.id)
    )
    with log.transaction() as connection:
        rows = connection.execute(asked).mappings().all()
    by_event: dict[int, list[Any]] = {}
    for row in rows:
        by_event.setdefault(row["id"], []).append(row)
    return [_reviewed(rows) for rows in by_event.values()]


def _reviewed(rows: list[Any]) -> Reviewed:
    first = rows[0]
    counts = Counter(row["verdict"] for row in rows)
    most = max(counts.values())
    verdict = next(row["verdict"] for row in reversed(rows) if counts[row["verdict"]] == most)
    meta = {
        "event": first["id"], "request_id": first["request_id"], "model": first["weights"],
        "policy": first["policy"], "reviewers": [row["reviewer"] for row in rows],
        "verdict": verdict,
    }  # fmt: skip
    where = f"event {first['id']}"
    messages = MessageReader(where, None).messages("input", json.loads(first["input"]))
    better = next((row["better"] for row in reversed(rows) if row["better"].strip()), "")
    weight = 1 / first["sample_rate"] if first["sampled"] else 1.0
    outputs = tuple(json.loads(first["output"]))
    return Reviewed(first["id"], messages, outputs, verdict, better, weight, meta)


def exported(log: AuditLog, kind: Kind) -> list[dict[str, Any]]:
    """Reviewed cases as objects of a JSONL file. Raises UserError if there are none of the kind."""
    cases = reviewed(log)
    rows: list[dict[str, Any]] = []
    for one in cases:
        name = f"case-{one.id}"
        if kind == "sft" and one.better:
            turns = (*one.messages, Message.of("assistant", one.better))
            rows.append(row_of(Demonstration(name, turns, one.meta)))
        elif kind == "prompts":
            rows.append(row_of(ChatPrompt(name, one.messages, one.verdict, one.meta)))
        elif kind == "items" and len(one.messages) == 1:
            rows.append({"id": name, "question": one.asked, "meta": one.meta})
        elif kind == "classifier":
            rows += [{"id": name, **row, "meta": one.meta} for row in classifier_rows(one)]
    if not rows:
        raise UserError(f"{kind}: no reviewed case becomes one of these yet")
    return rows


def classifier_rows(case: Reviewed) -> list[dict[str, str]]:
    """What a classifier sees of a case: the question alone, and with each answer."""
    return [
        {"asked": case.asked, "answered": answer, "label": case.verdict}
        for answer in ("", *case.outputs)
    ]
