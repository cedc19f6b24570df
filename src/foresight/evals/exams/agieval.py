"""Exam folders from the files of AGIEval v1.1 (Zhong et al. 2023, arXiv:2304.06364).

It holds questions of real exams (LSAT, SAT, Gaokao, the Chinese bar, civil service, GRE and GMAT)
without pictures, scales and percentiles: what comes out is scored raw. Questions are split by a
fixed hash of their passage, or of question and options, so that no passage is in both halves; the
worked examples of `few_shot_prompts.csv` join the development half.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from foresight.errors import UserError
from foresight.evals.exams.exam import HALVES
from foresight.evals.exams.reading import read_exam
from foresight.evals.files import lines_of, read_files, rows_of
from foresight.evals.layout import LETTERS
from foresight.evals.suites.multiple_choice import agieval_question
from foresight.runs import write_atomic

TOGETHER: Mapping[str, tuple[str, ...]] = {
    "lsat": ("lsat-ar", "lsat-lr", "lsat-rc"),
    "jec-qa": ("jec-qa-kd", "jec-qa-ca"),
}
"""Files that are sections of one exam; every other file is an exam."""
LEFT_OUT = "sat-en-without-passage"
"""The questions of sat-en again."""
REPORT_ROWS = {
    "lsat": "LSAT",
    "sat-en": "SAT Evidence-Based Reading & Writing",
    "sat-math": "SAT Math",
}
FORMATS = {(True, True): "choices", (False, True): "choice", (False, False): "short"}
"""By whether several letters are right, and whether there are choices."""
EXAMPLE = "/example-"
SOURCE = "AGIEval v1.1, Zhong et al. 2023 (arXiv:2304.06364)"


@dataclass(frozen=True)
class Imported:
    """An exam that was written: questions in each half; those left out, which have no usable answer
    or stand there twice."""

    folder: str
    development: int
    holdout: int
    left_out: int


def import_agieval(path: Path, to: Path) -> list[Imported]:
    """Write a folder for every exam found at `path` (a folder or tar archive) below `to`.

    Raises UserError if a folder is there already, or naming file and line of a malformed question.
    """
    files = read_files(path, "*.jsonl", "few_shot_prompts.csv")
    examples = _examples(files.pop("few_shot_prompts.csv", ""))
    names = {part: exam for exam, parts in TOGETHER.items() for part in parts}
    exams: dict[str, dict[str, str]] = defaultdict(dict)
    for file, text in files.items():
        if (name := file.removesuffix(".jsonl")) != LEFT_OUT:
            exams[names.get(name, name)][name] = text
    for exam in exams:
        if (to / exam).exists():
            raise UserError(f"{to / exam}: is there already; name another folder, or remove it")
    return [_write(exam, parts, examples, path, to / exam) for exam, parts in sorted(exams.items())]


def _write(
    exam: str, parts: Mapping[str, str], examples: Mapping[str, Any], path: Path, folder: Path
) -> Imported:
    files: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    formats: dict[str, str] = {}
    seen: set[str] = set()
    left_out = 0
    for name, text in parts.items():
        for where, id_, row in _rows(name, text, examples, path):
            question = _question(where, id_, row)
            content = "\n".join([question["question"], *question.get("choices", ())])
            if "target" not in question or content in seen:
                left_out += 1
                continue
            seen.add(content)
            several = isinstance(question["target"], list)
            section = f"{name}-several" if several else name
            formats[section] = FORMATS[several, "choices" in question]
            half = "holdout"
            if EXAMPLE in id_ or _first_half(question.get("group") or content):
                half = "development"
            files[half, section].append(question)
    for (half, section), questions in files.items():
        write_atomic(folder / half / f"{section}.jsonl", lines_of(questions))
    write_atomic(folder / "exam.yaml", _yaml(exam, formats))
    read_exam(folder)
    counts = {half: sum(len(s) for (h, _), s in files.items() if h == half) for half in HALVES}
    return Imported(str(folder), counts["development"], counts["holdout"], left_out)


def _rows(
    name: str, text: str, examples: Mapping[str, Any], path: Path
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where, id and row: of the worked examples, then of the file's questions."""
    for at, row in enumerate(examples.get(name, ()), start=1):
        yield f"few_shot_prompts.csv, {name}, sample {at}", f"{name}{EXAMPLE}{at}", row
    for at, (where, row) in enumerate(rows_of(f"{path}, {name}.jsonl", text, "question")):
        yield where, f"{name}/{at}", row


def _yaml(exam: str, formats: Mapping[str, str]) -> str:
    value: dict[str, Any] = {
        "name": f"{exam} (AGIEval)",
        "source": SOURCE,
        "licence": "per task, see data/v1/LICENSE of AGIEval",
        **({"report_row": REPORT_ROWS[exam]} if exam in REPORT_ROWS else {}),
        "sections": [{"name": name, "format": one} for name, one in formats.items()],
        "scoring": {"method": "raw", "source": "share of points; AGIEval has no official scales"},
    }
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _question(where: str, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A question's line, without a target if it has no answer, or one that is no option."""
    try:
        text, choices, group = agieval_question({"options": None, **row})
        letters = "".join(row.get("label") or ())
    except (AttributeError, TypeError) as error:
        raise UserError(f"{where}: not a question of AGIEval ({error})") from None
    line: dict[str, Any] = {"id": name, "question": text}
    if choices and letters and set(letters) <= set(LETTERS[: len(choices)]):
        line |= {"choices": choices, "target": list(letters) if len(letters) > 1 else letters}
    elif not choices and row.get("answer"):
        line["target"] = str(row["answer"])
    other = row.get("other")
    solution = other.get("solution") if isinstance(other, dict) else None
    if isinstance(solution, str) and solution.strip():
        line["solution"] = solution.strip()
    return line | ({"group": group} if group else {})


def _first_half(content: str) -> bool:
    return hashlib.sha256(f"foresight exam halves/{content}".encode()).digest()[0] < 128


def _examples(text: str) -> dict[str, list[dict[str, Any]]]:
    """Worked examples by file: columns are files, a row of Python literals "sample N" is followed
    by "explanation N". Raises UserError naming the row that is none."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for at in range(1, len(rows) - 1, 2):
        for column, sample, told in zip(rows[0], rows[at], rows[at + 1], strict=True):
            if not (column and sample and told):
                continue
            try:
                found[column].append({**ast.literal_eval(sample), "other": {"solution": told}})
            except (ValueError, SyntaxError, TypeError) as error:
                where = f"few_shot_prompts.csv, row {at + 1}, {column}"
                raise UserError(f"{where}: {error}") from None
    return found
