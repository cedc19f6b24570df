"""Grades: what people give to answers, and what it makes of records.

One file format, `grades.jsonl`, which the page of `foresight grade` writes; and one way from there
to scores, for any records: of a task, of an exam, of questions of fact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from foresight.errors import UserError
from foresight.evals.graders import Graded, TextGrader, Verdict
from foresight.evals.item import Item
from foresight.evals.people.entry import Entry, read_journal, standing
from foresight.evals.record import Reason, Record
from foresight.runs import sha256_json

NOTE_LETTERS = 10_000


class Grade(Entry):
    """A line of `grades.jsonl`. `key`: of the response (`response_key`); `criteria`: points by
    name."""

    item: str
    grader: str
    points: Annotated[float, Field(ge=0)]
    max: Annotated[float, Field(gt=0)]
    criteria: dict[str, float]
    note: Annotated[str, Field(max_length=NOTE_LETTERS)] = ""
    action: Literal["grade", "skip", "undo"] = "grade"

    @model_validator(mode="after")
    def _possible(self) -> Grade:
        if self.points > self.max:
            raise ValueError(f"{self.points:g} points of {self.max:g} possible")
        return self

    @property
    def person(self) -> str:
        return self.grader

    @property
    def score(self) -> float:
        """Points as a share of the maximum."""
        return self.points / self.max


Grades = Mapping[str, Sequence[Grade]]
"""By response."""


def response_key(record: Record) -> str:
    """Hash of prompt and answer: a grade holds for these words, whoever wrote them."""
    return sha256_json([record.prompt, record.output.strip()])


def read_grades(path: Path) -> Grades:
    """Grades that stand. Raises UserError if there is no file, or naming file, line and field of
    what is wrong."""
    if not path.exists():
        raise UserError(f"{path}: cannot be read (no such file)")
    found: dict[str, list[Grade]] = defaultdict(list)
    for one in standing(read_journal(path, Grade)).values():
        if one.action == "grade":
            found[one.key].append(one)
    return found


class People(TextGrader):
    """People grade it later: until then an answer has no score."""

    kind: Literal["people"] = "people"

    def check(self, item: Item) -> None:
        """Anything can be graded."""

    def read(self, response: Graded) -> Verdict:
        return Verdict(None, None, Reason.UNGRADED)


def mean_score(grades: Sequence[Grade]) -> float:
    """Of the people who graded a response."""
    return sum(one.score for one in grades) / len(grades)


def graded(records: Iterable[Record], grades: Grades) -> list[Record]:
    """The same records with people's scores in place of a model's. Those without a grade stay."""
    return [_graded(one, grades.get(response_key(one), ())) for one in records]


def _graded(record: Record, grades: Sequence[Grade]) -> Record:
    if not grades or record.reason is Reason.NO_RESPONSE:
        return record
    told = [
        {"grader": one.grader, "points": one.points, "max": one.max, "note": one.note}
        for one in grades
    ]
    details = record.details | {"grades": told}
    return replace(record, score=mean_score(grades), reason=Reason.OK, details=details)
