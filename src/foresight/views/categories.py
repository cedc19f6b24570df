"""Scores by category on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from foresight.evals.categories import Series
from foresight.evals.statistics import Agreement, Estimate
from foresight.report.category_figure import category_order
from foresight.views import between, say, show_table


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
    show_table(console, title, columns, rows)
    for one in series:
        notes = [] if one.chance is None else [f"chance {one.chance:.3f}"]
        notes += [f"{one.unscored} records without a score, left out"] * bool(one.unscored)
        if notes:
            say(console, f"  {one.name}: {'; '.join(notes)}")
    for first, second, found in agreements:
        told = f"graders agree on {found.accuracy:.3f} [{between(found.low, found.high)}]"
        if found.kappa is not None:
            span = between(found.kappa_low, found.kappa_high, ".2f")
            told += f", Cohen's kappa {found.kappa:.2f} [{span}],"
        say(console, f"  {first} and {second}: {told} of {found.n} responses")


def _cells(one: Estimate | None) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    return f"{one.mean:.4f}", between(one.low, one.high), str(one.n)
