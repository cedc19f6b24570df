"""What a person said: a line of a journal, and what of it stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from foresight.evals.files import validated
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


def read_journal(path: Path, kind: type[R]) -> list[R]:
    """Lines of a journal; none if there is no file yet, a torn last line is left out.

    Raises UserError naming file, line and field of what is wrong.
    """
    values = read_jsonl(path) if path.exists() else []
    return [
        validated(kind, value, f"{path}, line {number}")
        for number, value in enumerate(values, start=1)
    ]


def standing(entries: Iterable[E]) -> dict[tuple[str, str], E]:
    """By (key, person) the latest entry, in the order of those; what was undone is gone."""
    stood: dict[tuple[str, str], E] = {}
    for one in entries:
        stood.pop((one.key, one.person), None)
        if one.action != "undo":
            stood[one.key, one.person] = one
    return stood
