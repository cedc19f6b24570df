"""An exam's folder, read and checked: every fault with its file and line.

exam.yaml                   what `ExamFile` says
development/SECTION.jsonl   questions to develop on; those with a `solution` are the examples
holdout/SECTION.jsonl       questions that are put once
scale.csv                   raw to scaled scores, where the scoring method needs it
percentiles.csv             where a score stands in a population
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from foresight.errors import UserError
from foresight.evals.exams.exam import HALVES, Exam, ExamFile, Half, Section, placeholder
from foresight.evals.exams.percentile import read_percentiles
from foresight.evals.exams.scale import read_scales
from foresight.evals.exams.scoring import Elo
from foresight.evals.files import fault_of, read_rows, read_text, read_yaml, validated
from foresight.evals.item import Item
from foresight.evals.layout import LETTERS, prompt_text
from foresight.evals.reading import ItemRow
from foresight.evals.rubric import Rubric
from foresight.runs import sha256_text


class QuestionRow(ItemRow):
    """A question as a line of JSON: an item with points in place of a weight."""

    solution: str = ""
    """Makes a question of the development half a worked example."""
    rubric: Any = None
    """See `Rubric`."""
    points: Annotated[float, Field(gt=0)] | None = None
    """Default: what the rubric adds up to, or 1."""


def read_exam(folder: Path) -> Exam:
    """Raises UserError naming file, line and field of what is wrong."""
    path = folder / "exam.yaml"
    file = _read_yaml(path)
    halves: dict[Half, dict[str, Rows]] = {
        half: {one.name: _questions(folder, half, one, file) for one in file.sections}
        for half in HALVES
    }
    _check_halves(folder, file, halves)
    scales = read_scales(folder / "scale.csv") if (folder / "scale.csv").exists() else {}
    ranks = folder / "percentiles.csv"
    percentiles = read_percentiles(ranks) if ranks.exists() else ()
    questions = {
        half: {name: tuple(item for _, item in rows) for name, rows in sections.items()}
        for half, sections in halves.items()
    }
    exam = Exam(folder, file, questions, scales, percentiles)
    try:
        file.scoring.check(exam.parts, scales)
    except UserError as error:
        raise UserError(f"{path}, field scoring: {error}") from None
    return exam


Rows = list[tuple[str, Item]]


def _questions(folder: Path, half: Half, section: Section, file: ExamFile) -> Rows:
    """Questions of a section with the lines where they stand; none if there is no file."""
    path = folder / half / f"{section.name}.jsonl"
    if not path.exists():
        return []
    return [
        (where, _question(where, row, f"{half}/{section.name}/{number}", folder, section, file))
        for number, (where, row) in enumerate(read_rows(path), start=1)
    ]


def _question(
    where: str, value: dict[str, Any], name: str, folder: Path, section: Section, file: ExamFile
) -> Item:
    row = validated(QuestionRow, value, where)
    extras = {"solution": row.solution, "rubric": row.rubric}
    change: dict[str, Any] = {
        "weight": _points(where, row),
        "meta": row.meta | {key: one for key, one in extras.items() if one},
    }
    if file.images == "placeholder" and row.parts is not None:
        change["parts"] = [_placed(part) for part in row.parts]
    if section.format == "choices":
        change |= {"target": _letters(where, row), "choices": []}
    item = row.model_copy(update=change).item(where, name, folder)
    if section.format == "choices":
        item = replace(item, choices=tuple(row.choices))
    _check_question(where, item, section, file)
    return item


def _placed(part: Any) -> Any:
    match part:
        case {"image": str(name)}:
            return {"text": placeholder(sha256_text(name))}
        case _:
            return part


def _letters(where: str, row: QuestionRow) -> list[str]:
    """The right letters of a question of format choices, as one text."""
    target, allowed = row.target, LETTERS[: len(row.choices)]
    if not isinstance(target, list) or not target or not all(one in allowed for one in target):
        raise UserError(
            f"{where}, field target: {target!r}; expected the right letters of `choices`, such as "
            f'["A", "C"]'
        )
    return ["".join(sorted(set(target)))]


def _points(where: str, row: QuestionRow) -> float:
    """Points of a question: what its rubric adds up to, if it has one."""
    if row.rubric is None:
        return 1.0 if row.points is None else row.points
    total = validated(Rubric, row.rubric, f"{where}, rubric").max
    if row.points is not None and abs(total - row.points) > 1e-9:
        raise UserError(
            f"{where}, field rubric: adds up to {total:g} points, `points` is {row.points:g}"
        )
    return total


def _check_question(where: str, item: Item, section: Section, file: ExamFile) -> None:
    if section.format == "choice" and not isinstance(item.target, int):
        raise UserError(f"{where}, field target: missing; expected the letter of the right choice")
    if section.format in ("short", "code") and (item.choices or not item.target):
        raise UserError(
            f"{where}, field target: format {section.format} needs accepted answers (or tests), "
            f"and has no choices"
        )
    if section.format == "free_response" and not item.meta.get("rubric"):
        raise UserError(f"{where}, field rubric: missing; a free response is graded by one")
    if isinstance(file.scoring, Elo) and not (
        item.group and isinstance(item.meta.get("rating"), int | float)
    ):
        raise UserError(
            f"{where}: scoring method elo needs `group` (the contest) and meta.rating (a number)"
        )


def _check_halves(folder: Path, file: ExamFile, halves: Mapping[Half, Mapping[str, Rows]]) -> None:
    """Every section has questions, ids are unique, no question is in both halves."""
    for section in file.sections:
        if not any(halves[half][section.name] for half in HALVES):
            raise UserError(
                f"{folder / 'exam.yaml'}: section {section.name} has no questions; expected "
                f"{folder / 'holdout' / section.name}.jsonl"
            )
    ids: dict[str, str] = {}
    seen: dict[str, str] = {}
    for half in HALVES:
        for where, item in (pair for rows in halves[half].values() for pair in rows):
            if item.id in ids:
                raise UserError(f"{where}, field id: {item.id!r} stands in {ids[item.id]}, too")
            ids[item.id] = where
            text = prompt_text(item.parts) + "\n".join(item.choices)
            if half == "development":
                seen[text] = where
            elif text in seen:
                raise UserError(
                    f"{where}: the same question is in the development half ({seen[text]})"
                )


def _read_yaml(path: Path) -> ExamFile:
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(
            f"{path}, line 1: expected a mapping; see {', '.join(ExamFile.model_fields)}"
        )
    try:
        return ExamFile.model_validate(raw)
    except ValidationError as error:
        tree, told = yaml.compose(read_text(path), yaml.SafeLoader), []
        for one in error.errors():
            # Behind "scoring" pydantic names the method that was chosen: no field of the file.
            if one["loc"][:1] == ("scoring",):
                one["loc"] = ("scoring", *one["loc"][2:])
            told.append(f"{path}, line {_line(tree, one['loc'])}, {fault_of(ExamFile, one)}")
        raise UserError("\n".join(told)) from None


def _line(tree: yaml.Node | None, loc: Sequence[str | int]) -> int:
    """Line of what a location names, or of the innermost part of it that is there."""
    assert tree is not None, "a mapping was read"
    node, line = tree, tree.start_mark.line
    for part in loc:
        inner: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    inner, line = value, key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = node.value[part]
            line = inner.start_mark.line
        if inner is None:
            break
        node = inner
    return line + 1
