"""Scores by category on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foresight.evals.categories import Series
from foresight.evals.people.agreement import Beside
from foresight.evals.statistics import Estimate
from foresight.report.category_figure import category_order
from foresight.views import between, say, show_table
from foresight.views.people import show_agreement


def show_categories(
    console: Console,
    series: Sequence[Series],
    agreements: Sequence[Beside],
    title: str,
) -> None:
    columns = ["category", *(part for one in series for part in (one.name, "95 %", "n"))]
    rows = [
        [name, *(cell for one in series for cell in _cells(one.means.get(name)))]
        for name in category_order(series)
    ]
    show_table(console, title, columns, rows)
    for one in series:
        notes = [] if one.chance is None else [f"chance {one.chance:.3f}"]
        notes += [f"{one.unscored} records without a score, left out"] * bool(one.unscored)
        if notes:
            say(console, f"  {one.name}: {'; '.join(notes)}")
    show_agreement(console, agreements)


def _cells(one: Estimate | None) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    return f"{one.mean:.4f}", between(one.low, one.high), str(one.n)
