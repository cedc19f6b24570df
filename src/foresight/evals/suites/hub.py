"""Public sets from the Hugging Face hub (extra `hf`), laid out as their official files.

A hub table becomes the official file that it was made from, and the suite's reader reads that: one
reader, one set of prompts, the same task hash where the hub changed nothing.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.files import lines_of

HUB = "hub:"
Row = dict[str, Any]
Splits = Mapping[str, Iterable[Row]]


@contextmanager
def official_files(suite: str, text: str) -> Iterator[Path]:
    """A folder with the files of `DATASET[:CONFIG]`, where DATASET is a name on the hub or a folder
    (Parquet files, or what `save_to_disk` wrote).

    Raises UserError if `datasets` is missing, the data set cannot be opened, or its columns are not
    those of the suite's official table.
    """
    if suite not in _TABLES:
        raise UserError(f"{suite}@{HUB}{text}: {suite} is read from files; from the hub can be "
                        f"{', '.join(_TABLES)}")  # fmt: skip
    table, make = _TABLES[suite]
    name, _, config = text.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = make(_splits(name, config), config)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f"{suite}@{HUB}{text}: not the columns of {suite}'s table on the hub, {table} "
                f"({error!r})"
            ) from None
        for file, content in files.items():
            (Path(folder) / file).write_text(content, encoding="utf-8")
        yield Path(folder)


def _splits(name: str, config: str) -> Splits:
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f"{HUB}{name}: the package `datasets` is missing; install it with "
            f"`pip install 'foresight[hf]'`"
        ) from None
    try:
        if (Path(name) / "dataset_dict.json").exists():
            return dict(datasets.load_from_disk(name))
        return dict(datasets.load_dataset(name, config or None))
    # Errors of the hub's client, a missing network among them, are OSErrors and ValueErrors.
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"{HUB}{name}{':' * bool(config)}{config}: cannot be opened ({error}); is there a "
            f"network, and does it need a configuration (DATASET:CONFIG)?"
        ) from None


def _plain(**names: str) -> Callable[[Splits, str], dict[str, str]]:
    """Splits whose rows are the lines of the official files `names`."""

    def files(splits: Splits, config: str) -> dict[str, str]:
        return {file: lines_of(splits[split]) for split, file in names.items() if split in splits}

    return files


def _mmlu(splits: Splits, config: str) -> dict[str, str]:
    tables: dict[str, list[list[str]]] = defaultdict(list)
    for split in ("dev", "test"):
        for row in splits[split]:
            cells = [row["question"], *row["choices"], "ABCD"[row["answer"]]]
            tables[f"{row['subject']}_{split}.csv"].append(cells)
    return {file: _csv(rows) for file, rows in tables.items()}


def _csv(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _arc(splits: Splits, config: str) -> dict[str, str]:
    def line(row: Row) -> Row:
        pairs = zip(row["choices"]["text"], row["choices"]["label"], strict=True)
        choices = [{"text": text, "label": label} for text, label in pairs]
        question = {"stem": row["question"], "choices": choices}
        return {"id": row["id"], "question": question, "answerKey": row["answerKey"]}

    kind = "Easy" if "easy" in config.lower() else "Challenge"
    names = {"train": "Train", "validation": "Dev", "test": "Test"}
    return {f"ARC-{kind}-{names[split]}.jsonl": lines_of(map(line, splits[split]))
            for split in names if split in splits}  # fmt: skip


def _truthfulqa(splits: Splits, config: str) -> dict[str, str]:
    kinds = ("mc1_targets", "mc2_targets")
    rows = [
        {"question": row["question"]}
        | {
            kind: dict(zip(row[kind]["choices"], row[kind]["labels"], strict=True))
            for kind in kinds
        }
        for row in splits["validation"]
    ]
    return {"mc_task.json": json.dumps(rows)}


def _mgsm(splits: Splits, config: str) -> dict[str, str]:
    rows = [(row["question"], str(row["answer_number"])) for row in splits["test"]]
    files = {f"mgsm_{config}.tsv": "".join("\t".join(row) + "\n" for row in rows)}
    worked = {
        str(at): {"q": row["question"], "a": row["answer"]}
        for at, row in enumerate(splits.get("train", ()), start=1)
        if row["answer"]
    }
    if worked:
        files["exemplars.py"] = f"MGSM_EXEMPLARS = { ({config: worked})!r}\n"
    return files


def _drop(splits: Splits, config: str) -> dict[str, str]:
    def answers(row: Row) -> list[Row]:
        some = row["validated_answers"]
        return [dict(zip(some, one, strict=True)) for one in zip(*some.values(), strict=True)]

    names = {"train": "drop_dataset_train.json", "validation": "drop_dataset_dev.json"}
    files = {}
    for split in (one for one in names if one in splits):
        passages: dict[str, Row] = {}
        for row in splits[split]:
            new = {"passage": row["passage"], "qa_pairs": []}
            pairs = passages.setdefault(row["section_id"], new)["qa_pairs"]
            kept = {key: row[key] for key in ("question", "query_id", "answer")}
            pairs.append(kept | {"validated_answers": answers(row)})
        files[names[split]] = json.dumps(passages)
    return files


def _bbh(splits: Splits, config: str) -> dict[str, str]:
    rows = [row for split in splits.values() for row in split]
    examples = [{"input": row["input"], "target": row["target"]} for row in rows]
    return {f"{config}.json": json.dumps({"examples": examples})}


def _mbpp(splits: Splits, config: str) -> dict[str, str]:
    rows = (row for split in splits.values() for row in split)
    return {"mbpp.jsonl": lines_of(sorted(rows, key=lambda row: int(row["task_id"])))}


_TABLES: dict[str, tuple[str, Callable[[Splits, str], dict[str, str]]]] = {
    "arc": ("allenai/ai2_arc:ARC-Challenge", _arc),
    "bbh": ("lukaemon/bbh:TASK", _bbh),
    "drop": ("EleutherAI/drop (ucinlp/drop does not tell spans from annotators)", _drop),
    "gsm8k": ("openai/gsm8k:main", _plain(train="train.jsonl", test="test.jsonl")),
    "hellaswag": (
        "Rowan/hellaswag",
        _plain(train="hellaswag_train.jsonl", validation="hellaswag_val.jsonl"),
    ),
    "humaneval": ("openai/openai_humaneval", _plain(test="HumanEval.jsonl")),
    "mbpp": ("google-research-datasets/mbpp:full", _mbpp),
    "mgsm": ("juletxara/mgsm:LANGUAGE", _mgsm),
    "mmlu": ("cais/mmlu:all", _mmlu),
    "mmlu_language": ("cais/mmlu:all", _mmlu),
    "truthfulqa": ("truthfulqa/truthful_qa:multiple_choice", _truthfulqa),
    "winogrande": (
        "allenai/winogrande:winogrande_xl",
        _plain(train="train_xl.jsonl", validation="dev.jsonl"),
    ),
}
"""By suite: where the table is whose columns are read, and how its files are made."""
