"""From raw points to the score that an exam reports."""

from __future__ import annotations

import bisect
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from foresight.errors import UserError
from foresight.evals.exams.table_file import number, read_table


class Linear(BaseModel):
    """`low` + (`high` - `low`) x share of the points, to the nearest `step`.

    The GPT-4 report's GRE sections are 130 + 40 x accuracy (appendix A.7); an essay scale is 0 to 6
    in halves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["linear"]
    low: float = 0.0
    high: float = 100.0
    step: Annotated[float, Field(ge=0)] = 0.0
    """0: not rounded."""

    @model_validator(mode="after")
    def _rises(self) -> Linear:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        return self

    def read(self, folder: Path) -> None:
        """Nothing beside the settings."""

    def scaled(self, raw: float, maximum: float) -> float:
        """Of `raw` out of `maximum` points."""
        value = self.low + (self.high - self.low) * raw / maximum
        if self.step:
            # Halves go up, as people round, and not to the even neighbour.
            value = math.floor(value / self.step + 0.5 + 1e-9) * self.step
        return min(max(value, self.low), self.high)

    @property
    def files(self) -> tuple[str, ...]:
        return ()


class Table(BaseModel):
    """What a published chart says: the row of the highest raw score that is not above."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["table"]
    scale: str = "scale.csv"
    """CSV with columns raw, scaled; both rise."""
    raw: Literal["points", "percent"] = "points"
    """Unit of the raw column."""
    _rows: list[tuple[float, float]] = PrivateAttr(default_factory=list)

    @property
    def files(self) -> tuple[str, ...]:
        return (self.scale,)

    def read(self, folder: Path) -> None:
        """Take in the chart. Raises UserError naming file and line if it does not rise."""
        self._rows[:] = read_scale(folder / self.scale)

    def scaled(self, raw: float, maximum: float) -> float:
        """Of `raw` out of `maximum` points; below the first row, that row's."""
        value = 100 * raw / maximum if self.raw == "percent" else raw
        at = bisect.bisect_right([row for row, _ in self._rows], value + 1e-9)
        return self._rows[max(at - 1, 0)][1]


def read_scale(path: Path) -> list[tuple[float, float]]:
    """(raw, scaled) of a CSV. Raises UserError naming file and line: raw scores must rise, scaled
    ones must not fall."""
    rows: list[tuple[float, float]] = []
    for where, row in read_table(path, ("raw", "scaled")):
        raw, scaled = number(where, row, "raw"), number(where, row, "scaled")
        if rows and raw <= rows[-1][0]:
            raise UserError(f"{where}, field raw: {raw:g} does not rise from {rows[-1][0]:g}")
        if rows and scaled < rows[-1][1]:
            raise UserError(f"{where}, field scaled: {scaled:g} falls from {rows[-1][1]:g}")
        rows.append((raw, scaled))
    if not rows:
        raise UserError(f"{path}: has no rows")
    return rows
