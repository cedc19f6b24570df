"""Chapters of suites: Figure 2 of every suite that was forecast, Figure 3 of the one watched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from pydantic import BaseModel, Field

from foresight.errors import UserError
from foresight.evals.suite_forecast import INVERSE, evidence_of, trend_path
from foresight.forecast import ScoreRow, ScoreTable, trend
from foresight.forecast.scores import binomial_stderr
from foresight.report.blocks import Note, Section
from foresight.report.capability_figure import CapabilityData, capability_section
from foresight.report.evidence import checked
from foresight.report.trend_figure import Curve, trend_section


class Right(BaseModel):
    """Right answers of one run to one family."""

    run: str
    family: str
    compute_flops: float = Field(gt=0)
    right: int = Field(ge=0)
    n: int = Field(ge=1)
    chance: float = Field(ge=0, le=1)


class TrendFile(BaseModel):
    """`suites/inverse/trend.json`."""

    rows: list[Right] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> TrendFile:
        """Raises UserError naming the file and the field that is wrong."""
        return checked(path, cls)

    def curves(self) -> list[Curve]:
        """A curve for every family."""
        found = []
        for family in sorted({row.family for row in self.rows}):
            rows = [row for row in self.rows if row.family == family]
            scores = tuple(
                ScoreRow(
                    row.run,
                    row.compute_flops,
                    row.right / row.n,
                    binomial_stderr(row.run, row.right / row.n, row.n),
                )
                for row in rows
            )
            table = ScoreTable(scores, family)
            found.append(Curve(table, rows[0].chance, trend(table)))
        return found


def suite_chapters(
    directory: Path, suites: Sequence[str]
) -> list[tuple[Section, str, Figure | None]]:
    """(chapter, name of its figure's files, the figure) of every suite of a recipe; a suite whose
    files are not there or not readable is said in a sentence."""
    found: list[tuple[Section, str, Figure | None]] = []
    for name in suites:
        title = f"Suite of {name}"
        try:
            if name == INVERSE and trend_path(directory).exists():
                section, figure = trend_section(TrendFile.read(trend_path(directory)).curves())
                found.append((section, "figure3", figure))
                continue
            if name != INVERSE and evidence_of(directory, name).exists():
                data = CapabilityData.read(evidence_of(directory, name))
                section, figure = capability_section(data, name)
                found.append((section, f"figure2-{name}", figure))
                continue
            note = Note("Not put to the ladder yet.", "open")
        except UserError as error:
            note = Note(str(error), "bad")
        found.append((Section(f"suite-{name}", title, [note]), name, None))
    return found
