"""Percentiles of test takers, from a file: a range, since many share a score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.exams.table_file import number, read_table

COLUMNS = ("score", "lower", "upper", "population", "date", "source")


@dataclass(frozen=True)
class Row:
    """Those who reach `score` stand between the percentiles `lower` and `upper`."""

    score: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Standing:
    """Percentile range of a score, and among whom."""

    lower: float
    upper: float
    populations: tuple[str, ...]


@dataclass(frozen=True)
class Percentiles:
    """Rows by "population, date (source)", by score."""

    populations: dict[str, tuple[Row, ...]]

    def of(self, score: float) -> Standing:
        """The range of the highest row that is not above the score: the lower of the minima and
        the higher of the maxima over populations, as the GPT-4 report has it for the two AMC dates
        (appendix A). Below the first row: from 0 to where that begins."""
        found = [_range(rows, score) for rows in self.populations.values()]
        return Standing(
            min(low for low, _ in found), max(high for _, high in found), tuple(self.populations)
        )


def _range(rows: tuple[Row, ...], score: float) -> tuple[float, float]:
    reached = [row for row in rows if row.score <= score + 1e-9]
    return (reached[-1].lower, reached[-1].upper) if reached else (0.0, rows[0].lower)


def read_percentiles(path: Path) -> Percentiles:
    """A CSV with columns score, lower, upper, population, date, source.

    Raises UserError naming file and line: a percentile outside [0, 100], a lower one above its
    upper one, a score that stands twice, percentiles that fall as scores rise, no population or
    date.
    """
    found: dict[str, list[Row]] = {}
    for where, row in read_table(path, COLUMNS):
        for field in ("population", "date", "source"):
            if not row[field].strip():
                raise UserError(f"{where}, field {field}: empty; a percentile needs all three")
        score = number(where, row, "score")
        lower, upper = (number(where, row, field) for field in ("lower", "upper"))
        for field, value in (("lower", lower), ("upper", upper)):
            if not 0 <= value <= 100:
                raise UserError(f"{where}, field {field}: {value:g}; percentiles are from 0 to 100")
        if lower > upper:
            raise UserError(f"{where}: lower {lower:g} is above upper {upper:g}")
        name = f"{row['population']}, {row['date']} ({row['source']})"
        rows = found.setdefault(name, [])
        if rows and score <= rows[-1].score:
            raise UserError(f"{where}, field score: {score:g} does not rise (population {name})")
        if rows and (lower < rows[-1].lower or upper < rows[-1].upper):
            raise UserError(f"{where}: percentiles fall although the score rises")
        rows.append(Row(score, lower, upper))
    if not found:
        raise UserError(f"{path}: has no rows")
    return Percentiles({name: tuple(rows) for name, rows in found.items()})
