"""What an exam is: sections of questions, a way of scoring, percentiles of those who sat it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from foresight.evals.exams.elo import Contest, Elo
from foresight.evals.exams.percentiles import Percentiles
from foresight.evals.exams.scoring import Linear, Table
from foresight.evals.item import Item

Half = Literal["development", "holdout"]
HALVES: tuple[Half, ...] = ("development", "holdout")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SectionFile(_File):
    """A section in `exam.yaml`."""

    name: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    format: Literal["choice", "free_response", "code"]
    """`choice`: an explanation at temperature .3, then a letter. `free_response`: one draw at
    temperature .6, graded by rubric or accepted answers. (GPT-4 report, appendix A.)"""
    questions: str
    """JSONL of items, each with `meta.half`: development or holdout; `weight`: its points."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """What a point of this section counts in the exam's raw score."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time that people have; told, not enforced."""
    wrong: float = 0.0
    """Points of a wrong choice, as a share of the question's: -.25 is a guess penalty."""
    blank: float = 0.0
    """Likewise of no answer; AMC's 1.5 of 6 points are .25."""
    shots: Annotated[int, Field(ge=0)] = 0
    """Solved examples before each question: the first development questions with
    `meta.solution`, which are then not asked themselves."""
    protocol: str | dict[str, Any] = ""
    """Another way of asking, as in a task file."""


class ExamFile(_File):
    """`exam.yaml`."""

    name: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    title: str
    source: str
    """Where questions and way of scoring are from."""
    images: Literal["none", "useful", "required"] = "none"
    """Whether questions have pictures, and whether they can be answered without."""
    sections: Annotated[tuple[SectionFile, ...], Field(min_length=1)]
    scoring: Annotated[Linear | Table | Elo, Field(discriminator="method")]
    percentiles: str = ""
    """A CSV; without one there are none."""
    published: str = ""
    """Row of the GPT-4 report's table 1 to set beside the result."""


@dataclass(frozen=True, eq=False)
class Section:
    """A section and its questions by half."""

    file: SectionFile
    items: dict[Half, tuple[Item, ...]]

    @property
    def name(self) -> str:
        return self.file.name

    def examples(self) -> tuple[Item, ...]:
        """The solved examples that every question of the section is put behind."""
        solved = [one for one in self.items["development"] if one.meta.get("solution")]
        return tuple(solved[: self.file.shots])

    def asked(self, half: Half) -> tuple[Item, ...]:
        """The questions of a half, examples left out."""
        shown = {one.id for one in self.examples()}
        return tuple(one for one in self.items[half] if one.id not in shown)


@dataclass(frozen=True, eq=False)
class Exam:
    """A folder as read. `sha256`: of every file that decides a result."""

    folder: Path
    file: ExamFile
    sections: tuple[Section, ...]
    percentiles: Percentiles | None
    contests: tuple[Contest, ...]
    sha256: str

    @property
    def name(self) -> str:
        return self.file.name
