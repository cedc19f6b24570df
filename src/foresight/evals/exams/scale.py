"""`scale.csv`: what a raw score is worth on the scale on which an exam is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.evals.exams.rows import rows_of

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


def read_scales(path: Path) -> Mapping[str, Scale]:
    """Scales by section ("" for the whole exam) from columns raw, scaled and, if sections have
    scales of their own, section. A row holds from its raw score up to the next one.

    Raises UserError naming file and line, also where raw does not rise or scaled falls.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    for row in rows_of(path, ("raw", "scaled"), ("section",)):
        some = rows.setdefault(row.fields.get("section", ""), [])
        raw, scaled = row.number("raw"), row.number("scaled")
        if some and raw <= some[-1][0]:
            raise UserError(f"{row.where}, field raw: {raw:g} after {some[-1][0]:g}; must rise")
        if some and scaled < some[-1][1]:
            raise UserError(
                f"{row.where}, field scaled: {scaled:g} after {some[-1][1]:g}; a higher raw score "
                f"cannot be worth less"
            )
        some.append((raw, scaled))
    if not rows:
        raise UserError(f"{path}, line 1: no rows below the header")
    return {name: Scale(*zip(*some, strict=True)) for name, some in rows.items()}
