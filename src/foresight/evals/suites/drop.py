"""DROP: questions about a passage that need counting, sorting, arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.drop_f1 import BETWEEN, DropF1
from foresight.evals.files import read_files
from foresight.evals.item import Item
from foresight.evals.layout import Layout
from foresight.evals.protocols import FreeResponse
from foresight.evals.suites.suite import Suite, no_subset

DEV, TRAIN = "drop_dataset_dev.json", "drop_dataset_train.json"


def drop(path: Path, subset: str) -> Suite:
    """Dua et al. 2019: `drop_dataset_dev.json`, 3-shot, score F1; examples are the first questions
    of the first passages of `drop_dataset_train.json`, else of the set's own. Accepted are the
    answer and all validated ones; a question without any is left out. Questions about one passage
    are one group."""
    no_subset("drop", subset)
    files = read_files(path, DEV, TRAIN)
    if DEV not in files:
        raise UserError(f"{path}: holds no {DEV}")
    read = {file: tuple(_items(f"{path}, {file}", text)) for file, text in files.items()}
    first: dict[str, Item] = {}
    for item in read.get(TRAIN, ()):
        first.setdefault(item.group, item)
    protocol = FreeResponse(
        layout=Layout(question="{question}\nAnswer:"),
        temperature=0.0,
        max_tokens=64,
        stop=("\n",),
        grader=DropF1(),
    )
    return Suite(read[DEV], protocol, {"": tuple(first.values())}, shots=3)


def _items(where: str, text: str) -> Iterator[Item]:
    try:
        passages = json.loads(text).items()
        for group, passage in passages:
            for pair in passage["qa_pairs"]:
                answers = [pair["answer"], *pair.get("validated_answers", ())]
                # Annotators agree as a rule: each answer once, in their order.
                target = tuple(dict.fromkeys(filter(None, map(_written, answers))))
                asked = f"Passage: {passage['passage'].strip()}\nQuestion: {pair['question']}"
                if target:
                    yield Item(pair["query_id"], (Text(asked),), target=target, group=group)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{where}: expected passages with passage and qa_pairs of question, query_id, answer "
            f"({error!r})"
        ) from None


def _written(answer: dict[str, Any]) -> str:
    """An answer as it is written: a number, spans, or a date; the first that is there, as the
    official evaluator has it."""
    if answer.get("number"):
        return str(answer["number"])
    if answer.get("spans"):
        # Punctuation does not count, so a bar inside a span can go.
        return BETWEEN.join(str(span).replace("|", " ") for span in answer["spans"])
    date = answer.get("date") or {}
    return " ".join(filter(None, (date.get(part, "") for part in ("day", "month", "year"))))
