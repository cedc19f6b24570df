"""Scores that people gave to responses."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from foresight.errors import UserError
from foresight.evals.graders import Graded, TextGrader, Verdict
from foresight.evals.interop.lines import read_lines
from foresight.evals.item import Item

Labels = Mapping[tuple[str, str], float]
"""By item and response: the mean score of those who labelled it."""


class HumanLabels(TextGrader):
    """A response has the score that people gave to it, word for word; without a label it has none.

    Run, let people fill in `score` in a copy of the records, run again: responses that had no score
    are asked for again, and a model that answers alike gets its labels. Labels are about responses,
    not questions, and are not part of the task's hash.
    """

    kind: Literal["labels"] = "labels"
    labels: Annotated[Labels, SkipValidation] = Field(exclude=True)
    """In YAML a JSONL file with `item`, `output` and `score` in [0, 1] (records are such)."""

    def check(self, item: Item) -> None:
        """Any item can be labelled."""

    def read(self, response: Graded) -> Verdict:
        output = response.output.strip()
        score = self.labels.get((response.item.id, output))
        return Verdict.failed("no label") if score is None else Verdict(score, output)


def read_labels(path: Path) -> Labels:
    """Labels of a JSONL file; lines whose score is null are not labelled yet.

    Raises UserError naming file, line and field.
    """
    given: dict[tuple[str, str], list[float]] = defaultdict(list)
    for where, row in read_lines(path):
        if missing := [field for field in ("item", "output", "score") if field not in row]:
            raise UserError(f"{where}, field {missing[0]}: missing; it has {', '.join(row)}")
        if row["score"] is not None:
            key = (str(row["item"]), str(row["output"]).strip())
            given[key].append(_score(where, row["score"]))
    return {key: math.fsum(some) / len(some) for key, some in given.items()}


def _score(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{where}, field score: {value!r}; expected a number from 0 to 1, or null")
    return float(value)
