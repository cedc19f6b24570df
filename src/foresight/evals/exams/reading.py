"""Read the folder of an exam, and refuse one that is not in order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from foresight.document import Image
from foresight.errors import UserError
from foresight.evals.exams.elo import Contest, Elo, read_contests
from foresight.evals.exams.exam import HALVES, Exam, ExamFile, Half, Section, SectionFile
from foresight.evals.exams.percentiles import read_percentiles
from foresight.evals.item import Item
from foresight.evals.reading import read_items
from foresight.runs import sha256_file, sha256_json


def read_exam(folder: Path) -> Exam:
    """The exam in `folder/exam.yaml`. Raises UserError naming file, line and field."""
    path = folder / "exam.yaml"
    file = _file(path)
    sections = tuple(_section(folder, one) for one in file.sections)
    every = [item for one in sections for half in HALVES for item in one.items[half]]
    _unique(path, [one.name for one in sections], "section")
    _unique(path, [item.id for item in every], "question id")
    _images(path, file, every)
    contests: tuple[Contest, ...] = ()
    if isinstance(file.scoring, Elo):
        known = [item.id for item in every]
        contests = read_contests(folder / file.scoring.contests, known)
    else:
        file.scoring.read(folder)
    names = ["exam.yaml", *(one.questions for one in file.sections), *file.scoring.files]
    names += [file.percentiles] if file.percentiles else []
    hashes = {name: sha256_file(folder / name) for name in names}
    pictures = hashlib.sha256()
    for item in every:
        for part in item.parts:
            if isinstance(part, Image):
                pictures.update(part.pixels.tobytes())
    return Exam(
        folder,
        file,
        sections,
        read_percentiles(folder / file.percentiles) if file.percentiles else None,
        contests,
        sha256_json({"files": hashes, "pictures": pictures.hexdigest()}),
    )


def _file(path: Path) -> ExamFile:
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
    try:
        return ExamFile.model_validate(raw)
    except ValidationError as error:
        one = error.errors()[0]
        # The tag of a union is part of pydantic's path, but no field of the file.
        where = [part for part in one["loc"] if part not in ("linear", "table", "elo")]
        field = ".".join(str(part) for part in where)
        told = {"missing": "missing", "extra_forbidden": "unknown"}.get(one["type"], one["msg"])
        line = _line(yaml.compose(text), where)
        raise UserError(f"{path}, line {line}, field {field}: {told}") from None


def _line(node: Any, where: Sequence[str | int]) -> int:
    """The line of a field, or of the deepest thing around it that is there."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in where:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part] if part < len(node.value) else None
        else:
            node = None
        if node is None:
            return int(line)
        line = node.start_mark.line + 1
    return int(line)


def _section(folder: Path, file: SectionFile) -> Section:
    halves: dict[Half, list[Item]] = {half: [] for half in HALVES}

    def check(where: str, item: Item) -> None:
        half = item.meta.get("half")
        if half not in HALVES:
            raise UserError(f"{where}, field meta.half: {half!r}; expected {' or '.join(HALVES)}")
        _answerable(where, file, item)
        halves[half].append(item)

    read_items(folder / file.questions, check)
    for half, items in halves.items():
        if not items:
            raise UserError(f"{folder / file.questions}: no question of the {half} half")
    section = Section(file, {half: tuple(items) for half, items in halves.items()})
    if len(section.examples()) < file.shots:
        raise UserError(
            f"{folder / file.questions}: {len(section.examples())} development questions have "
            f"`meta.solution`, section {file.name} wants {file.shots} as examples"
        )
    if not section.asked("development"):
        raise UserError(f"{folder / file.questions}: every development question is an example")
    return section


def _answerable(where: str, file: SectionFile, item: Item) -> None:
    """Every question has its key: the right choice, accepted answers or tests, or a rubric whose
    points add up to the question's."""
    rubric = item.meta.get("rubric")
    if file.format == "choice" and not isinstance(item.target, int):
        raise UserError(f"{where}, field target: missing; which of the choices is right?")
    if file.format == "code" and not item.target:
        raise UserError(f"{where}, field target: missing; expected the tests")
    if file.format != "free_response":
        return
    if rubric is None:
        if not item.target:
            raise UserError(f"{where}: neither target (accepted answers) nor meta.rubric")
        return
    try:
        points = sum(float(one["points"]) for one in rubric)
    except (TypeError, KeyError, ValueError):
        raise UserError(
            f"{where}, field meta.rubric: expected a list of {{criterion, points}}"
        ) from None
    if abs(points - item.weight) > 1e-9:
        raise UserError(
            f"{where}, field meta.rubric: its points add up to {points:g}, the question's weight "
            f"is {item.weight:g}"
        )


def _unique(path: Path, names: Sequence[str], what: str) -> None:
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise UserError(f"{path}: {what} {twice[0]!r} occurs twice")


def _images(path: Path, file: ExamFile, items: Sequence[Item]) -> None:
    shown = [item for item in items if any(isinstance(part, Image) for part in item.parts)]
    if shown and file.images == "none":
        raise UserError(
            f"{path}, field images: none, but question {shown[0].id} has a picture; write useful "
            f"or required"
        )
    if not shown and file.images != "none":
        raise UserError(f"{path}, field images: {file.images}, but no question has a picture")
