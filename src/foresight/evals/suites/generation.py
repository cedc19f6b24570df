"""Sets answered by writing: GSM8K, MGSM, HumanEval, MBPP."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path
from typing import Any

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals import sandbox
from foresight.evals.files import read_files
from foresight.evals.graders import NumericAnswer
from foresight.evals.item import Item
from foresight.evals.layout import Layout
from foresight.evals.protocols import Code, FreeResponse
from foresight.evals.suites.suite import Suite, needed, no_subset, read_items


def gsm8k(path: Path, subset: str) -> Suite:
    """Cobbe et al. 2021: `test.jsonl`, 5 worked examples from `train.jsonl`, chain of thought. The
    calculator's marks (<<2*3=6>>) are left out."""
    no_subset("gsm8k", subset)
    files = ("test.jsonl", "train.jsonl")
    read = read_items(path, files, ("question", "answer"), _gsm8k_item)
    protocol = FreeResponse(
        layout=Layout(question="Question: {question}\nAnswer:", answer=" {solution}"),
        temperature=0.0,
        max_tokens=400,
        stop=("\n\nQuestion:",),
        grader=NumericAnswer(),
    )
    return Suite(needed(path, read, "test"), protocol, {"": read.get("train", ())}, shots=5)


def _gsm8k_item(where: str, name: str, row: dict[str, Any]) -> Item:
    solution = re.sub(r"<<.*?>>", "", row["answer"])
    _, marked, answer = solution.rpartition("#### ")
    if not marked:
        raise UserError(f"{where}, field answer: does not end with '#### NUMBER'")
    meta = {"solution": solution}
    return Item(name, (Text(row["question"]),), target=(answer.strip(),), meta=meta)


def mgsm(path: Path, subset: str) -> Suite:
    """Shi et al. 2022: `mgsm_LANGUAGE.tsv` with 8 worked examples in the same language from
    `exemplars.py`. Translations of one question are one group. `subset`: a language."""
    files = read_files(path, f"mgsm_{subset or '*'}.tsv", "exemplars.py")
    examples = _exemplars(path, files.pop("exemplars.py", ""))
    items = []
    for file, text in files.items():
        language = file.removeprefix("mgsm_").removesuffix(".tsv")
        asks, answers = _prefixes(examples[language][0]) if language in examples else ("", "")
        rows = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
        for at, row in enumerate(rows):
            if len(row) != 2:
                raise UserError(f"{path}, {file}, line {at + 1}: expected question TAB answer")
            parts = (Text(f"{asks} {row[0]}\n{answers}".strip()),)
            meta = {"category": language}
            items.append(Item(f"{language}/{at}", parts, (), (row[1],), str(at), meta=meta))
    protocol = FreeResponse(
        layout=Layout(question="{question}", answer=" {solution}"),
        temperature=0.0,
        max_tokens=400,
        stop=("\n\n",),
        grader=NumericAnswer(marker=""),
    )
    return Suite(tuple(items), protocol, examples, shots=8 if examples else 0)


def _exemplars(path: Path, source: str) -> dict[str, tuple[Item, ...]]:
    """The table MGSM_EXEMPLARS, read without running the file."""
    found: dict[str, tuple[Item, ...]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MGSM_EXEMPLARS":
            for language, rows in ast.literal_eval(node.value).items():
                found[language] = tuple(
                    _exemplar(path, language, number, row) for number, row in rows.items()
                )
    return found


def _exemplar(path: Path, language: str, number: str, row: dict[str, str]) -> Item:
    head = re.match(r"([^:\uff1a]+[:\uff1a])\s*(.*)", row["a"], re.DOTALL)
    if head is None:
        raise UserError(f"{path}, exemplars.py, {language} {number}: no colon after its heading")
    meta = {"category": language, "solution": head[2]}
    return Item(f"{language}/example/{number}", (Text(f"{row['q']}\n{head[1]}"),), meta=meta)


def _prefixes(example: Item) -> tuple[str, str]:
    """How a question and an answer begin in the language of an example."""
    question, _, answer = example.text.rpartition("\n")
    head = re.match(r"[^:\uff1a]+[:\uff1a]", question)
    return (head[0] if head else ""), answer


def humaneval(path: Path, subset: str) -> Suite:
    """Chen et al. 2021: `HumanEval.jsonl`, zero-shot, completions of the prompt."""
    no_subset("humaneval", subset)
    fields = ("task_id", "prompt", "entry_point", "test")
    read = read_items(path, ("HumanEval.jsonl",), fields, _humaneval_item)
    return Suite(read["HumanEval"], Code())


def _humaneval_item(where: str, name: str, row: dict[str, Any]) -> Item:
    program = sandbox.human_eval(row["prompt"], "", row["test"], row["entry_point"])
    meta = {"entry_point": row["entry_point"], "solution": row["canonical_solution"]}
    return Item(row["task_id"], (Text(row["prompt"]),), (), (program.tests,), meta=meta)


def mbpp(path: Path, subset: str) -> Suite:
    """Austin et al. 2021: `mbpp.jsonl`, task ids 11 to 510, 3 examples from ids 1 to 10, the tests
    shown in the prompt."""
    no_subset("mbpp", subset)
    fields = ("task_id", "text", "code", "test_list")
    read = read_items(path, ("mbpp.jsonl",), fields, _mbpp_item)["mbpp"]
    items = tuple(item for item in read if 10 < int(item.id) <= 510)
    examples = tuple(item for item in read if int(item.id) <= 10)
    layout = Layout(question="{question}", answer="{solution}\n[DONE]")
    protocol = Code(layout=layout, continues=False, stop=("[DONE]",))
    return Suite(items, protocol, {"": examples}, shots=3)


def _mbpp_item(where: str, name: str, row: dict[str, Any]) -> Item:
    shown = "\n".join(row["test_list"])
    asked = f"{row['text']}\nThe code must pass these tests:\n{shown}\n[BEGIN]\n"
    setup = row.get("test_setup_code") or ""
    program = sandbox.mbpp("", row["code"], row["test_list"], setup)
    meta = {"solution": row["code"].replace("\r\n", "\n").replace("\r", "\n")}
    return Item(str(row["task_id"]), (Text(asked),), (), (program.tests,), meta=meta)
