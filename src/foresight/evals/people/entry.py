"""What a person said: a line of a journal, and what of it stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from foresight.errors import UserError
from foresight.runs import read_jsonl


class Row(BaseModel):
    """A line of a JSONL file of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_line(self) -> str:
        return self.model_dump_json()


class Entry(Row, ABC):
    """What one person said of one thing. `action` "skip": would rather not; "undo": takes back
    what the same person said of it before. `at`: when, UTC, ISO 8601."""

    key: str
    action: str
    at: str

    @property
    @abstractmethod
    def person(self) -> str:
        """Who said it."""

    def same_as(self, other: Entry) -> bool:
        """Whether it says the same, at whatever time."""
        return self.model_dump(exclude={"at"}) == other.model_dump(exclude={"at"})


R = TypeVar("R", bound=Row)
E = TypeVar("E", bound=Entry)


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """Lines of a journal; none if there is no file yet, a torn last line is left out.

    Raises UserError naming file, line and field of what is wrong.
    """
    rows = []
    for number, value in enumerate(read_jsonl(path) if path.exists() else (), start=1):
        try:
            rows.append(kind.model_validate(value))
        except ValidationError as error:
            raise UserError(f"{path}, line {number}, {first_error(error)}") from None
    return rows


def first_error(error: ValidationError) -> str:
    """`field NAME: what is wrong` of the first thing that is."""
    one = error.errors()[0]
    name = ".".join(map(str, one["loc"])) or "(all)"
    return f"field {name}: {one['msg']}, got {one['input']!r:.80}"


def standing(entries: Iterable[E]) -> dict[tuple[str, str], E]:
    """By (key, person) the latest entry, in the order of those; what was undone is gone."""
    stood: dict[tuple[str, str], E] = {}
    for one in entries:
        stood.pop((one.key, one.person), None)
        if one.action != "undo":
            stood[one.key, one.person] = one
    return stood
