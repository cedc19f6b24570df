"""A small exam, written by the tests that take it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROWS: dict[str, list[dict[str, Any]]] = {
    "development/mc.jsonl": [
        {"id": f"d{at}", "question": f"Is {at} even?", "choices": ["yes", "no"],
         "target": "AB"[at % 2], **({"solution": f"{at} / 2 leaves {at % 2}."} if at < 2 else {})}
        for at in range(8)
    ],
    "holdout/mc.jsonl": [
        {"id": f"h{at}", "question": f"Is {at} odd?", "choices": ["yes", "no"],
         "target": "BA"[at % 2], "group": f"pair{at // 2}"}
        for at in range(8)
    ] + [
        {"id": "hp", "parts": [{"text": "What is this?"}, {"image": "images/red-square.png"}],
         "choices": ["red", "blue"], "target": 0},
        {"id": "h9", "question": "Is 9 odd?", "choices": ["yes", "no"], "target": "A"},
    ],
    "development/frq.jsonl": [
        {"id": "df", "question": "Why is the sky blue?",
         "rubric": [{"criterion": "names scattering", "points": 2}]},
    ],
    "holdout/frq.jsonl": [
        {"id": f"f{at}", "question": f"Why is {at} a number?", "points": 3,
         "rubric": [{"criterion": "says so"}, {"criterion": "says why", "points": 2}]}
        for at in range(4)
    ],
}  # fmt: skip
EXAM: dict[str, Any] = {
    "name": "Numbers",
    "edition": "2021",
    "source": "written for these tests",
    "report_row": "AP Statistics",
    "sections": [
        {"name": "mc", "format": "choice", "weight": 1.2, "shots": 2, "minutes": 10},
        {"name": "frq", "format": "free_response"},
    ],
    "scoring": {"method": "table", "source": "made up for the tests", "unit": "1 to 5"},
}
SCALE = "raw,scaled\n0,1\n6,2\n12,3\n18,4\n22,5\n"
PERCENTILES = (
    "score,lower,upper,population,date,source\n"
    + "".join(
        f"{score},{lower},{upper},takers of the form,2021-05,made up\n"
        for score, lower, upper in ((1, 0, 20), (2, 20, 45), (3, 45, 66), (4, 66, 86), (5, 86, 100))
    )
)  # fmt: skip


def write_exam(
    folder: Path,
    change: Mapping[str, Any] | None = None,
    rows: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    files: Mapping[str, str | None] | None = None,
) -> Path:
    """Mixed choice and free response, with a picture. `change`: fields of exam.yaml (None removes
    one); `rows`: question files; `files`: whole texts (None: no such file)."""
    value = {k: v for k, v in (copy.deepcopy(EXAM) | dict(change or {})).items() if v is not None}
    texts: dict[str, str | None] = {
        "exam.yaml": yaml.safe_dump(value, sort_keys=False),
        "scale.csv": SCALE,
        "percentiles.csv": PERCENTILES,
    }
    for name, some in {**ROWS, **(rows or {})}.items():
        texts[name] = "".join(json.dumps(row) + "\n" for row in some)
    (folder / "images").mkdir(parents=True)
    red = np.full((6, 8, 3), (255, 0, 0), np.uint8)
    Image.fromarray(red).save(folder / "images" / "red-square.png")
    for name, text in {**texts, **(files or {})}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    return folder
