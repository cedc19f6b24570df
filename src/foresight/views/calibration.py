"""What `calibration` shows on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from foresight.evals.calibration import PairedStudy, Study
from foresight.report.reliability_figure import calibration_tables
from foresight.views import _table


def show_calibration(
    console: Console, found: Sequence[Study | PairedStudy], out: Path | None
) -> None:
    for one in found:
        for table in calibration_tables(one):
            _table(console, table.caption, table.columns, table.rows)
    if out is not None:
        console.print(f"wrote {out}", markup=False, highlight=False, soft_wrap=True)
