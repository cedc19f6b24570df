"""Tasks as users write them: a public set, a YAML file with items, a Python function."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.evals.drop_f1 import DropF1
from foresight.evals.files import read_rows, read_yaml, validated
from foresight.evals.graders import (
    ExactMatch,
    FunctionGrader,
    Grader,
    Includes,
    NumericAnswer,
    RegexMatch,
    imported,
)
from foresight.evals.item import Item
from foresight.evals.layout import LETTERS
from foresight.evals.model_graded import ModelGraded, read_model_graded
from foresight.evals.model_grader import ModelGrader, RubricPoints
from foresight.evals.people.grades import People
from foresight.evals.protocols import PROTOCOLS, Protocol
from foresight.evals.suites import SUITES, Suite
from foresight.evals.suites.hub import HUB, official_files
from foresight.evals.task import Task
from foresight.inference.open import open_model

GRADERS: dict[str, type[Grader]] = {
    "drop_f1": DropF1,
    "exact_match": ExactMatch,
    "function": FunctionGrader,
    "includes": Includes,
    "model": ModelGrader,
    "numeric": NumericAnswer,
    "people": People,
    "regex": RegexMatch,
    "rubric": RubricPoints,
}


class TaskFile(BaseModel):
    """A task in YAML. Either `suite` and `path`, or `items`; paths are relative to the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    """Default: the file's name."""
    suite: str = ""
    """A public set, `mmlu` or `mmlu:anatomy`."""
    path: str = ""
    """Where its files are, or hub:DATASET[:CONFIG]."""
    items: str = ""
    """JSONL of items: question (or parts: a list of {text} and {image: FILE}), choices, target
    (index or letter, a list of them, or accepted answers), optionally id, group, weight, meta."""
    few_shot: str = ""
    """JSONL of solved examples, shown before every item (of their `meta.category`, if items have
    one), in place of the suite's own."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """How many examples; default: as is usual for the suite, or all."""
    protocol: str | dict[str, Any] = ""
    """A kind, or {kind, ...settings}; default: the suite's."""


def read_task(text: str) -> Task:
    """`SUITE[:SUBSET]@PATH` (mmlu@DIR, mmlu:anatomy@DIR, mmlu@hub:cais/mmlu:all), a YAML file, or
    `module:function`, a function without arguments that returns a Task.

    Raises UserError naming file, line and field of what is wrong.
    """
    name, at, path = text.partition("@")
    if at and name.partition(":")[0] in SUITES:
        return _suite(name, path, Path()).task(name.replace(":", "-"))
    if Path(text).suffix in (".yaml", ".yml"):
        return _from_yaml(Path(text))
    if re.fullmatch(r"[\w.]+:\w+", text):
        task = imported(text)()
        if not isinstance(task, Task):
            raise UserError(f"{text}: returned {type(task).__name__}, expected a Task")
        return task
    raise UserError(
        f"task {text!r}: expected SUITE@PATH (suites: {', '.join(SUITES)}), a .yaml file, or "
        f"module:function"
    )


def _from_yaml(path: Path) -> Task:
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping; fields: {', '.join(TaskFile.model_fields)}")
    file = validated(TaskFile, raw, str(path))
    if bool(file.suite) == bool(file.items):
        raise UserError(f"{path}: give either `suite` and `path`, or `items`")
    name = file.name or path.stem
    protocol = read_protocol(file.protocol, path) if file.protocol else None
    few_shot: dict[str, tuple[Item, ...]] = {}
    for item in read_items(path.parent / file.few_shot) if file.few_shot else ():
        category = str(item.meta.get("category", ""))
        few_shot[category] = (*few_shot.get(category, ()), item)[: file.shots]
    if file.suite:
        suite = _suite_of(file, path)
        if few_shot:
            shots = min(map(len, few_shot.values())) if file.shots is None else file.shots
            return replace(suite, examples=few_shot).task(name, protocol, shots)
        return suite.task(name, protocol, file.shots)
    if protocol is None:
        raise UserError(f"{path}, field protocol: missing; expected one of {', '.join(PROTOCOLS)}")
    return Task(name, read_items(path.parent / file.items), protocol, few_shot)


def _suite_of(file: TaskFile, path: Path) -> Suite:
    suite = file.suite.partition(":")[0]
    if suite not in SUITES:
        raise UserError(f"{path}, field suite: {suite!r}; expected one of {', '.join(SUITES)}")
    if not file.path:
        raise UserError(f"{path}, field path: missing; where are the files of {suite}?")
    return _suite(file.suite, file.path, path.parent)


def _suite(name: str, where: str, folder: Path) -> Suite:
    """SUITE[:SUBSET] from files (relative to the folder) or from the hub."""
    suite, _, subset = name.partition(":")
    if not where.startswith(HUB):
        return SUITES[suite](folder / where, subset)
    with official_files(suite, where.removeprefix(HUB)) as files:
        return SUITES[suite](files, subset)


def read_protocol(value: str | dict[str, Any], path: Path) -> Protocol:
    """A kind, or {kind, ...settings}, as the file `path` has it. Raises UserError naming the
    field."""
    settings: dict[str, Any] = {"kind": value} if isinstance(value, str) else dict(value)
    where = f"{path}, protocol"
    model = _kind(PROTOCOLS, settings, where)
    if isinstance(layout := settings.get("layout"), dict):
        # Only what is named differs from the protocol's own layout.
        settings["layout"] = model.model_fields["layout"].default.model_dump() | layout
    if "grader" in settings:
        settings["grader"] = _grader(settings["grader"], path)
    protocol: Protocol = validated(model, settings, where)
    return protocol


def _grader(value: Any, path: Path) -> Grader:
    where = f"{path}, protocol.grader"
    settings: dict[str, Any] = dict(value) if isinstance(value, dict) else {"kind": value}
    model = _kind(GRADERS, settings, where)
    if isinstance(settings.get("model"), str):
        settings["model"] = open_model(settings["model"])
    if isinstance(settings.get("template"), str):
        settings["template"] = _template(path.parent, settings["template"])
    grader: Grader = validated(model, settings, where)
    return grader


def _template(folder: Path, text: str) -> ModelGraded:
    file, _, name = text.partition("#")
    templates = read_model_graded(folder / file)
    if not name and len(templates) == 1:
        return next(iter(templates.values()))
    if name not in templates:
        raise UserError(f"{folder / file}: which template? write {file}#NAME, with NAME one of "
                        f"{', '.join(templates)}")  # fmt: skip
    return templates[name]


def _kind(known: Mapping[str, type[Any]], settings: Mapping[str, Any], where: str) -> type[Any]:
    kind = str(settings.get("kind"))
    if kind not in known:
        raise UserError(f"{where}.kind: {kind!r}; expected one of {', '.join(known)}")
    return known[kind]


class ItemRow(BaseModel):
    """An item as a line of JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str | int = ""
    """Default: the number of the line."""
    question: str | None = None
    parts: list[Any] | None = None
    """In place of `question`: a list of {text} and {image: FILE}."""
    choices: list[str] = []
    target: Any = None
    """Index or letter of the right choice, a list of them, or accepted answers."""
    group: str | int = ""
    weight: float = 1.0
    meta: dict[str, Any] = {}

    def item(self, where: str, name: str, folder: Path) -> Item:
        """The item, of this name unless it has an id; pictures are files of the folder. Raises
        UserError beginning with `where`."""
        choices = tuple(self.choices)
        try:
            return Item(
                id=str(self.id) if self.id != "" else name,
                parts=self._parts(where, folder),
                choices=choices,
                target=_target(where, self.target, choices),
                group=str(self.group),
                weight=self.weight,
                meta=self.meta,
            )
        except UserError as error:
            told = str(error)
            raise UserError(told if told.startswith(where) else f"{where}: {told}") from None

    def _parts(self, where: str, folder: Path) -> tuple[Text | Image, ...]:
        if (self.question is None) == (self.parts is None):
            raise UserError(f"{where}: give either `question` (a text) or `parts`")
        parts: list[Text | Image] = []
        for one in [{"text": self.question}] if self.parts is None else self.parts:
            match one:
                case {"text": str(text)}:
                    parts.append(Text(text))
                case {"image": str(file)}:
                    parts.append(Image.from_file(folder / file))
                case _:
                    raise UserError(
                        f"{where}, field parts: {json.dumps(one)}; expected a list of "
                        f'{{"text": ...}} and {{"image": FILE}}'
                    )
        return tuple(parts)


def read_items(path: Path) -> tuple[Item, ...]:
    """Items of a JSONL file (also .jsonl.gz). Raises UserError naming file, line and field."""
    return tuple(
        validated(ItemRow, row, where).item(where, str(number), path.parent)
        for number, (where, row) in enumerate(read_rows(path), start=1)
    )


def _target(where: str, value: Any, choices: tuple[str, ...]) -> int | tuple[str, ...]:
    """Index of a choice; texts of several; or accepted answers."""
    if value is None:
        return ()
    if choices and isinstance(value, list):
        places = [_choice(where, one, choices) for one in value]
        if not all(0 <= at < len(choices) for at in places):
            raise UserError(f"{where}, field target: {value!r}; there are {len(choices)} choices")
        return tuple(choices[at] for at in places)
    if choices:
        return _choice(where, value, choices)
    answers = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in answers):
        raise UserError(f"{where}, field target: {value!r}; expected an answer or a list of them")
    return tuple(str(one) for one in answers)


def _choice(where: str, value: Any, choices: tuple[str, ...]) -> int:
    """Index of what is named by index or letter; one that is out of range is the item's to tell."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) == 1 and value in LETTERS[: len(choices)]:
        return LETTERS.index(value)
    raise UserError(
        f"{where}, field target: {value!r}; expected the index (from 0) or the letter of one of "
        f"{len(choices)} choices, or a list of them"
    )
