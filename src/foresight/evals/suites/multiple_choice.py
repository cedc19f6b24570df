"""Multiple-choice sets: MMLU, ARC, HellaSwag, TruthfulQA, AGIEval.

MMLU, ARC and AGIEval show all options and score the letters, as the GPT-4 report does; HellaSwag
and TruthfulQA score the texts themselves, which small models can already do.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import LETTERS, Layout
from foresight.evals.protocols import ChoiceLogprob
from foresight.evals.suites.files import read_files, rows_of
from foresight.evals.suites.suite import Suite

LETTER = "{question}\n{options}Answer:"
TEXT = Layout(question="{question}", answers="choice")


def mmlu(path: Path, subset: str) -> Suite:
    """Hendrycks et al. 2021: `SUBJECT_test.csv` without header, examples from `SUBJECT_dev.csv`;
    5-shot. `subset`: a subject."""
    files = read_files(path, f"{subset or '*'}_test.csv", f"{subset or '*'}_dev.csv")
    items: list[Item] = []
    dev: dict[str, tuple[Item, ...]] = {}
    for name, text in files.items():
        subject, _, split = name.removesuffix(".csv").rpartition("_")
        rows = [_mmlu_item(f"{path}, {name}", subject, at, row)
                for at, row in enumerate(csv.reader(io.StringIO(text)))]  # fmt: skip
        if split == "dev":
            dev[subject.replace("_", " ")] = tuple(rows)
        else:
            items += rows
    layout = Layout(
        instruction="The following are multiple choice questions (with answers) about {category}."
        "\n\n",
        question=LETTER,
    )
    return Suite(tuple(items), ChoiceLogprob(layout=layout), dev, shots=5)


def _mmlu_item(name: str, subject: str, at: int, row: list[str]) -> Item:
    if len(row) != 6 or row[5] not in tuple("ABCD"):
        raise UserError(
            f"{name}, row {at + 1}: expected question, four choices and a letter A to D, got {row}"
        )
    return Item(
        id=f"{subject}/{at}",
        parts=(Text(row[0].strip()),),
        choices=tuple(row[1:5]),
        target="ABCD".index(row[5]),
        meta={"category": subject.replace("_", " ")},
    )


def arc(path: Path, subset: str) -> Suite:
    """Clark et al. 2018: `ARC-Challenge-Test.jsonl` (else Dev), 25 examples from Train. `subset`:
    Challenge (default) or Easy."""
    name = subset.capitalize() or "Challenge"
    files = read_files(path, *(f"ARC-{name}-{split}.jsonl" for split in ("Test", "Dev", "Train")))
    read = {
        file.removesuffix(".jsonl").rsplit("-", 1)[1]: tuple(
            _arc_item(where, row) for where, row in rows_of(file, text, "id", "question")
        )
        for file, text in files.items()
    }
    items = read.get("Test") or read.get("Dev")
    if not items:
        raise UserError(f"{path}: holds neither ARC-{name}-Test.jsonl nor ARC-{name}-Dev.jsonl")
    protocol = ChoiceLogprob(layout=Layout(question=f"Question: {LETTER}"))
    return Suite(items, protocol, {"": read.get("Train", ())}, shots=25)


def _arc_item(where: str, row: dict[str, Any]) -> Item:
    try:
        choices = row["question"]["choices"]
        labels = [one["label"] for one in choices]
        return Item(
            id=str(row["id"]),
            parts=(Text(row["question"]["stem"].strip()),),
            choices=tuple(one["text"] for one in choices),
            target=labels.index(row["answerKey"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: expected question.stem, question.choices and answerKey ({error!r})"
        ) from None


def hellaswag(path: Path, subset: str) -> Suite:
    """Zellers et al. 2019: rows of `hellaswag*.jsonl`; the first ten are examples and no items.
    Endings by log-probability per byte."""
    _no_subset("hellaswag", subset)
    items = []
    for file, text in read_files(path, "hellaswag*.jsonl").items():
        fields = ("ind", "activity_label", "ctx_a", "ctx_b", "endings", "label")
        for where, row in rows_of(file, text, *fields):
            context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
            try:
                items.append(Item(
                    id=str(row["ind"]),
                    parts=(Text(_wikihow(context)),),
                    choices=tuple(_wikihow(ending) for ending in row["endings"]),
                    target=int(row["label"]),
                ))  # fmt: skip
            except (TypeError, ValueError) as error:
                raise UserError(f"{where}: {error}") from None
    protocol = ChoiceLogprob(layout=TEXT, normalise="per_byte")
    return Suite(tuple(items[10:]), protocol, {"": tuple(items[:10])}, shots=10)


def _wikihow(text: str) -> str:
    """Without the marks of WikiHow's pages ([title], [step], ...)."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return " ".join(text.split())


def truthfulqa(path: Path, subset: str) -> Suite:
    """Lin et al. 2022, MC1 of `mc_task.json`; zero-shot. The right answer stands first in the file:
    here choices are in an order of their own, so that ties do not go to the truth."""
    _no_subset("truthfulqa", subset)
    items = []
    for file, text in read_files(path, "mc_task.json").items():
        try:
            for at, row in enumerate(json.loads(text)):
                answers = sorted(
                    row["mc1_targets"], key=lambda one: hashlib.sha256(one.encode()).digest()
                )
                right = [row["mc1_targets"][one] for one in answers].index(1)
                items.append(Item(str(at), (Text(row["question"]),), tuple(answers), right))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{path}, {file}: expected a list of question and mc1_targets ({error!r})"
            ) from None
    layout = Layout(question="Q: {question}\nA:", answers="choice")
    return Suite(tuple(items), ChoiceLogprob(layout=layout))


def agieval(path: Path, subset: str) -> Suite:
    """Zhong et al. 2023: multiple-choice exams of `v1`, zero-shot. Questions with several right
    options are left out. Questions about one passage are one group. `subset`: an exam."""
    items: list[Item] = []
    for file, text in read_files(path, f"{subset or '*'}.jsonl").items():
        exam = file.removesuffix(".jsonl")
        for at, (where, row) in enumerate(rows_of(file, text, "question", "options", "label")):
            labels = "".join(row["label"] or ())
            if row["options"] and len(labels) == 1:
                items.append(_agieval_item(where, f"{exam}/{at}", exam, row, labels))
    if not items:
        raise UserError(f"{path}: no multiple-choice questions in {subset or 'its files'}")
    protocol = ChoiceLogprob(layout=Layout(question=LETTER))
    return Suite(tuple(items), protocol)


def _agieval_item(where: str, name: str, exam: str, row: dict[str, Any], label: str) -> Item:
    text, choices, group = agieval_question(row)
    target = LETTERS.find(label)
    if not 0 <= target < len(choices):
        raise UserError(f"{where}, field label: {label!r} is none of {len(choices)} options")
    return Item(name, (Text(text),), choices, target, group, meta={"category": exam})


def agieval_question(row: dict[str, Any]) -> tuple[str, tuple[str, ...], str]:
    """Text with its passage, options without their letters, and the passage's group."""
    choices = tuple(re.sub(r"^\s*\([A-Z]\)\s*", "", one) for one in row["options"] or ())
    passage = (row.get("passage") or "").strip()
    group = hashlib.sha256(passage.encode()).hexdigest()[:12] if passage else ""
    text = f"{passage}\n{row['question']}" if passage else row["question"]
    return text.strip(), choices, group


def _no_subset(name: str, subset: str) -> None:
    if subset:
        raise UserError(f"{name} has no subset {subset!r}")
