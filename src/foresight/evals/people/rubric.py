"""What earns points: criteria, or one scale from zero to a maximum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from foresight.errors import UserError
from foresight.evals.people.entry import first_error
from foresight.evals.reading import read_items


class Criterion(BaseModel):
    """`points`: at most so many. The model grader's `criterion` is read as the name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("name", "criterion"))]
    points: Annotated[float, Field(gt=0)] = 1.0
    text: str = ""


class Rubric(BaseModel):
    """Criteria whose points add up to `max`; without criteria a scale from 0 to `max`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max: Annotated[float, Field(gt=0)]
    criteria: tuple[Criterion, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A number is a scale; a list is criteria, and `max` their sum."""
        if isinstance(value, int | float):
            return {"max": value}
        if isinstance(value, list) and value:
            points = [one.get("points", 1.0) for one in value if isinstance(one, dict)]
            # What is no number of points is told by the criterion itself.
            some = [one for one in points if isinstance(one, int | float) and one > 0]
            return {"max": math.fsum(some) or 1.0, "criteria": value}
        return value

    @model_validator(mode="after")
    def _adds_up(self) -> Rubric:
        twice = [name for name, n in Counter(one.name for one in self.criteria).items() if n > 1]
        if twice:
            raise ValueError(f"criterion {twice[0]!r} occurs twice")
        total = math.fsum(one.points for one in self.criteria)
        if self.criteria and not math.isclose(total, self.max):
            raise ValueError(f"the points of the criteria add up to {total:g}, max is {self.max:g}")
        return self

    def asked(self) -> tuple[Criterion, ...]:
        """What the page asks for: the criteria, or points on the scale."""
        return self.criteria or (Criterion(name="Points", points=self.max),)

    def check(self, given: Mapping[str, float]) -> float:
        """The sum of the points given. Raises UserError unless every criterion has some, from 0 to
        as many as it is worth."""
        asked = {one.name: one.points for one in self.asked()}
        if given.keys() != asked.keys():
            odd = sorted(given.keys() ^ asked.keys())
            raise UserError(f"criteria: {', '.join(odd)}; expected points for {', '.join(asked)}")
        for name, points in given.items():
            if not 0 <= points <= asked[name]:
                raise UserError(f"criterion {name}: {points:g} points; from 0 to {asked[name]:g}")
        return math.fsum(given.values())


@dataclass(frozen=True)
class Rubrics:
    """The rubric of each item: its own, or the common one."""

    common: Rubric | None
    items: Mapping[str, Rubric] = field(default_factory=dict)

    def of(self, item: str) -> Rubric:
        """Raises UserError if there is none."""
        found = self.items.get(item, self.common)
        if found is None:
            raise UserError(f"item {item}: has no rubric; give one for all with --rubric FILE.yaml")
        return found


def read_rubrics(text: str) -> Rubrics:
    """A number N: a scale from 0 to N. A YAML file: {max, criteria: [{name, points, text}]}, or the
    list alone. A JSONL file of items (.jsonl, .jsonl.gz): each one's `meta.rubric`, of that form.

    Raises UserError naming file, item and field of what is wrong.
    """
    try:
        return Rubrics(_rubric(float(text), f"rubric {text}"))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
    path = Path(text)
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        own = {item.id: item.meta.get("rubric") for item in read_items(path)}
        where = f"{path}, item {{}}, meta.rubric"
        found = {id: _rubric(one, where.format(id)) for id, one in own.items() if one is not None}
        return Rubrics(None, found)
    try:
        return Rubrics(_rubric(yaml.safe_load(path.read_text(encoding="utf-8")), str(path)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None


def _rubric(value: Any, where: str) -> Rubric:
    try:
        return Rubric.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{where}, {first_error(error)}") from None
