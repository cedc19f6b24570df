"""Evaluation records to look at, written by the class that writes real ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from foresight.evals.record import UNSCORED, Reason, Record, record_key

SHA = "0123456789abcdef" * 4
HOSTILE = (
    "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
    "<!--<script>&lt;b&gt; \u2028 \"'`${window.pwned = 3}` javascript:window.pwned=4 \x1b[31m"
)


def record(item: str = "q-1", model: str = "small", **changes: Any) -> Record:
    given: dict[str, Any] = {
        "task": "arc", "sample": 0, "group": "physics", "weight": 1.0, "prompt": "Which planet?",
        "output": "The answer is therefore [B", "answer": "B", "target": 1, "score": 1.0,
        "reason": Reason.OK, "choices": ("Mars", "Venus"), "choice_logprobs": (-2.0, -0.5),
        "tokens": 7,
    } | changes  # fmt: skip
    key = record_key(given["task"], item, given["sample"], model)
    return Record(**{"key": key, "item": item, "model": model, **given})


def several(n: int = 60) -> list[Record]:
    """Two models on `n` items of two tasks; the second lacks the last item."""
    found = []
    for model in ("small", "large"):
        for at in range(n - (model == "large")):
            reason = list(Reason)[at % 6] if at % 5 == 0 else Reason.OK
            unscored = reason in UNSCORED
            right = at % (3 if model == "small" else 4) == 0
            found.append(
                record(
                    f"q-{at}", model, task=("arc", "mmlu")[at % 2], sample=at % 3,
                    group=("physics", "law", "Law of nations")[at % 3], weight=1.0 + at % 2,
                    prompt=f"[image {SHA} 12x16]\nQuestion {at}\nÉtat «{at}»", target=at % 2,
                    output=f"I say {at * at}\n{model}", answer=None if unscored else "AB"[at % 2],
                    score=None if unscored else 0.5 if at % 11 == 0 else float(right),
                    reason=reason, choice_logprobs=(-0.1 * at, -1.0) if at % 4 else (),
                    tokens=(at * 37) % 50, details={"grader": f"note {at}", "votes": [1, 2]},
                )
            )  # fmt: skip
    return found


def hostile() -> Record:
    return record(
        HOSTILE, HOSTILE, task=HOSTILE, group=HOSTILE, prompt=HOSTILE, output=HOSTILE,
        answer=HOSTILE, target=(HOSTILE,), choices=(HOSTILE, HOSTILE),
        details={HOSTILE: HOSTILE, "deep": [{HOSTILE: HOSTILE}]},
    )  # fmt: skip


def write(folder: Path, records: Iterable[Record], name: str = "records.jsonl") -> Path:
    """A records file with a picture beside it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pixels = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    Image.fromarray(pixels).save(folder / "images" / f"{SHA}.png")
    path = folder / name
    path.write_text("".join(one.to_line() + "\n" for one in records))
    return path


texts = st.text(
    st.one_of(
        # Escapes of JSON, and letters whose lower case is odd: sharp s, sigmas, Kelvin, dotted I.
        st.sampled_from('abAB\\"n/u0\n\t\x1b\x7féÉß\u03c3\u03a3\u03c2\u212aİ'),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=12,
)
