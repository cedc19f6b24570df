"""The embedded exam as a folder: facts about the library of the Python that runs."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as Pillow

from foresight.document import Image
from foresight.evals.exams.exam import HALVES, Half
from foresight.evals.layout import image_sha256
from foresight.runs import write_atomic
from foresight.worlds import library
from foresight.worlds.splits import hash64

QUESTIONS = {"module": 25, "returns": 40, "bug": 30, "table": 40, "complete": 30}
"""Of each kind and half."""
GUESSED = (1 - QUESTIONS["complete"] / sum(QUESTIONS.values())) / 4
"""Share of the points that guessing brings: one of four choices, and no program."""
_CHOSEN = {"kind": "choice_logprob", "layout": {"question": "{question}", "answers": "choice"}}
_WRITTEN = {"kind": "code", "max_tokens": 48, "stop": ["\ndef ", "\n>", "\nQ", "\nclass "]}


def write_library_exam(folder: Path, seed: int = 0) -> None:
    """Facts of `worlds.library`, part of which the embedded corpus tells. Made for models of a
    ladder of minutes: choices are scored as texts, functions are run."""
    rng = np.random.default_rng(seed)
    for kind, count in QUESTIONS.items():
        rows: dict[Half, list[dict[str, Any]]] = {half: [] for half in HALVES}
        for fact in library.facts(seed, kind, 20 * count):
            # By key, so that no fact is in both halves.
            half = HALVES[hash64(f"half {fact.key}") % 2]
            if len(rows[half]) < count:
                name = f"{kind}-{half}-{len(rows[half]) + 1}"
                rows[half].append(_question(rng, folder, fact, name))
        for half, some in rows.items():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
            write_atomic(folder / half / f"{kind}.jsonl", text.encode())
    sections = [
        {"name": kind, "format": "choice", "shots": 0, "protocol": dict(_CHOSEN)}
        if kind != "complete"
        else {"name": kind, "format": "code", "protocol": dict(_WRITTEN)}
        for kind in QUESTIONS
    ]
    value = {
        "name": "Python library",
        "edition": platform.python_version(),
        "source": "made from the running interpreter",
        "sections": sections,
        "scoring": {"method": "raw", "source": "share of all points"},
    }
    write_atomic(folder / "exam.yaml", yaml.safe_dump(value, sort_keys=False).encode())


def _question(
    rng: np.random.Generator, folder: Path, fact: library.Fact, name: str
) -> dict[str, Any]:
    told = library.is_told(fact.kind, fact.key)
    row: dict[str, Any] = {"id": name, "group": fact.key, "meta": {"told": told}}
    if fact.tests:
        return row | {"question": fact.asked, "target": [fact.tests]}
    shown, at = library.choices(rng, fact)
    row |= {"choices": list(shown), "target": at, "solution": fact.explanation}
    if fact.image is None:
        return row | {"question": fact.asked}
    return row | {"parts": [{"image": _picture(folder, fact.image)}, {"text": fact.asked}]}


def _picture(folder: Path, image: Image) -> str:
    name = f"images/{image_sha256(image)[:16]}.png"
    data = io.BytesIO()
    Pillow.fromarray(image.pixels).save(data, "PNG")
    write_atomic(folder / name, data.getvalue())
    return name


def write_percentiles(folder: Path, scores: Sequence[float], population: str) -> None:
    """Ranges among models with these scores: the share below, and the share not above. The lowest
    row is for whatever is less."""
    today = datetime.now(UTC).date()
    lines = ["score,lower,upper,population,date,source"]
    for score in sorted({0.0, *scores, 1.0}):
        below, upto = (
            100 * sum(one < score or (also and one == score) for one in scores) / len(scores)
            for also in (False, True)
        )
        lines.append(f"{score!r},{below:.2f},{upto:.2f},{population},{today},this experiment")
    write_atomic(folder / "percentiles.csv", "\n".join([*lines, ""]).encode())
