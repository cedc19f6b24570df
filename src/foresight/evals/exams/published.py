"""GPT-4 and GPT-3.5 in table 1 of the GPT-4 Technical Report: facts to set beside ours."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SOURCE = "GPT-4 Technical Report, table 1 (arXiv 2303.08774)"


@dataclass(frozen=True)
class Published:
    """Scores as printed ("163/170"), with percentiles ("~80", "86-100", or "")."""

    exam: str
    gpt4: str
    gpt4_percentile: str
    gpt4_no_vision: str
    gpt4_no_vision_percentile: str
    gpt35: str
    gpt35_percentile: str


@lru_cache(maxsize=1)
def published() -> dict[str, Published]:
    """The table's rows by exam."""
    lines = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["exam"]: Published(**row) for row in rows}
