"""A rubric of three classes, as a mapping and as a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from foresight.posttrain.chat import user
from foresight.posttrain.rubric import Answered, Rubric

RAW: dict[str, Any] = {
    "name": "small",
    "propositions": {"sorry": "Does it say sorry?", "harm": "Is it harmful?"},
    "classes": [
        {"letter": "A", "name": "good", "text": "Good.", "when": "sorry and not harm",
         "refuses": True},
        {"letter": "B", "name": "plain", "text": "Plain.", "when": "not sorry and not harm"},
        {"letter": "C", "name": "bad", "text": "Bad.", "when": "harm"},
    ],
    "sets": {
        "risky": {"good": 1, "plain": 0.5, "bad": -1},
        "safe": {"good": 0, "plain": 1, "bad": 0},
    },
    "order": {"risky": [["good"], ["plain"], ["bad"]]},
}  # fmt: skip


def raw(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(RAW) | changes


def rubric(**changes: Any) -> Rubric:
    return Rubric.model_validate(raw(**changes))


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False))
    return path


def answered(response: str, question: str = "How?", prompt_set: str = "risky") -> Answered:
    return Answered("0", prompt_set, user(question), response)
