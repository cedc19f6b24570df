"""Which records are looked at, in which order, and what they come to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.coverage import wilson
from foresight.report.record_index import ALL, NUMBERS, TEXTS, RecordIndex
from foresight.report.record_line import FIELDS, right_choice

VERDICTS = ("right", "partly", "wrong", "unscored")
"""Score 1, between, 0, none."""
SORTS = ("", *TEXTS, *NUMBERS, "other_score")
"""Columns to sort by; "" is the order of the files."""


@dataclass(frozen=True)
class Query:
    """Filters and order; an empty text filters nothing. Raises UserError for what cannot be.

    `group`: a group, or a part of the names of several. `text`: in prompt or output, in either
    case. `against`: another model, whose record of the same task, item and sample is set beside;
    rows without one are left out, and with `differ` those of equal score. All other filters are
    of the first record.
    """

    task: str = ""
    model: str = ""
    reason: str = ""
    verdict: str = ""
    group: str = ""
    text: str = ""
    against: str = ""
    differ: bool = False
    sort: str = ""
    descending: bool = False

    def __post_init__(self) -> None:
        if self.verdict and self.verdict not in VERDICTS:
            raise UserError(f"verdict {self.verdict!r}: must be one of {', '.join(VERDICTS)}")
        if self.sort not in SORTS:
            raise UserError(f"sort {self.sort!r}: must be one of {', '.join(SORTS[1:])}")
        if self.against and not self.model:
            raise UserError("against: needs a model to compare with it")
        if not self.against and (self.differ or self.sort == "other_score"):
            raise UserError("differ, other_score: need another model, `against`")

    @classmethod
    def read(cls, words: Mapping[str, str]) -> Query:
        """From the parameters of a URL; parameters of other names are not looked at."""
        known = {field.name for field in fields(cls)} & set(words)
        flags = ("differ", "descending")
        given: dict[str, Any] = {name: words[name] for name in known}
        return cls(**given | {name: words[name] == "1" for name in known & set(flags)})


@dataclass(frozen=True)
class Result:
    """Rows in order; beside each its row of the other model (-1: none asked for)."""

    rows: NDArray[np.int64]
    others: NDArray[np.int64]
    summary: dict[str, Any]


def run(index: RecordIndex, query: Query) -> Result:
    """Filter, pair, sort, sum up."""
    keep = np.ones(index.size, bool)
    for name in ("task", "model", "reason"):
        if value := getattr(query, name):
            column = index.texts[name]
            keep &= column.codes == column.code(value)
    if query.group:
        keep &= _in_group(index, query.group)
    if query.verdict:
        keep &= _verdicts(index) == VERDICTS.index(query.verdict)
    others = np.full(index.size, -1, np.int64)
    score = index.numbers["score"]
    if query.against:
        others = _partners(index, query.against)
        keep &= others >= 0
        if query.differ:
            beside = score[others]
            keep &= (score != beside) & ~(np.isnan(score) & np.isnan(beside))
    if query.text:
        keep &= index.matches(query.text)
    rows = np.flatnonzero(keep)
    rows = rows[_order(index, query, rows, others)]
    return Result(rows, others[rows], _summary(index, rows, others[rows]))


def _order(
    index: RecordIndex, query: Query, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    if not query.sort:
        return np.arange(len(rows))[:: -1 if query.descending else 1]
    if query.sort == "other_score":
        key = index.numbers["score"][others[rows]]
    else:
        key = index.sort_key(query.sort)[rows]
    # nan is last in either direction, and equal keys stay in the order of the files.
    return np.argsort(-key if query.descending else key, kind="stable")


def _in_group(index: RecordIndex, text: str) -> NDArray[np.bool_]:
    groups = index.texts["group"]
    exact = text in groups.values
    has = [value == text if exact else text.lower() in value.lower() for value in groups.values]
    found: NDArray[np.bool_] = np.array([*has, False])[groups.codes]
    return found


def _verdicts(index: RecordIndex) -> NDArray[np.int64]:
    score = index.numbers["score"]
    return np.select([score >= 1, score > 0, score <= 0], [0, 1, 2], 3)


def _partners(index: RecordIndex, model: str) -> NDArray[np.int64]:
    """Row of the model for the same task, item and sample as each row; -1 where there is none."""
    models = index.texts["model"]
    theirs = np.flatnonzero(models.codes == models.code(model))
    found = np.full(index.size, -1, np.int64)
    if len(theirs):
        units = index.units()
        order = np.argsort(units[theirs], kind="stable")
        places = np.searchsorted(units[theirs], units, side="right", sorter=order) - 1
        candidates = theirs[order[places]]
        same = (places >= 0) & (units[candidates] == units)
        found[same] = candidates[same]
    return found


def _summary(
    index: RecordIndex, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> dict[str, Any]:
    """`n`, `scored`, `mean` and `interval` (see `_mean`), of the other model too where there is
    one, with the number of pairs that each does better in."""
    found: dict[str, Any] = {"n": len(rows), **_mean(index, rows)}
    if len(others) and others[0] >= 0:
        gap = index.numbers["score"][rows] - index.numbers["score"][others]
        found["other"] = _mean(index, others)
        found["better"] = int((gap > 0).sum())
        found["worse"] = int((gap < 0).sum())
    return found


def _mean(index: RecordIndex, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Weighted mean score of the scored rows with its Wilson interval at 95 %, which counts
    (sum w)^2 / sum w^2 of them (Kish 1965): all, where weights are equal."""
    score, weight = index.numbers["score"][rows], index.numbers["weight"][rows]
    scored = ~np.isnan(score)
    total = float(weight[scored].sum())
    if total <= 0:
        return {"scored": int(scored.sum()), "mean": None, "interval": None}
    mean = float((weight * score)[scored].sum()) / total
    effective = total**2 / float((weight[scored] ** 2).sum())
    # A score outside [0, 1] is shown as it stands and has no such interval.
    interval = list(wilson(mean * effective, effective)) if 0 <= mean <= 1 else None
    return {"scored": int(scored.sum()), "mean": mean, "interval": interval}


def row_json(index: RecordIndex, row: int, other: int = -1) -> dict[str, Any]:
    """What the table lists of a row."""
    found: dict[str, Any] = {"id": row}
    found |= {name: column[row] for name, column in index.texts.items()}
    for name, numbers in index.numbers.items():
        value = float(numbers[row])
        found[name] = value if math.isfinite(value) else None
    if other >= 0:
        found["other"] = row_json(index, other)
    return found


def record_json(index: RecordIndex, row: int) -> dict[str, Any]:
    """What the detail pane shows of a row: numbers for the bars, else text."""
    record = index.record(row)
    details = record["details"] if isinstance(record["details"], dict) else {"": record["details"]}
    unknown = {name: value for name, value in record.items() if name not in FIELDS}
    logprobs = [
        float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
        for value in record["choice_logprobs"]
    ]
    return row_json(index, row) | {
        "key": record["key"],
        "prompt": record["prompt"],
        "output": record["output"],
        "answer": record["answer"],
        "target": _text(record["target"]),
        "choices": [_text(choice) for choice in record["choices"]],
        "logprobs": logprobs,
        "right": right_choice(record),
        "details": [[name, _text(value)] for name, value in details.items()],
        "unknown": [[name, _text(value)] for name, value in unknown.items()],
    }


def _text(value: Any) -> str:
    """Text as it stands, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def facets(
    index: RecordIndex, rows: NDArray[np.intp] | slice = ALL
) -> dict[str, list[tuple[str, int]]]:
    """Values to filter by, with their numbers of these rows."""
    return {name: index.texts[name].counts(rows) for name in ("task", "model", "reason", "group")}


def locate(index: RecordIndex, result: Result, words: Mapping[str, str]) -> int | None:
    """Place in the result of the record that a link names: `item`, and where it says so `sample`,
    `in` (task) and `of` (model). None if it is not there."""
    item = index.texts["item"]
    same = item.codes[result.rows] == item.code(words.get("item", ""))
    for word, name in (("in", "task"), ("of", "model")):
        if word in words:
            column = index.texts[name]
            same &= column.codes[result.rows] == column.code(words[word])
    if "sample" in words:
        same &= np.char.mod("%d", index.numbers["sample"][result.rows]) == words["sample"]
    places = np.flatnonzero(same)
    return int(places[0]) if len(places) else None
