"""Machine-readable reasons, and the verdicts that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from foresight.errors import UserError

VERDICTS = ("forecast", "wide", "refused")
"""In rising severity."""


class Reason(Enum):
    """Reasons by name, each with the one line that explains it to people as its value."""

    @property
    def code(self) -> str:
        """For machines."""
        return self.name.lower()

    @property
    def text(self) -> str:
        return str(self.value)

    @property
    def told(self) -> str:
        return f"{self.code}: {self.text}"

    def __lt__(self, other: Reason) -> bool:
        return self.code < other.code


def reasons_json(reasons: Iterable[Reason]) -> list[dict[str, str]]:
    return [{"code": one.code, "text": one.text} for one in reasons]


def worst(verdicts: Iterable[str]) -> str:
    return max(verdicts, key=VERDICTS.index)


def refuse(what: str, compute_flops: float, reasons: Iterable[Reason]) -> UserError:
    """The error that says why there is no forecast."""
    told = "; ".join(code.told for code in reasons)
    return UserError(f"the forecast {what}at {compute_flops:.3g} FLOPs is refused: {told}")
