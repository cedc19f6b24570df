"""A multiple-choice task in another language, as the GPT-4 report's appendix F makes MMLU.

Instruction, subject, questions and options are translated; `Answer` and the letters stay. Every
text is translated once, by a model or from a file, and the task is written only when none is left.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import lines_of, read_rows
from foresight.evals.item import Item
from foresight.evals.journal import Journal, claim
from foresight.evals.layout import Layout
from foresight.evals.protocols import ChoiceLogprob
from foresight.evals.task import Task
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Sampling,
)
from foresight.runs import locked, write_atomic

PROMPT = (
    "Translate the text from English to {language}. Keep numbers, formulas, code, names and words "
    "in braces as they are. Write the translation and nothing else.\n\nText:\n{text}\n\n"
    "Translation:\n"
)
NAMED = 5
"""Texts that a message names."""
_SUBJECT = "{category}"


@dataclass(frozen=True)
class Translated:
    """What was made: the task file; texts that came back as they were, which a reader should see
    (formulas and names may, sentences should not)."""

    task: Path
    items: int
    texts: int
    unchanged: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "task": str(self.task)}

    def told(self) -> str:
        named = "; ".join(repr(one[:60]) for one in self.unchanged[:NAMED])
        same = f"\n  {len(self.unchanged)} came back as they were: {named}" if named else ""
        return f"{self.items} items, {self.texts} texts translated: {self.task}{same}"


def translate(
    task: Task,
    language: str,
    source: LanguageModel | Path,
    out_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Translated:
    """Write the task in `language` into `out_dir` (`task.yaml`, `items.jsonl`, `few_shot.jsonl`).

    `source`: a model, asked once for each text at temperature 0, or a JSONL file of {text,
    translation}. What is translated stands in `translations.jsonl`, such a file itself, from which
    an interrupted call goes on. Texts without a letter stay. Raises UserError if the task is not
    one that can be translated, if the directory holds another translation, or if texts are left:
    they then stand in `missing.jsonl`, to be filled in.
    """
    layout = _layout(task)
    texts = [one for one in dict.fromkeys(_texts(task, layout)) if re.search(r"[^\W\d_]", one)]
    with locked(out_dir):
        value = {"task": task.name, "sha256": task.hash, "language": language}
        claim(out_dir / "translation.json", value, dict.fromkeys(value, "another translation"))
        path, failed = out_dir / "translations.jsonl", dict[str, str]()
        with Journal(path) as journal:
            known = _given(path)
            if isinstance(source, Path):
                _take(_given(source), known, journal, str(source))
            else:
                failed = _ask(source, language, texts, known, journal, on_progress)
        for one in texts:
            if fault := _fault(one, known[one]) if one in known else "not there":
                failed.setdefault(one, fault)
        _refuse_gaps(failed, len(texts), source, out_dir / "missing.jsonl")
        _write(task, layout, language, known, out_dir)
    unchanged = tuple(one for one in texts if known[one].strip() == one.strip())
    return Translated(out_dir / "task.yaml", len(task.items), len(texts), unchanged)


def _refuse_gaps(
    failed: Mapping[str, str], texts: int, source: LanguageModel | Path, missing: Path
) -> None:
    if failed:
        write_atomic(missing, lines_of({"text": one, "translation": ""} for one in failed))
        named = "; ".join(f"{one[:60]!r} ({failed[one]})" for one in list(failed)[:NAMED])
        raise UserError(
            f"{len(failed)} of {texts} texts are not translated: {named}; all of them are in "
            f"{missing}: fill it in and give it as --file, or call again"
        )
    if missing != source:
        missing.unlink(missing_ok=True)


def _layout(task: Task) -> Layout:
    """The task's layout. Raises UserError if the task cannot be translated."""
    if not isinstance(task.protocol, ChoiceLogprob) or task.protocol.layout.answers != "letter":
        raise UserError(f"task {task.name}: only tasks that score letters can be translated")
    for item in _all(task):
        if not all(isinstance(part, Text) for part in item.parts):
            raise UserError(f"task {task.name}, item {item.id}: has a picture, cannot be written")
    return task.protocol.layout


def _all(task: Task) -> Iterator[Item]:
    yield from task.items
    for some in task.few_shot.values():
        yield from some


def _texts(task: Task, layout: Layout) -> Iterator[str]:
    yield layout.instruction.strip()
    for item in _all(task):
        yield str(item.meta.get("category", ""))
        yield item.text
        yield from item.choices


def _given(path: Path) -> dict[str, str]:
    given = {}
    for where, row in read_rows(path):
        for field in ("text", "translation"):
            if not isinstance(row.get(field), str):
                raise UserError(f"{where}, field {field}: expected a text")
        if row["translation"].strip():
            given[row["text"]] = row["translation"]
    return given


def _take(given: Mapping[str, str], known: dict[str, str], journal: Journal, by: str) -> None:
    """Keep translations that are new, and whose they are; a later one of a text replaces the
    earlier."""
    for text, translation in given.items():
        if known.get(text) != translation:
            known[text] = translation
            row = {"text": text, "translation": translation, "by": by}
            journal.append(json.dumps(row, ensure_ascii=False))


def _ask(
    model: LanguageModel,
    language: str,
    texts: Sequence[str],
    known: dict[str, str],
    journal: Journal,
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    """Translate what is not known, each answer kept as soon as it is there. Returns what failed,
    and why."""
    failed: dict[str, str] = {}
    wanted = [one for one in texts if one not in known]
    requests = [
        GenerateRequest(
            (Text(PROMPT.format(language=language, text=one)),),
            # Another script may take a token a byte; a repetition must end somewhere.
            Sampling(temperature=0.0, max_tokens=64 + 4 * len(one.encode()), stop=("\n\nText:",)),
        )
        for one in wanted
    ]

    def done(at: int, answers: tuple[Completion, ...]) -> None:
        text, answer = wanted[at], answers[0]
        fault = answer.error or (
            f"answer ended by {answer.finish}" if answer.finish != "stop" else ""
        )
        if fault := fault or _fault(text, answer.text):
            failed[text] = fault
        else:
            _take({text: answer.text.strip()}, known, journal, model.name)
        if on_progress:
            on_progress(sum(one in known or one in failed for one in texts), len(texts))

    model.generate(requests, done)
    return failed


def _fault(text: str, translation: str) -> str:
    """Why a translation cannot be used; "" if it can."""
    if not translation.strip():
        return "empty"
    lost = Counter(re.findall(_SUBJECT, text)) != Counter(re.findall(_SUBJECT, translation))
    return f"{_SUBJECT} is not kept" if lost else ""


def _write(
    task: Task, layout: Layout, language: str, known: Mapping[str, str], out_dir: Path
) -> None:
    def said(text: str) -> str:
        return known.get(text, text)

    def row(item: Item) -> dict[str, Any]:
        category = str(item.meta.get("category", ""))
        meta = item.meta | ({"category": said(category), "subject": category} if category else {})
        return {
            "id": item.id,
            "question": said(item.text),
            "choices": [said(one) for one in item.choices],
            "target": item.target,
            "group": item.group,
            "weight": item.weight,
            "meta": meta | {"language": language},
        }

    instruction = layout.instruction.strip()
    end = layout.instruction[len(layout.instruction.rstrip()) :]
    settings = task.protocol.settings()
    settings["layout"]["instruction"] = said(instruction) + end
    name = re.sub(r"[^\w.+-]+", "-", f"{task.name}-{language}")
    spec: dict[str, Any] = {"name": name, "items": "items.jsonl", "protocol": settings}
    if task.few_shot:
        spec["few_shot"] = "few_shot.jsonl"
        shots = (row(one) for some in task.few_shot.values() for one in some)
        write_atomic(out_dir / "few_shot.jsonl", lines_of(shots))
    write_atomic(out_dir / "items.jsonl", lines_of(map(row, task.items)))
    text = yaml.safe_dump(spec, allow_unicode=True, sort_keys=False)
    write_atomic(out_dir / "task.yaml", text)
