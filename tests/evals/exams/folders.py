"""A small exam as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image as Pillow

PERCENTILES = """# of a class that was never taught
score,lower,upper,population,date,source
0,0,20,class of one,2020,made for a test
50,20,60,class of one,2020,made for a test
90,60,100,class of one,2020,made for a test
"""


def questions(count: int = 8) -> list[dict[str, Any]]:
    """Every second one is holdout; the right choice is always B; one picture in each half."""
    rows = []
    for at in range(count):
        row: dict[str, Any] = {
            "id": f"q{at}",
            "choices": ["no", "yes", "perhaps"],
            "target": "B",
            "meta": {"half": ("development", "holdout")[at % 2], "solution": f"Because {at}."},
        }
        if at < 2:
            row["parts"] = [{"text": f"Question {at}?\n"}, {"image": "p.png"}]
        else:
            row["question"] = f"Question {at}?"
        rows.append(row)
    return rows


def essays() -> list[dict[str, Any]]:
    rubric = [{"criterion": "says why", "points": 3}, {"criterion": "is short", "points": 1}]
    return [
        {
            "id": f"e{half}",
            "question": "Why?",
            "weight": 4,
            "meta": {"half": half, "rubric": rubric},
        }
        for half in ("development", "holdout")
    ]


def write(folder: Path, **changes: Any) -> Path:
    """The exam's folder; `changes` replace fields of exam.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Pillow.fromarray(pixels).save(folder / "p.png")
    lines(folder / "choice.jsonl", questions())
    lines(folder / "essay.jsonl", essays())
    (folder / "percentiles.csv").write_text(PERCENTILES)
    (folder / "scale.csv").write_text("raw,scaled\n0,1\n2,2\n5,4\n8,5\n")
    value = {
        "name": "small",
        "title": "A small exam",
        "source": "made for a test",
        "images": "useful",
        "sections": [
            {"name": "choice", "format": "choice", "questions": "choice.jsonl", "shots": 1},
            {"name": "essay", "format": "free_response", "questions": "essay.jsonl"},
        ],
        "scoring": {"method": "linear", "low": 0, "high": 100},
        "percentiles": "percentiles.csv",
    } | changes
    (folder / "exam.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
