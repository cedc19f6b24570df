"""What earns points: criteria, or one scale from zero to a maximum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from foresight.errors import UserError


class Criterion(BaseModel):
    """`points`: at most so many. `text` says more to the grader."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, validation_alias=AliasChoices("name", "criterion"))]
    points: Annotated[float, Field(gt=0)] = 1.0
    text: str = ""

    @property
    def asked(self) -> str:
        """What a model that grades is told."""
        return f"{self.name}: {self.text}" if self.text else self.name


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
