"""`percentiles.csv`: the share of test takers below and up to a score, by population."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from foresight.errors import UserError
from foresight.evals.files import read_csv


@dataclass(frozen=True)
class Range:
    """Where a score stands: `lower` % of test takers have less, `upper` % have as much or less.
    `population`, `date` and `source` say who they are and who counted them."""

    lower: float
    upper: float
    population: str
    date: str
    source: str


@dataclass(frozen=True)
class Percentiles:
    """One population's distribution: scores, ascending, and the range that belongs to each."""

    scores: tuple[float, ...]
    ranges: tuple[Range, ...]

    def at(self, score: float) -> Range | None:
        """The range of a score. Between two rows it reaches from the lower one's lower end to the
        higher one's upper end; None below the first row and above the last, of which the file
        says nothing."""
        place = bisect_right(self.scores, score + 1e-9) - 1
        if place < 0:
            return None
        found = self.ranges[place]
        if math.isclose(self.scores[place], score, abs_tol=1e-9):
            return found
        if place + 1 == len(self.ranges):
            return None
        return replace(found, upper=self.ranges[place + 1].upper)


def widest(ranges: Sequence[Range]) -> Range:
    """One range over several distributions: the minimum of the minima to the maximum of the
    maxima, as the GPT-4 report (appendix A.5) does with two distributions of the AMC."""

    def joined(texts: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(texts))

    return Range(
        lower=min(one.lower for one in ranges),
        upper=max(one.upper for one in ranges),
        population=joined(one.population for one in ranges),
        date=joined(one.date for one in ranges),
        source=joined(one.source for one in ranges),
    )


Percent = Annotated[float, Field(ge=0, le=100)]
Text = Annotated[str, Field(min_length=1)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    score: float
    lower: Percent
    upper: Percent
    population: Text
    date: Text
    source: Text


def read_percentiles(path: Path) -> tuple[Percentiles, ...]:
    """Distributions in the order of the file; rows of one population and date are one.

    Raises UserError naming file and line: a percentile beyond 0 to 100 or a range upside down,
    a score that does not rise, percentiles that fall, a population, date or source left empty.
    """
    tables: dict[tuple[str, str], list[_Row]] = {}
    for where, row in read_csv(path, _Row):
        some = tables.setdefault((row.population, row.date), [])
        if row.lower > row.upper:
            raise UserError(f"{where}: lower {row.lower:g} is above upper {row.upper:g}")
        if some and row.score <= some[-1].score:
            raise UserError(
                f"{where}, field score: {row.score:g} after {some[-1].score:g}; must rise"
            )
        if some and (row.lower < some[-1].lower or row.upper < some[-1].upper):
            raise UserError(f"{where}: percentiles fall while the score rises")
        some.append(row)
    if not tables:
        raise UserError(f"{path}, line 1: no rows below the header")
    return tuple(
        Percentiles(
            tuple(one.score for one in some),
            tuple(Range(**one.model_dump(exclude={"score"})) for one in some),
        )
        for some in tables.values()
    )
