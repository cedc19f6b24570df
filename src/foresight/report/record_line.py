"""One line of evaluation records: checked, measured, searched."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from pydantic_core import from_json

from foresight.evals.record import Record

FIELDS = tuple(field.name for field in fields(Record))
REQUIRED = tuple(
    field.name
    for field in fields(Record)
    if field.default is MISSING and field.default_factory is MISSING
)
_STRINGS = ("key", "task", "item", "model", "group", "prompt", "output", "reason")


def parse(line: bytes) -> dict[str, Any]:
    """One line as a dict with every field of a record. Raises ValueError saying what is wrong."""
    try:
        value = from_json(line)
    except ValueError:
        # Rarer JSON, such as half a surrogate pair, is left to the slower parser.
        value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    missing = [name for name in REQUIRED if name not in value]
    if missing:
        raise ValueError(f"no field {', '.join(missing)}")
    for name in _STRINGS:
        if not isinstance(value[name], str):
            raise ValueError(f"{name} is no text")
    if value["answer"] is not None and not isinstance(value["answer"], str):
        raise ValueError("answer is no text")
    for name in ("choices", "choice_logprobs"):
        if not isinstance(value.setdefault(name, []), list):
            raise ValueError(f"{name} is no list")
    value.setdefault("tokens", 0)
    value.setdefault("details", {})
    return value


def right_choice(record: Mapping[str, Any]) -> int | None:
    """Index of the right choice: the target is that index, or the choice itself."""
    target, choices = record["target"], record["choices"]
    if isinstance(target, int) and not isinstance(target, bool):
        return target if 0 <= target < max(len(choices), len(record["choice_logprobs"])) else None
    if isinstance(target, str) and choices:
        same = [at for at, one in enumerate(choices) if str(one).strip() == target.strip()]
        return same[0] if len(same) == 1 else None
    return None


def margin(record: Mapping[str, Any]) -> float:
    """Log-probability of the right choice less that of the best other one, nats; nan if there
    is none."""
    logprobs, right = record["choice_logprobs"], right_choice(record)
    if right is None or len(logprobs) < 2 or right >= len(logprobs):
        return math.nan
    if not {*map(type, logprobs)} <= {int, float}:
        return math.nan
    value = float(logprobs[right] - max(logprobs[:right] + logprobs[right + 1 :]))
    return value if math.isfinite(value) else math.nan


def target_text(record: Mapping[str, Any]) -> str | None:
    """The target as the table lists it: a letter for a choice, else the text or texts."""
    target = record["target"]
    if target is None or target == []:
        return None
    if isinstance(target, int) and not isinstance(target, bool) and record["choices"]:
        return chr(ord("A") + target) if 0 <= target < 26 else str(target)
    if isinstance(target, list) and all(isinstance(one, str) for one in target):
        return " | ".join(target)
    return target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)


_PROMPT, _OUTPUT, _END = b',"prompt":"', b'","output":"', b'","answer":'


def spans(line: bytes, record: Mapping[str, Any]) -> tuple[int, int]:
    """Where `output` begins and ends in a line as `Record.to_line` writes it, else (-1, -1).

    Only strings and numbers stand before `prompt`, and a quote inside a string is escaped, so the
    first of each mark is the field itself. Escapes that have a second spelling (\\u, \\/) would
    hide words from a search of bytes.
    """
    if tuple(record)[: len(FIELDS)] != FIELDS:
        return -1, -1
    prompt = line.find(_PROMPT)
    output = line.find(_OUTPUT, prompt)
    end = line.find(_END, output)
    plain = 0 <= prompt < output < end and b"\\u" not in line and b"\\/" not in line
    return (output, end) if plain else (-1, -1)


class Search:
    """A text to look for in prompt or output; letters match in either case.

    ASCII is looked for in the bytes of the line, which need not be parsed.
    """

    def __init__(self, text: str) -> None:
        self.ascii = text.isascii()
        self.text = fold(text)
        self.needle = (
            json.dumps(self.text, ensure_ascii=False)[1:-1].encode() if self.ascii else b""
        )

    def finds(self, line: bytes, output: int, end: int) -> bool:
        """`output` and `end` as `spans` gives them."""
        if self.ascii and output >= 0:
            prompt = line.index(_PROMPT) + len(_PROMPT)
            parts = line[prompt:output], line[output + len(_OUTPUT) : end]
            return any(self._in_json(part.lower()) for part in parts)
        record = parse(line)
        return any(self.text in fold(record[name], self.ascii) for name in ("prompt", "output"))

    def _in_json(self, raw: bytes) -> bool:
        at = raw.find(self.needle)
        while at >= 0:
            before = raw[:at]
            # Behind an odd number of backslashes the hit begins inside an escape: the n of \n.
            if (at - len(before.rstrip(b"\\"))) % 2 == 0:
                return True
            at = raw.find(self.needle, at + 1)
        return False


def fold(text: str, ascii_only: bool = False) -> str:
    """Text in one case, letter by letter: what a part of a text folds to is part of its fold."""
    if ascii_only:
        return text.translate(_ASCII)
    # Python, like the browser, lowers a capital sigma by where it stands in the word.
    return text.lower().replace("\u03c2", "\u03c3")


_ASCII = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
