"""TruthfulQA: MC1 and MC2, from `mc_task.json` or `TruthfulQA.csv`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import read_files
from foresight.evals.item import Item
from foresight.evals.layout import Layout
from foresight.evals.protocols import ChoiceLogprob
from foresight.evals.suites.suite import Suite

_COLUMNS = ("Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers")


def truthfulqa(path: Path, subset: str) -> Suite:
    """Lin et al. 2022, zero-shot; few-shot examples are the set's own first questions.

    `subset` mc1 (default): one right answer, accuracy, as in the GPT-4 report's figure 7; mc2: the
    share of probability on all right answers. `mc_task.json` decides where both files are there;
    the table gives the categories. The right answer stands first in the files: here choices are in
    an order of their own, so that ties do not go to the truth.
    """
    if subset not in ("", "mc1", "mc2"):
        raise UserError(f"truthfulqa has no subset {subset!r}; expected mc1 or mc2")
    files = read_files(path, "mc_task.json", "TruthfulQA.csv")
    table = _table(path, files["TruthfulQA.csv"]) if "TruthfulQA.csv" in files else []
    categories = {_key(row["Question"]): row["Category"] for row in table}
    items = []
    for at, (question, answers) in enumerate(
        _official(path, files["mc_task.json"], subset or "mc1")
        if "mc_task.json" in files
        else [(row["Question"], _of_table(row, subset or "mc1")) for row in table]
    ):
        choices = sorted(answers, key=lambda one: hashlib.sha256(one.encode()).digest())
        right = tuple(one for one in choices if answers[one])
        target = right if subset == "mc2" else choices.index(right[0])
        category = categories.get(_key(question))
        meta = {"category": category} if category else {}
        items.append(Item(str(at), (Text(question),), tuple(choices), target, meta=meta))
    layout = Layout(question="Q: {question}\nA:", answers="choice")
    return Suite(tuple(items), ChoiceLogprob(layout=layout))


def _official(path: Path, text: str, kind: str) -> list[tuple[str, Mapping[str, bool]]]:
    """Questions, and whether each of their answers is right."""
    try:
        rows: list[tuple[str, Mapping[str, bool]]] = [
            (str(row["question"]), {str(k): v == 1 for k, v in row[f"{kind}_targets"].items()})
            for row in json.loads(text)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}, mc_task.json: expected a list of question and {kind}_targets ({error!r})"
        ) from None
    for at, (question, answers) in enumerate(rows):
        if not any(answers.values()) or (kind == "mc1" and sum(answers.values()) != 1):
            raise UserError(
                f"{path}, mc_task.json, entry {at}, {kind}_targets of {question!r}: expected one "
                f"right answer{'' if kind == 'mc1' else ' or more'}"
            )
    return rows


def _table(path: Path, text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    for number, row in enumerate(rows, start=1):
        if missing := [name for name in _COLUMNS if not (row.get(name) or "").strip()]:
            raise UserError(f"{path}, TruthfulQA.csv, row {number}, field {missing[0]}: missing")
    return rows


def _of_table(row: Mapping[str, str], kind: str) -> Mapping[str, bool]:
    """Answers of a row of the table; MC1 has the best one only."""
    best = row["Best Answer"].strip()
    right = [best, *(_split(row["Correct Answers"]) if kind == "mc2" else ())]
    return dict.fromkeys(_split(row["Incorrect Answers"]), False) | dict.fromkeys(right, True)


def _split(cell: str) -> list[str]:
    return [one.strip() for one in cell.split(";") if one.strip()]


def _key(question: str) -> str:
    return " ".join(question.casefold().split())
