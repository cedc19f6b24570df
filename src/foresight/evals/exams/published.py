"""Published results of other models, to stand beside ours: facts, with their citation."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = "OpenAI, GPT-4 Technical Report (arXiv:2303.08774), Table 1"


@dataclass(frozen=True)
class Published:
    """A row of the report's Table 1: scores and percentiles as they are printed there, "" where
    there is none."""

    exam: str
    gpt4: str
    gpt4_percentile: str
    gpt4_no_vision: str
    gpt4_no_vision_percentile: str
    gpt35: str
    gpt35_percentile: str


@cache
def published() -> Mapping[str, Published]:
    """The report's exams by name."""
    text = Path(__file__).with_name("gpt4_report.csv").read_text(encoding="utf-8")
    return {row["exam"]: Published(**row) for row in csv.DictReader(text.splitlines())}


def percentile_range(printed: str) -> tuple[float, float] | None:
    """Lower and upper end of a percentile as the report prints it: "~88", "86-100", "<5"; None
    for nothing."""
    ends = [float(number) for number in re.findall(r"\d+", printed)]
    if not ends:
        return None
    return (0.0 if printed.startswith("<") else ends[0]), ends[-1]
