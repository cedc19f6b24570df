"""Grades that people give: which answers wait for them, and the journal in which they arrive.

Who wrote an answer is not told: it goes by the hash that is its record's key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from foresight.errors import UserError
from foresight.evals.graders import Graded as Response
from foresight.evals.graders import TextGrader, Verdict
from foresight.evals.interop.lines import read_lines
from foresight.evals.item import Item
from foresight.evals.layout import prompt_text
from foresight.evals.record import Reason, Record
from foresight.evals.statistics import Agreement, agreement
from foresight.runs import sha256_text

TWICE = 0.2
"""Share of answers that two people grade, so that their agreement is known."""


class People(TextGrader):
    """Nobody has graded it yet: the verdict comes from a journal later."""

    kind: Literal["people"] = "people"

    def check(self, item: Item) -> None:
        """Rubrics are checked where exams are read."""

    def read(self, response: Response) -> Verdict:
        return Verdict(None, None, Reason.UNGRADED)


@dataclass(frozen=True)
class Awaited:
    """An answer that waits for people, as they see it. `key`: its name in the journal; `question`:
    text, a picture as "[image SHA-256 HxW]", to be found in the records' `images/`; `rubric`:
    {criterion, points} each; `points`: what they add up to; `graders`: how many are wanted."""

    key: str
    question: str
    answer: str
    rubric: tuple[Mapping[str, Any], ...]
    points: float
    graders: int


@dataclass(frozen=True)
class Grade:
    """Points that somebody gave, and "FILE, line N" where it stands."""

    points: float
    where: str


Grades = Mapping[str, Mapping[str, Grade]]
"""By answer and grader."""


def read_grades(path: Path) -> Grades:
    """Grades of a journal, as the page of `grade` writes it: lines {key, grader, points, ...}; of
    two by one grader on one answer the later holds, and a line with an `action` other than grade
    (skip, undo) takes back. Raises UserError naming file, line and field."""
    found: dict[str, dict[str, Grade]] = {}
    for where, row in read_lines(path):
        for field, kind in (("key", str), ("grader", str), ("points", int | float)):
            if not isinstance(row.get(field), kind) or isinstance(row[field], bool):
                raise UserError(f"{where}, field {field}: {row.get(field)!r}; expected a "
                                f"{'number' if field == 'points' else 'text'}")  # fmt: skip
        if not (math.isfinite(row["points"]) and row["points"] >= 0):
            raise UserError(f"{where}, field points: {row['points']}; must be 0 or more")
        given = found.setdefault(row["key"], {})
        if row.get("action", "grade") == "grade":
            given[row["grader"]] = Grade(float(row["points"]), where)
        else:
            given.pop(row["grader"], None)
    return found


def awaited(
    records: Iterable[Record],
    questions: Mapping[str, Item],
    grades: Grades,
    twice: float = TWICE,
) -> list[Awaited]:
    """Answers that were left to people and have too few grades, in the order of their names, which
    says nothing of the model. A share `twice`, fixed by the names, is for two graders."""
    found = []
    for one in records:
        share = int(sha256_text(f"graders/{one.key}")[:8], 16) / 2**32
        wanted = 2 if share < twice else 1
        if one.reason is Reason.UNGRADED and len(grades.get(one.key, ())) < wanted:
            item = questions[one.item]
            found.append(
                Awaited(
                    key=one.key,
                    question=prompt_text(item.parts),
                    answer=one.output,
                    rubric=tuple(item.meta["rubric"]),
                    points=item.weight,
                    graders=wanted,
                )
            )
    return sorted(found, key=lambda one: one.key)


@dataclass(frozen=True)
class Graded:
    """Records with people's grades: the mean of an answer's graders over its points. `people`: how
    far the first two graders (by name) of an answer agree, over answers with two; `model`: how far
    the model that graded agrees with people's mean."""

    records: tuple[Record, ...]
    people: Agreement
    model: Agreement


def graded(records: Iterable[Record], questions: Mapping[str, Item], grades: Grades) -> Graded:
    """Put grades on the answers that have some; people overrule a model.

    Raises UserError naming file and line where points exceed what the rubric gives.
    """
    found: list[Record] = []
    pairs: list[tuple[float, float]] = []
    judged: list[tuple[float, float]] = []
    for one in records:
        given = grades.get(one.key, {})
        possible = questions[one.item].weight
        for grade in given.values():
            if grade.points > possible:
                told = f"{grade.points:g} of {possible:g} possible"
                raise UserError(f"{grade.where}, field points: {told}")
        if not given:
            found.append(one)
            continue
        shares = [given[name].points / possible for name in sorted(given)]
        mean = math.fsum(shares) / len(shares)
        if len(shares) > 1:
            pairs.append((shares[0], shares[1]))
        if one.score is not None:
            judged.append((one.score, mean))
        found.append(replace(one, score=mean, reason=Reason.OK))
    return Graded(tuple(found), _agreement(pairs), _agreement(judged))


def _agreement(pairs: Sequence[tuple[float, float]]) -> Agreement:
    return agreement([first for first, _ in pairs], [second for _, second in pairs])
