"""What is watched for, and what is done about it: a YAML file with a version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foresight.errors import UserError
from foresight.evals.files import read_yaml, validated
from foresight.runs import sha256_text

Side = Literal["input", "output"]
Action = Literal["allow", "flag", "block"]
ACTIONS: tuple[Action, ...] = ("allow", "flag", "block")
FINE = "fine"
"""What a reviewer calls a case of no category."""
_BASE = ConfigDict(frozen=True, extra="forbid")
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Category(BaseModel):
    """A score is the largest of what rules (1 where one matches), the classifier and the model
    give; at `flag` and above it is looked at by a person, at `block` and above it goes no further.
    """

    model_config = _BASE

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_/-]{0,63}$")]
    sides: tuple[Side, ...] = ("input", "output")
    rules: tuple[str, ...] = ()
    """Regular expressions, searched for anywhere, case ignored."""
    asks: str = ""
    """A statement about the exchange that the model judges; needs `judge`."""
    flag: _Share = 0.5
    block: _Share = 0.9

    @field_validator("rules")
    @classmethod
    def _compiles(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            try:
                re.compile(rule)
            except re.error as error:
                raise ValueError(f"{rule!r} is no regular expression ({error})") from None
        return rules

    @model_validator(mode="after")
    def _ordered(self) -> Category:
        if self.name == FINE:
            raise ValueError(f"{FINE} is what a case of no category is called")
        if self.block < self.flag:
            raise ValueError("block must not be below flag")
        return self

    def action(self, score: float) -> Action:
        return "block" if score >= self.block else "flag" if score >= self.flag else "allow"


class Strikes(BaseModel):
    """Blocked exchanges of one person within `hours`: so many are warned of, so many suspend, until
    a reviewer lifts it."""

    model_config = _BASE

    warn: Annotated[int, Field(ge=1)] = 3
    suspend: Annotated[int, Field(ge=1)] = 6
    hours: Annotated[float, Field(gt=0)] = 24.0


class Policy(BaseModel):
    model_config = _BASE

    name: str = "nothing"
    version: Annotated[int, Field(ge=1)] = 1
    categories: tuple[Category, ...] = ()
    classifier: Path | None = None
    """Folder of a trained classifier, relative to the policy; its labels are categories and
    `fine`."""
    judge: str | None = None
    """A served model that is asked, of each category with `asks`, how likely it is true."""
    sample_rate: _Share = 0.02
    """Share of what was allowed that people look at all the same: without it nobody knows what
    is missed."""
    second_labels: _Share = 0.2
    """Share of reviewed cases that a second person labels."""
    hold_back: Annotated[int, Field(ge=1)] = 120
    """Characters of a stream that wait until they have been judged."""
    strikes: Strikes = Strikes()
    retention_days: Annotated[float, Field(gt=0)] | None = None
    """After so long texts are taken out of the log; that there was a request stays."""
    keep_pictures: bool = True
    redact: tuple[str, ...] = ()
    """What matches is replaced before it is kept."""

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Raises UserError naming file and field."""
        found = validated(cls, read_yaml(path), str(path))
        names = [one.name for one in found.categories]
        if len(set(names)) < len(names):
            raise UserError(f"{path}, field categories: two have one name")
        if found.classifier:
            folder = path.resolve().parent / found.classifier
            found = found.model_copy(update={"classifier": folder})
        return found

    @property
    def label(self) -> str:
        """Which policy it was, in the log: name, version, and a hash of all that it says."""
        return f"{self.name}/{self.version}@{sha256_text(self.model_dump_json())[:8]}"

    def judges(self, side: Side) -> bool:
        return any(side in one.sides for one in self.categories)
