"""Collections and records to be judged, made by the code that makes real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from foresight.evals.people.collection import Collection, collect
from foresight.evals.people.grades import People
from foresight.evals.people.prompts import Filters
from foresight.evals.people.vote import Vote
from foresight.evals.protocols import FreeResponse
from foresight.evals.reading import read_items
from foresight.evals.record import Record
from tests.evals.models import Written, unit
from tests.report.records import record


def prompts(folder: Path, n: int = 6) -> Path:
    """Prompts of two categories; the first has a picture."""
    pixels = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    Image.fromarray(pixels).save(folder / "figure.png")
    rows = [
        {
            "id": f"p{at}",
            "question": f"Question {at}: how do words of kind {at} differ from others?",
            "meta": {"category": "odd" if at % 2 else "even"},
        }
        for at in range(n)
    ]
    text = rows[0].pop("question")
    rows[0]["parts"] = [{"text": text}, {"image": "figure.png"}]
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def collected(
    folder: Path, n: int = 6, models: Sequence[str] = ("alpha", "beta"), text: str = "answer"
) -> Collection:
    """What each model writes depends on its name and the prompt, and does not tell the name."""

    def writer(name: str) -> Written:
        return Written(lambda asked, _: f"{text} {unit(name + asked):.12f}", name=name)

    folder.mkdir(parents=True, exist_ok=True)
    items = read_items(prompts(folder, n))
    out = folder / "blind"
    filters, protocol = Filters(max_copies=n), FreeResponse(temperature=0.0, grader=People())
    writers = [writer(name) for name in models]
    return collect(items, writers, out, filters, protocol, 0, lambda _: None)


def vote(key: str, action: str, judge: str = "ann", sides: tuple[str, str] = ("a", "b")) -> Vote:
    left, right = sides
    value = {"key": key, "action": action, "at": "2026-11-26T12:00:00+00:00", "prompt": "p",
             "judge": judge, "left": left, "right": right}  # fmt: skip
    return Vote.model_validate(value)


def answers(folder: Path, n: int = 6) -> Path:
    """Records of two models with a model grader's scores, in a folder each."""
    for model in ("alpha", "beta"):
        rows: list[Record] = [
            record(
                f"q{at}", model, task="essay", group="", prompt=f"Explain number {at}.",
                output=f"It is {unit(model + str(at)):.12f}", answer=None, choices=(),
                choice_logprobs=(), target=[f"gold {at}"], score=(at % 3) / 2,
                details={"explanation": f"the judge says {at}"},
            )
            for at in range(n)
        ]  # fmt: skip
        (folder / model).mkdir(parents=True, exist_ok=True)
        path = folder / model / "records.jsonl"
        path.write_text("".join(one.to_line() + "\n" for one in rows))
    return folder
