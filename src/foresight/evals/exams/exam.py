"""What an exam is: the fields of `exam.yaml`, and the folder as read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foresight.document import Image, Text
from foresight.evals.exams.percentile import Percentiles
from foresight.evals.exams.published import published
from foresight.evals.exams.scale import Scale
from foresight.evals.exams.scoring import Elo, Part, Scoring
from foresight.evals.item import Item
from foresight.evals.layout import image_sha256, prompt_text
from foresight.runs import sha256_json

Half = Literal["development", "holdout"]
HALVES: tuple[Half, ...] = ("development", "holdout")
Format = Literal["choice", "choices", "short", "free_response", "code"]
CHOICE: tuple[Format, ...] = ("choice", "choices")
SHOTS = 5
"""Worked examples before a question that is answered by a letter or a short text."""


class Section(BaseModel):
    """A part of an exam that is put in one way. Its questions are `development/NAME.jsonl` and
    `holdout/NAME.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^\w[\w.+-]*$")]
    format: Format
    """`choice`: one letter; `choices`: all letters that are right and no other; `short`: a number
    or a few words; `free_response`: points of a rubric; `code`: a program and its tests."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Multiplies the section's raw points (with scoring method weighted: its scaled score)."""
    points: Annotated[float, Field(gt=0)] | None = None
    """Raw points of the whole section, if the folder holds a part of its questions; default: those
    of the holdout's questions (of the development half's, if it has none)."""
    wrong: Annotated[float, Field(ge=-1, le=0)] = 0.0
    """What a wrong answer costs, as a share of the question's points: -0.25 for the old SAT."""
    blank: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """What no answer is worth, likewise: 0.25 for the AMC (1.5 of 6)."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time that people have; models are not timed."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """Worked examples from the development half; default 5 for choice, choices and short, else 0
    (1 for essays: one that scored high)."""
    attempts: Annotated[int, Field(ge=1)] = 1
    """Programs that are written for a problem; the share that passes is its score."""
    temperature: Annotated[float, Field(ge=0)] | None = None
    """Default: as in the report, 0.3 for explanations of choices, 0.6 for what is written."""
    protocol: str | dict[str, Any] = ""
    """Another way of asking than the report's, as in a task file; the arm's `choices` and the
    settings above do not change it."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Of an answer; default 512 where a letter or a short text ends it, else 1024."""

    @model_validator(mode="after")
    def _fits(self) -> Section:
        if self.attempts > 1 and self.format != "code":
            raise ValueError("attempts: only problems of format code are attempted several times")
        if (self.wrong or self.blank) and self.format not in (*CHOICE, "short"):
            raise ValueError(f"wrong and blank do not apply to format {self.format}")
        return self

    @property
    def examples(self) -> int:
        """Worked examples wanted."""
        if self.shots is not None:
            return self.shots
        return SHOTS if self.format in (*CHOICE, "short") else 0


class ExamFile(BaseModel):
    """The fields of `exam.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^\w[\w .+&()-]*$")]
    edition: str = ""
    """Year or form."""
    source: Annotated[str, Field(min_length=1)]
    """Where the questions are from."""
    licence: str = ""
    report_row: str = ""
    """The row of the GPT-4 report's Table 1 that is shown beside it."""
    images: Literal["required", "optional", "placeholder"] = "optional"
    """`required`: it cannot be taken without its pictures; `optional`: without them a placeholder
    stands for each; `placeholder`: the folder has no pictures, a placeholder always stands."""
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    scoring: Scoring
    populations: Literal["each", "widest"] = "each"
    """Percentiles of each population of `percentiles.csv`, or one range over all of them."""

    @field_validator("sections")
    @classmethod
    def _named_once(cls, sections: tuple[Section, ...]) -> tuple[Section, ...]:
        names = [one.name for one in sections]
        if len(set(names)) < len(names):
            raise ValueError(f"two sections have one name: {', '.join(names)}")
        return sections

    @field_validator("report_row")
    @classmethod
    def _is_there(cls, row: str) -> str:
        if row and row not in published():
            raise ValueError(f"{row!r} is no row of it; there are {', '.join(published())}")
        return row

    @model_validator(mode="after")
    def _rated(self) -> ExamFile:
        if isinstance(self.scoring, Elo) and any(one.format != "code" for one in self.sections):
            raise ValueError("scoring method elo: all sections must have format code")
        return self


@dataclass(frozen=True, eq=False)
class Exam:
    """An exam as read: the questions of each half by section."""

    folder: Path
    file: ExamFile
    halves: Mapping[Half, Mapping[str, tuple[Item, ...]]]
    scales: Mapping[str, Scale]
    percentiles: tuple[Percentiles, ...]

    @property
    def name(self) -> str:
        """Name and edition."""
        return f"{self.file.name} {self.file.edition}".strip()

    @cached_property
    def has_pictures(self) -> bool:
        """Whether any question shows one."""
        return any(isinstance(p, Image) for item in self.questions.values() for p in item.parts)

    @cached_property
    def questions(self) -> dict[str, Item]:
        """All questions of both halves by id."""
        halves = (sections.values() for sections in self.halves.values())
        return {item.id: item for some in halves for questions in some for item in questions}

    def examples(self, section: Section) -> tuple[Item, ...]:
        """The first worked questions of the development half: never one of the holdout."""
        worked = (one for one in self.halves["development"][section.name] if "solution" in one.meta)
        return tuple(islice(worked, section.examples))

    def asked(self, half: Half, section: Section) -> tuple[Item, ...]:
        """The questions that are put: those of the development half that serve as examples are
        not."""
        shown = {one.id for one in self.examples(section)} if half == "development" else set()
        return tuple(one for one in self.halves[half][section.name] if one.id not in shown)

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Sections as scoring sees them, in both halves."""
        found = {}
        for one in self.file.sections:
            some = self.halves["holdout"][one.name] or self.halves["development"][one.name]
            found[one.name] = Part(one.points or sum(item.weight for item in some), one.weight)
        return found

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the holdout's questions and answers: scales, percentiles and the development
        half may be mended without making it another exam."""
        value: list[Any] = []
        for section, questions in self.halves["holdout"].items():
            for one in questions:
                answer = [one.choices, one.target, one.meta.get("rubric")]
                value.append([section, one.id, prompt_text(one.parts), answer])
        return sha256_json(value)


def without_pictures(item: Item) -> Item:
    """The text-only arm: "IMAGE:" and a file name that tells nothing stand for each picture (GPT-4
    report, appendix A)."""
    parts = (
        Text(placeholder(image_sha256(part))) if isinstance(part, Image) else part
        for part in item.parts
    )
    return replace(item, parts=tuple(parts))


def placeholder(hashed: str) -> str:
    """What stands for a picture of which this is a hash."""
    return f"\nIMAGE: {hashed[:8]}.png\n"
