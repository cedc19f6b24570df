"""One question of a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from foresight.document import Image, Text
from foresight.errors import UserError


@dataclass(frozen=True, eq=False)
class Item:
    """A question, and what a right answer is.

    `parts`: the question as text and pictures. `choices`: options of a multiple-choice question.
    `target`: index of the right choice; or the accepted answers; or, for code, the tests. `group`:
    items that are not independent share one (a passage, a subject, a template): intervals are
    clustered by it. `weight`: of its score in the mean. `meta`: whatever else its source tells,
    JSON values only.
    """

    id: str
    parts: tuple[Text | Image, ...]
    choices: tuple[str, ...] = ()
    target: int | tuple[str, ...] = ()
    group: str = ""
    weight: float = 1.0
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            raise UserError("an item has no id")
        if self.weight < 0:
            raise UserError(f"item {self.id}: weight {self.weight} is negative")
        if isinstance(self.target, int) and not 0 <= self.target < len(self.choices):
            raise UserError(
                f"item {self.id}: target {self.target} is no index of its {len(self.choices)} "
                f"choices (they count from 0)"
            )

    @property
    def text(self) -> str:
        """The question's text, pictures left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))
