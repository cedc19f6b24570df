"""One answered item: a line of `records.jsonl`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Why a record has the score that it has, or none."""

    OK = "ok"
    INVALID_FORMAT = "invalid_format"
    """The answer could not be read out of the output; scored 0."""
    REFUSAL = "refusal"
    """The endpoint says that the model, or a filter before it, declined; scored 0."""
    NO_RESPONSE = "no_response"
    """The endpoint failed; no score. (A model that answers with nothing is wrong.)"""
    GRADER_FAILED = "grader_failed"
    """The grader gave no verdict; no score."""
    SCORING_FAILED = "scoring_failed"
    """The sandbox or the scorer broke; no score."""
    UNGRADED = "ungraded"
    """The answer waits for people who grade it; no score yet."""


FAILED = (Reason.NO_RESPONSE, Reason.GRADER_FAILED, Reason.SCORING_FAILED)
"""Asked for again when a run is taken up."""
UNSCORED = (*FAILED, Reason.UNGRADED)
"""Such records are counted and shown apart; they are no zeros."""


@dataclass(frozen=True)
class Record:
    """What was asked, what came back, and what it is worth.

    `key`: (task hash, item, sample, model) as one SHA-256; a run that is taken up again asks only
    for keys it does not have. `prompt`: the exact text, a picture as "[image SHA-256 HxW]".
    `choice_logprobs`: nats of each choice as scored, if they were. `answer`: what was read out of
    `output`. `score` in [0, 1], None for the reasons in `UNSCORED`. `details`: of the protocol
    (grader's text, failing test, token log-probabilities), JSON values only. Times are not part of
    a record: the same model gives the same bytes (`Timing` lines are kept beside).
    """

    key: str
    task: str
    item: str
    sample: int
    model: str
    group: str
    weight: float
    prompt: str
    output: str
    answer: str | None
    target: Any
    score: float | None
    reason: Reason
    choices: tuple[str, ...] = ()
    choice_logprobs: tuple[float, ...] = ()
    tokens: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        """The record as one line of JSON, without the line break; same record, same bytes."""
        return json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))


def record_key(task_hash: str, item: str, sample: int, model: str) -> str:
    """SHA-256 of what a record answers."""
    text = json.dumps([task_hash, item, sample, model], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def cluster(record: Record) -> Hashable:
    """What a record is not independent of: its group, else its item."""
    return ("group", record.group) if record.group else ("item", record.item)
