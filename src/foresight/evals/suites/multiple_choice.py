"""Multiple-choice sets: MMLU, ARC, HellaSwag, WinoGrande, AGIEval.

All options are shown and the letters are scored, as in the GPT-4 report; but HellaSwag's endings
are scored themselves, which small models can already do (`protocol: choice_logprob` in a task file
asks for letters there, too).
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import read_files, rows_of
from foresight.evals.item import Item
from foresight.evals.layout import LETTERS, Layout
from foresight.evals.protocols import ChoiceLogprob
from foresight.evals.suites.suite import Suite, needed, no_subset, read_items

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


def mmlu_language(path: Path, subset: str) -> Suite:
    """MMLU as the GPT-4 report puts it in other languages (appendix F), in English: another
    instruction, 3-shot. What `translate` translates."""
    layout = Layout(
        instruction="A highly knowledgeable and intelligent artificial intelligence model answers "
        "multiple-choice questions about {category}\n\n",
        question="{question}\n\n{options}Answer:",
        option="{letter}) {choice}\n\n",
    )
    return replace(mmlu(path, subset), protocol=ChoiceLogprob(layout=layout), shots=3)


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
    test, dev, train = (f"ARC-{name}-{split}" for split in ("Test", "Dev", "Train"))
    files = [f"{one}.jsonl" for one in (test, dev, train)]
    read = read_items(path, files, ("id", "question"), _arc_item)
    items = needed(path, read, test, dev)
    protocol = ChoiceLogprob(layout=Layout(question=f"Question: {LETTER}"))
    return Suite(items, protocol, {"": read.get(train, ())}, shots=25)


def _arc_item(where: str, name: str, row: dict[str, Any]) -> Item:
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
    """Zellers et al. 2019: `hellaswag_val.jsonl`, 10 examples from `hellaswag_train.jsonl`, else
    the set's own first ten; the test file has no labels. Endings by log-probability per byte."""
    no_subset("hellaswag", subset)
    fields = ("ind", "activity_label", "ctx_a", "ctx_b", "endings", "label")
    files = ("hellaswag.jsonl", "hellaswag_train*.jsonl", "hellaswag_val*.jsonl")
    items: dict[bool, tuple[Item, ...]] = {False: (), True: ()}
    for file, some in read_items(path, files, fields, _hellaswag_item).items():
        items[file.startswith("hellaswag_train")] += some
    protocol = ChoiceLogprob(layout=TEXT, normalise="per_byte")
    return Suite(items[False], protocol, {"": items[True]}, shots=10)


def _hellaswag_item(where: str, name: str, row: dict[str, Any]) -> Item:
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    try:
        return Item(
            id=str(row["ind"]),
            parts=(Text(_wikihow(context)),),
            choices=tuple(_wikihow(ending) for ending in row["endings"]),
            target=int(row["label"]),
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from None


def _wikihow(text: str) -> str:
    """Without the marks of WikiHow's pages ([title], [step], ...)."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return " ".join(text.split())


def winogrande(path: Path, subset: str) -> Suite:
    """Sakaguchi et al. 2020: `dev.jsonl`, 5 examples from the first of `train_*.jsonl`, else the
    set's own. Both options are shown and the letter is scored, as the GPT-4 report does; `subset`
    partial: the text behind the blank is scored with each option before it (Trinh and Le 2018).
    Twins, two sentences that differ in a word (qID NAME-1, NAME-2), are one group."""
    if subset not in ("", "partial"):
        raise UserError(f"winogrande has no subset {subset!r}; expected partial, or none")
    make = _partial_item if subset else _winogrande_item
    fields = ("sentence", "option1", "option2", "answer")
    read = read_items(path, ("dev.jsonl", "train_*.jsonl"), fields, make)
    items = needed(path, read, "dev")
    examples = next((some for file, some in read.items() if file != "dev"), ())
    protocol = ChoiceLogprob(layout=Layout(question=LETTER))
    if subset:
        layout = Layout(answers="choice", answer="{answer}")
        protocol = ChoiceLogprob(layout=layout, normalise="suffix")
    return Suite(items, protocol, {"": examples}, shots=5)


def _winogrande_item(where: str, name: str, row: dict[str, Any]) -> Item:
    if row["answer"] not in ("1", "2") or row["sentence"].count("_") != 1:
        raise UserError(f"{where}: expected one '_' in sentence and answer '1' or '2'")
    options, twins = (row["option1"], row["option2"]), str(row.get("qID", "")).rpartition("-")[0]
    return Item(name, (Text(row["sentence"]),), options, int(row["answer"]) - 1, twins)


def _partial_item(where: str, name: str, row: dict[str, Any]) -> Item:
    item = _winogrande_item(where, name, row)
    before, _, suffix = item.text.partition("_")
    choices = tuple(option + suffix for option in item.choices)
    return replace(item, parts=(Text(before),), choices=choices, meta={"suffix": suffix})


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
