"""Write the folder of an exam: of the facts of Python's library, or from AGIEval's files."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as Pillow

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.evals.exams.exam import HALVES, Half
from foresight.evals.item import Item
from foresight.evals.layout import LETTERS, image_sha256
from foresight.evals.suites.multiple_choice import agieval
from foresight.runs import write_atomic
from foresight.worlds import library
from foresight.worlds.splits import hash64

_QUESTIONS = {"module": 40, "returns": 40, "bug": 30, "table": 40, "complete": 30}
"""Of each kind and half."""
_SCORED = {
    "kind": "choice_logprob",
    "layout": {"question": "{question}", "answers": "choice"},
}
_RUN = {"kind": "code", "max_tokens": 48, "stop": ["\ndef ", "\n>", "\nQ", "\nclass "]}


def write_library_exam(folder: Path, seed: int = 0) -> None:
    """The embedded exam: facts about the running interpreter's library (`worlds.library`), part of
    which the embedded corpus tells. Made for models of a ladder of minutes: choices are scored as
    texts, functions are run. It has no percentiles: no people sat it."""
    rng = np.random.default_rng(seed)
    sections: list[dict[str, Any]] = []
    for kind, count in _QUESTIONS.items():
        rows = []
        left = dict.fromkeys(HALVES, count)
        for fact in library.facts(seed, kind, 20 * count):
            half = _half(fact.key)
            if left[half]:
                left[half] -= 1
                name = f"{kind}-{half[:3]}-{count - left[half]}"
                rows.append(_question(rng, folder, fact, name, half))
        _write_rows(folder / f"{kind}.jsonl", rows)
        code = kind == "complete"
        sections.append({
            "name": kind,
            "format": "code" if code else "choice",
            "questions": f"{kind}.jsonl",
            "protocol": dict(_RUN if code else _SCORED),
        })  # fmt: skip
    _write_yaml(folder, {
        "name": "python-library",
        "title": f"The library of CPython {platform.python_version()}",
        "source": "made from the running interpreter; score: percentage of all points",
        "images": "useful",
        "sections": sections,
        "scoring": {"method": "linear", "low": 0, "high": 100},
    })  # fmt: skip


def add_percentiles(folder: Path, scores: Sequence[float], population: str) -> None:
    """Percentile ranges among models with these scores, entered in the exam: the share below, and
    the share not above."""
    lines = ["score,lower,upper,population,date,source"]
    for score in sorted(set(scores)):
        below = sum(one < score for one in scores) / len(scores)
        upto = sum(one <= score for one in scores) / len(scores)
        today = datetime.now(UTC).date()
        lines.append(
            f"{score!r},{100 * below:.2f},{100 * upto:.2f},{population},{today},this experiment"
        )
    write_atomic(folder / "percentiles.csv", "\n".join([*lines, ""]).encode())
    raw = yaml.safe_load((folder / "exam.yaml").read_text(encoding="utf-8"))
    _write_yaml(folder, raw | {"percentiles": "percentiles.csv"})


def _half(key: str) -> Half:
    """By key: no fact is in both halves."""
    return HALVES[hash64(f"half {key}") % 2]


def _question(
    rng: np.random.Generator, folder: Path, fact: library.Fact, name: str, half: Half
) -> dict[str, Any]:
    meta: dict[str, Any] = {"half": half, "told": library.is_told(fact.kind, fact.key)}
    row: dict[str, Any] = {"id": name, "group": fact.key, "meta": meta}
    if fact.tests:
        return row | {"question": fact.asked, "target": [fact.tests]}
    shown, at = library.choices(rng, fact)
    meta |= {"solution": fact.explanation}
    row |= {"choices": list(shown), "target": at}
    if fact.image is None:
        return row | {"question": fact.asked}
    return row | {"parts": [{"image": _picture(folder, fact.image)}, {"text": fact.asked}]}


def _picture(folder: Path, image: Image) -> str:
    name = f"images/{image_sha256(image)[:16]}.png"
    data = io.BytesIO()
    Pillow.fromarray(image.pixels).save(data, "PNG")
    write_atomic(folder / name, data.getvalue())
    return name


def import_agieval(path: Path, subset: str, folder: Path) -> int:
    """One of AGIEval's exams (Zhong et al. 2023) as a folder; every second passage or question, by
    hash, is holdout. Returns the number of questions. The scoring is the share that is right: the
    files have no official scale (put one into `scale.csv` where you have it)."""
    items = agieval(path, subset).items
    if not items:
        raise UserError(f"{path}: no questions of {subset}")
    _write_rows(folder / "questions.jsonl", [_row(item) for item in items])
    section = {"name": subset, "format": "choice", "questions": "questions.jsonl"}
    _write_yaml(folder, {
        "name": subset,
        "title": f"AGIEval {subset}",
        "source": "AGIEval (Zhong et al. 2023); score: percentage of questions",
        "sections": [section],
        "scoring": {"method": "linear", "low": 0, "high": 100},
    })  # fmt: skip
    return len(items)


def _row(item: Item) -> dict[str, Any]:
    assert all(isinstance(part, Text) for part in item.parts), "AGIEval has no pictures"
    assert isinstance(item.target, int), "its readers give the right choice"
    meta = item.meta | {"half": _half(item.group or item.id)}
    return {
        "id": item.id, "question": item.text, "choices": list(item.choices),
        "target": LETTERS[item.target], "group": item.group, "meta": meta,
    }  # fmt: skip


def _write_rows(path: Path, rows: Sequence[dict[str, Any]] | Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(path, text.encode())


def _write_yaml(folder: Path, value: dict[str, Any]) -> None:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    write_atomic(folder / "exam.yaml", text.encode())
