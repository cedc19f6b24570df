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
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from foresight.errors import UserError
from foresight.evals.exams.reading import read_exam
from foresight.evals.layout import LETTERS
from foresight.evals.suites.files import read_files, rows_of
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
    halves: dict[str, dict[str, list[dict[str, Any]]]] = {
        "development": defaultdict(list), "holdout": defaultdict(list),
    }  # fmt: skip
    formats: dict[str, str] = {}
    seen: set[str] = set()
    left_out = 0
    for name, text in parts.items():
        solved = (
            (f"few_shot_prompts.csv, {name}, sample {at}", f"{name}/example-{at}", row)
            for at, row in enumerate(examples.get(name, ()), start=1)
        )
        asked = (
            (where, f"{name}/{at}", row)
            for at, (where, row) in enumerate(rows_of(f"{path}, {name}.jsonl", text, "question"))
        )
        for where, id_, row in (*solved, *asked):
            question = _question(where, id_, row)
            if question is None:
                left_out += 1
                continue
            format_, line = question
            content = line["question"] + "\n".join(line.get("choices", ()))
            if content in seen:
                left_out += 1
                continue
            seen.add(content)
            section = f"{name}-several" if format_ == "choices" else name
            formats[section] = format_
            worked = "/example-" in id_
            half = "development" if worked or _first_half(line, content) else "holdout"
            halves[half][section].append(line)
    for half, sections in halves.items():
        for section, lines in sections.items():
            rows = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            write_atomic(folder / half / f"{section}.jsonl", rows)
    write_atomic(folder / "exam.yaml", _yaml(exam, formats))
    read_exam(folder)
    counts = Counter({half: sum(map(len, some.values())) for half, some in halves.items()})
    return Imported(str(folder), counts["development"], counts["holdout"], left_out)


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


def _question(where: str, name: str, row: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Format and line of a question; None if it has no answer, or one that is no option."""
    try:
        text, choices, group = agieval_question({"options": None, **row})
        letters = "".join(row.get("label") or ())
        answer = row.get("answer")
    except (AttributeError, TypeError) as error:
        raise UserError(f"{where}: not a question of AGIEval ({error})") from None
    line: dict[str, Any] = {"id": name, "question": text}
    if choices and letters and set(letters) <= set(LETTERS[: len(choices)]):
        several = len(letters) > 1
        line |= {"choices": list(choices), "target": list(letters) if several else letters}
        format_ = "choices" if several else "choice"
    elif not choices and answer:
        line["target"] = str(answer)
        format_ = "short"
    else:
        return None
    other = row.get("other")
    solution = other.get("solution") if isinstance(other, dict) else None
    if isinstance(solution, str) and solution.strip():
        line["solution"] = solution.strip()
    return format_, line | ({"group": group} if group else {})


def _first_half(line: Mapping[str, Any], content: str) -> bool:
    split = line.get("group") or content
    return hashlib.sha256(f"foresight exam halves/{split}".encode()).digest()[0] < 128


def _examples(text: str) -> dict[str, list[dict[str, Any]]]:
    """Worked examples by file: columns are files, a row of Python literals "sample N" is followed
    by "explanation N". Raises UserError naming the row that is none."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for at, column, sample, told in _pairs(rows):
        try:
            row = ast.literal_eval(sample)
            found[column].append({**row, "other": {"solution": told}})
        except (ValueError, SyntaxError, TypeError) as error:
            raise UserError(f"few_shot_prompts.csv, row {at}, {column}: {error}") from None
    return found


def _pairs(rows: list[list[str]]) -> Iterator[tuple[int, str, str, str]]:
    for at in range(1, len(rows) - 1, 2):
        for column, sample, told in zip(rows[0], rows[at], rows[at + 1], strict=True):
            if column and sample and told:
                yield at + 1, column, sample, told
