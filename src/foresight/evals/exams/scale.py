"""`scale.csv`: what a raw score is worth on the scale on which an exam is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from foresight.errors import UserError
from foresight.evals.files import read_csv

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Raw scores, ascending, and what each is worth: from this raw score up to the next row's."""

    raw: tuple[float, ...]
    scaled: tuple[float, ...]

    def at(self, raw: Floats) -> Floats:
        """Scaled scores; raw scores below the first row get what it gives."""
        # 26.999999999 of 27 questions is 27: a sum of shares is not exact.
        place = np.searchsorted(self.raw, raw + 1e-9, side="right") - 1
        found: Floats = np.asarray(self.scaled)[np.maximum(place, 0)]
        return found


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    raw: float
    scaled: float
    section: str = ""


def read_scales(path: Path) -> Mapping[str, Scale]:
    """Scales by section ("" for the whole exam) from columns raw, scaled and, if sections have
    scales of their own, section. A row holds from its raw score up to the next one.

    Raises UserError naming file and line, also where raw does not rise or scaled falls.
    """
    rows: dict[str, list[_Row]] = {}
    for where, row in read_csv(path, _Row):
        some = rows.setdefault(row.section, [])
        if some and row.raw <= some[-1].raw:
            raise UserError(f"{where}, field raw: {row.raw:g} after {some[-1].raw:g}; must rise")
        if some and row.scaled < some[-1].scaled:
            raise UserError(
                f"{where}, field scaled: {row.scaled:g} after {some[-1].scaled:g}; a higher raw "
                f"score cannot be worth less"
            )
        some.append(row)
    if not rows:
        raise UserError(f"{path}, line 1: no rows below the header")
    return {
        name: Scale(tuple(one.raw for one in some), tuple(one.scaled for one in some))
        for name, some in rows.items()
    }
