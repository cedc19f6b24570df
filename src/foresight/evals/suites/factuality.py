"""Factuality by category: a user's own questions (GPT-4 report, figure 6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import read_files, rows_of
from foresight.evals.item import Item
from foresight.evals.people.grades import People
from foresight.evals.protocols import FreeResponse
from foresight.evals.suites.suite import Suite, no_subset

KNOWN = ("answers", "reference", "rubric")


def factuality(path: Path, subset: str) -> Suite:
    """A JSONL file of {question, category, and answers (a list), reference (a text) or rubric (a
    list of {criterion, points})}, optionally id; the likeliest answer of the model.

    Graded by people (`foresight grade`) unless a task file names a grader (model, rubric).
    """
    no_subset("factuality", subset)
    items = []
    (name, text), *_ = read_files(path, path.name.removesuffix(".gz")).items()
    for number, (where, row) in enumerate(rows_of(name, text, "question", "category"), start=1):
        items.append(_item(where, str(row.get("id", number)), row))
    return Suite(tuple(items), FreeResponse(temperature=0.0, max_tokens=256, grader=People()))


def _item(where: str, name: str, row: dict[str, Any]) -> Item:
    known = [field for field in KNOWN if row.get(field)]
    if len(known) != 1:
        raise UserError(f"{where}: give one of {', '.join(KNOWN)}")
    value = row[known[0]]
    meta: dict[str, Any] = {"category": str(row["category"])}
    if known == ["rubric"]:
        return Item(name, (Text(str(row["question"])),), meta=meta | {"rubric": value})
    answers = [value] if known == ["reference"] else value
    if not isinstance(answers, list) or not all(isinstance(one, str) for one in answers):
        expected = "a text" if known == ["reference"] else "a list of texts"
        raise UserError(f"{where}, field {known[0]}: {value!r}; expected {expected}")
    return Item(name, (Text(str(row["question"])),), target=tuple(answers), meta=meta)
