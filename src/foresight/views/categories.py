"""Scores by category on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foresight.evals.categories import Series
from foresight.evals.statistics import Agreement, Estimate
from foresight.report.category_figure import category_order
from foresight.views import _table


def show_categories(
    console: Console,
    series: Sequence[Series],
    agreements: Sequence[tuple[str, str, Agreement]],
    title: str,
) -> None:
    columns = ["category", *(part for one in series for part in (one.name, "95 %", "n"))]
    rows = [
        [name, *(cell for one in series for cell in _cells(one.means.get(name)))]
        for name in category_order(series)
    ]
    _table(console, title, columns, rows)
    for one in series:
        notes = [] if one.chance is None else [f"chance {one.chance:.3f}"]
        notes += [f"{one.unscored} records without a score, left out"] * bool(one.unscored)
        if notes:
            console.print(f"  {one.name}: {'; '.join(notes)}", markup=False, highlight=False)
    for first, second, found in agreements:
        kappa = "" if found.kappa is None else (
            f", Cohen's kappa {found.kappa:.2f} [{found.kappa_low:.2f}, {found.kappa_high:.2f}]"
        )  # fmt: skip
        console.print(
            f"  {first} and {second}: graders agree on {found.accuracy:.3f} [{found.low:.3f}, "
            f"{found.high:.3f}] of {found.n} responses{kappa}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def _cells(one: Estimate | None) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    between = "" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
    return f"{one.mean:.4f}", between, str(one.n)
