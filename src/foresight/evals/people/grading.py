"""Answers handed out to people who grade them blind, and what their grades come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.journal import read_records, record_files
from foresight.evals.people.agreement import Beside, beside
from foresight.evals.people.desk import Desk, Sharing
from foresight.evals.people.grades import (
    Grade,
    Grades,
    graded,
    mean_score,
    read_grades,
    response_key,
)
from foresight.evals.people.rubrics import Rubrics
from foresight.evals.record import Reason, Record, cluster
from foresight.evals.statistics import Estimate, mean_of


@dataclass(frozen=True)
class Answers:
    """Records to be graded: of a file, or of every `records.jsonl` at or below a folder (several
    models are mixed, and nobody sees which is which); grades stand beside them."""

    folder: Path
    records: tuple[Record, ...]
    images: dict[str, Path]

    @classmethod
    def read(cls, path: Path) -> Answers:
        """Raises UserError if there are none, or naming file and line of what is no record."""
        records: dict[str, Record] = {}
        images: dict[str, Path] = {}
        for file in record_files(path):
            records |= {one.key: one for one in read_records(file)}
            images |= {one.stem: one for one in (file.parent / "images").glob("*.png")}
        return cls(path if path.is_dir() else path.parent, tuple(records.values()), images)

    @property
    def journal(self) -> Path:
        return self.folder / "grades.jsonl"

    def grades(self) -> Grades:
        """Those that stand. Raises UserError if there are none yet."""
        found = read_grades(self.journal) if self.journal.exists() else {}
        if not any(response_key(one) in found for one in self.records):
            raise UserError(f"{self.folder}: no grades yet; `foresight grade` without --result")
        return found

    def scored(self) -> list[Record]:
        """The records with people's scores; what nobody has graded has none."""
        grades = self.grades()
        waiting = (
            one
            if one.reason is Reason.NO_RESPONSE
            else replace(one, score=None, reason=Reason.UNGRADED)
            for one in self.records
        )
        return graded(waiting, grades)


class GradeDesk(Desk[Grade]):
    """Responses of records. Shown are the question, the answer, accepted answers and the rubric;
    neither model nor score. Records that the model or its endpoint left unanswered are left out."""

    def __init__(self, answers: Answers, rubrics: Rubrics, sharing: Sharing) -> None:
        self._records = {
            response_key(one): one
            for one in answers.records
            if one.reason is not Reason.NO_RESPONSE
        }
        self._rubrics = {key: rubrics.of(one.item) for key, one in self._records.items()}
        self._images = answers.images
        super().__init__(answers.journal, Grade, list(self._records), sharing)

    def picture(self, sha256: str) -> Path | None:
        return self._images.get(sha256)

    def _shown(self, key: str, person: str) -> dict[str, Any]:
        record, rubric = self._records[key], self._rubrics[key]
        criteria = [one.model_dump() for one in rubric.asked()]
        return {
            "prompt": record.prompt,
            "answer": record.output,
            "gold": _gold(record),
            "max": rubric.max,
            "criteria": criteria,
        }

    def _fields(self, key: str, person: str, said: Mapping[str, Any]) -> dict[str, Any]:
        rubric, given = self._rubrics[key], said.get("criteria", {})
        found: dict[str, Any] = {"item": self._records[key].item, "grader": person}
        found |= {"max": rubric.max, "note": said.get("note", "")}
        if said.get("action") == "skip":
            return found | {"points": 0.0, "criteria": {}}
        numbers = isinstance(given, dict) and all(
            type(one) in (int, float) for one in given.values()
        )
        if not numbers:
            raise UserError("criteria: expected an object of points by name")
        return found | {"points": rubric.check(given), "criteria": given}


def _gold(record: Record) -> list[str]:
    """The accepted answers as texts."""
    if isinstance(record.target, int) and record.target < len(record.choices):
        return [record.choices[record.target]]
    some = record.target if isinstance(record.target, list | tuple) else [record.target]
    return [str(one) for one in some if one is not None]


@dataclass(frozen=True)
class Grading:
    """`models`: mean score of each model's graded answers by people, with interval by cluster.
    `agreement`: of every two graders on what both graded. `records`: people (mean over graders)
    beside the scores that the records had already, a model grader's say."""

    answers: int
    graded: int
    graders: dict[str, int]
    models: dict[str, Estimate]
    agreement: tuple[Beside, ...]
    records: Beside | None


def grading(records: Iterable[Record], grades: Grades) -> Grading:
    """What people's grades of these records say."""
    answered = [one for one in records if one.reason is not Reason.NO_RESPONSE]
    by_response = {response_key(one): one for one in answered}
    by_grader: dict[str, dict[str, float]] = defaultdict(dict)
    for key in by_response:
        for grade in grades.get(key, ()):
            by_grader[grade.grader][key] = grade.score
    by_model: dict[str, list[Record]] = defaultdict(list)
    for one in graded((one for one in answered if grades.get(response_key(one))), grades):
        by_model[one.model].append(one)
    people = {key: mean_score(grades[key]) for key in by_response if grades.get(key)}
    before = {key: one.score for key, one in by_response.items() if one.score is not None}
    pairs = (
        _beside(by_response, (first, by_grader[first]), (second, by_grader[second]))
        for first, second in combinations(sorted(by_grader), 2)
    )
    return Grading(
        answers=len(answered),
        graded=sum(map(len, by_model.values())),
        graders={name: len(by_grader[name]) for name in sorted(by_grader)},
        models={model: mean_of(by_model[model]) for model in sorted(by_model)},
        agreement=tuple(one for one in pairs if one),
        records=_beside(by_response, ("people", people), ("records", before)),
    )


def _beside(
    by_response: Mapping[str, Record],
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
) -> Beside | None:
    (name, given), (other, others) = first, second
    shared = [key for key in given if key in others]
    if not shared:
        return None
    clusters = [cluster(by_response[key]) for key in shared]
    values = [given[key] for key in shared], [others[key] for key in shared]
    return beside((name, other), *values, clusters)
