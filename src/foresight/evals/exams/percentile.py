"""`percentiles.csv`: the share of test takers below and up to a score, by population."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.exams.rows import Row, rows_of

COLUMNS = ("score", "lower", "upper", "population", "date", "source")


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


def read_percentiles(path: Path) -> tuple[Percentiles, ...]:
    """Distributions in the order of the file; rows of one population and date are one.

    Raises UserError naming file and line: a percentile beyond 0 to 100 or a range upside down,
    a score that does not rise, percentiles that fall, a population, date or source left empty.
    """
    tables: dict[tuple[str, str], tuple[list[float], list[Range]]] = {}
    for row in rows_of(path, COLUMNS):
        one = Range(
            row.number("lower"), row.number("upper"),
            row.text("population"), row.text("date"), row.text("source"),
        )  # fmt: skip
        scores, ranges = tables.setdefault((one.population, one.date), ([], []))
        score = row.number("score")
        _check(row, one, score, scores, ranges)
        scores.append(score)
        ranges.append(one)
    if not tables:
        raise UserError(f"{path}, line 1: no rows below the header")
    return tuple(Percentiles(tuple(scores), tuple(ranges)) for scores, ranges in tables.values())


def _check(
    row: Row, one: Range, score: float, scores: Sequence[float], ranges: Sequence[Range]
) -> None:
    for name, value in (("lower", one.lower), ("upper", one.upper)):
        if not 0 <= value <= 100:
            raise UserError(f"{row.where}, field {name}: {value:g} is no percentile (0 to 100)")
    if one.lower > one.upper:
        raise UserError(f"{row.where}: lower {one.lower:g} is above upper {one.upper:g}")
    if not scores:
        return
    if score <= scores[-1]:
        raise UserError(f"{row.where}, field score: {score:g} after {scores[-1]:g}; must rise")
    if one.lower < ranges[-1].lower or one.upper < ranges[-1].upper:
        raise UserError(f"{row.where}: percentiles fall while the score rises")
