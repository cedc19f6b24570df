"""Points that people give to answers, without knowing whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from foresight.errors import UserError
from foresight.evals.journal import read_records
from foresight.evals.people.agreement import Beside, beside
from foresight.evals.people.desk import Desk, Sharing
from foresight.evals.people.entry import Entry, read_rows, standing
from foresight.evals.people.rubric import Rubrics
from foresight.evals.record import Reason, Record, cluster
from foresight.evals.statistics import Estimate, mean_estimate

NOTE_LETTERS = 10_000


class Grade(Entry):
    """A line of `grades.jsonl`; `key` is the record's. `criteria`: points by name."""

    item: str
    grader: str
    points: Annotated[float, Field(ge=0)]
    max: Annotated[float, Field(gt=0)]
    criteria: dict[str, float]
    note: Annotated[str, Field(max_length=NOTE_LETTERS)] = ""
    action: Literal["grade", "skip", "undo"] = "grade"

    @property
    def person(self) -> str:
        return self.grader

    @property
    def score(self) -> float:
        """Points as a share of the maximum."""
        return min(self.points / self.max, 1.0)


@dataclass(frozen=True)
class Answers:
    """Records to be graded: of a file, or of every `records.jsonl` at or below a folder (several
    models are mixed, and nobody sees which is which); grades stand beside them."""

    folder: Path
    records: dict[str, Record]
    images: dict[str, Path]

    @classmethod
    def read(cls, path: Path) -> Answers:
        """Raises UserError if there are none, or naming file and line of what is no record."""
        files = sorted(path.rglob("records.jsonl")) if path.is_dir() else [path]
        records: dict[str, Record] = {}
        images: dict[str, Path] = {}
        for file in files:
            records |= {one.key: one for one in read_records(file)}
            images |= {one.stem: one for one in (file.parent / "images").glob("*.png")}
        if not records:
            raise UserError(f"{path}: holds no records; expected what `foresight eval` writes")
        return cls(path if path.is_dir() else path.parent, records, images)

    @property
    def journal(self) -> Path:
        return self.folder / "grades.jsonl"

    def grades(self) -> list[Grade]:
        """Grades that stand, skips left out. Raises UserError naming file, line and field."""
        stood = standing(read_rows(self.journal, Grade)).values()
        return [one for one in stood if one.action == "grade" and one.key in self.records]


class GradeDesk(Desk[Grade]):
    """Answers of records. Shown are the question, the answer, accepted answers and the rubric;
    neither model nor score. Records that the model or its endpoint left unanswered are left out."""

    def __init__(self, answers: Answers, rubrics: Rubrics, sharing: Sharing) -> None:
        self._records = {
            key: one for key, one in answers.records.items() if one.reason != Reason.NO_RESPONSE
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


def graded_records(records: Iterable[Record], grades: Iterable[Grade]) -> list[Record]:
    """The same records with people's scores: the mean of the graders' points over the maximum. A
    record without a grade has no score, as after a grader that failed."""
    by_key: dict[str, list[Grade]] = defaultdict(list)
    for one in grades:
        by_key[one.key].append(one)
    return [_graded(record, by_key[record.key]) for record in records]


def _graded(record: Record, grades: Sequence[Grade]) -> Record:
    if record.reason == Reason.NO_RESPONSE:
        return record
    if not grades:
        details = record.details | {"explanation": "nobody graded it"}
        return replace(record, score=None, reason=Reason.GRADER_FAILED, details=details)
    told = [
        {"grader": one.grader, "points": one.points, "max": one.max, "note": one.note}
        for one in grades
    ]
    score = sum(one.score for one in grades) / len(grades)
    return replace(record, score=score, reason=Reason.OK, details=record.details | {"grades": told})


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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def grading(answers: Answers) -> Grading:
    """Raises UserError if nothing was graded yet."""
    grades = answers.grades()
    if not grades:
        raise UserError(f"{answers.folder}: no grades yet; `foresight grade` without --result")
    by_grader: dict[str, dict[str, float]] = defaultdict(dict)
    for one in grades:
        by_grader[one.grader][one.key] = one.score
    by_key: dict[str, list[float]] = defaultdict(list)
    for one in grades:
        by_key[one.key].append(one.score)
    people = {key: sum(some) / len(some) for key, some in by_key.items()}
    before = {key: one.score for key, one in answers.records.items() if one.score is not None}
    pairs = (
        _beside(answers, (first, by_grader[first]), (second, by_grader[second]))
        for first, second in combinations(sorted(by_grader), 2)
    )
    return Grading(
        answers=sum(one.reason != Reason.NO_RESPONSE for one in answers.records.values()),
        graded=len(people),
        graders={name: len(by_grader[name]) for name in sorted(by_grader)},
        models=_means(answers, people),
        agreement=tuple(one for one in pairs if one),
        records=_beside(answers, ("people", people), ("records", before)),
    )


def _beside(
    answers: Answers,
    first: tuple[str, Mapping[str, float]],
    second: tuple[str, Mapping[str, float]],
) -> Beside | None:
    (name, given), (other, others) = first, second
    shared = [key for key in given if key in others]
    if not shared:
        return None
    clusters = [cluster(answers.records[key]) for key in shared]
    values = [given[key] for key in shared], [others[key] for key in shared]
    return beside((name, other), *values, clusters)


def _means(answers: Answers, people: Mapping[str, float]) -> dict[str, Estimate]:
    by_model: dict[str, list[Record]] = defaultdict(list)
    for key in people:
        by_model[answers.records[key].model].append(answers.records[key])
    return {
        model: mean_estimate(
            [people[one.key] for one in some],
            [one.weight for one in some],
            [cluster(one) for one in some],
        )
        for model, some in sorted(by_model.items())
    }
