"""The picture of a fit: runs, frontier, the stacked law with its bands, and the back-test below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from foresight.errors import UserError
from foresight.forecast import Answer, Row
from foresight.report.blocks import Block, Fold, Note, Picture, Section, render
from foresight.report.canvas import (
    FIT,
    MUTED,
    SECOND,
    SEEN,
    Drawing,
    files,
    inline,
    label,
    legend,
    new,
)
from foresight.report.figures import compute_axis, draw_dots, draw_law, draw_stars, flop_ticks
from foresight.report.tables import backtest_table, forecasts_table, runs_table
from foresight.report.words import number, plural
from foresight.runs import write_atomic

KINDS = (".svg", ".png", ".html")
POINTS = 40
"""Computes at which the law is drawn."""
AHEAD = 10.0
"""Without a target the law is drawn to so many times the largest run."""
ABOVE = 0.6
"""Runs above the frontier by more than this share of its own range are left out of the picture:
clouds hold some that would flatten everything else."""


def write_fit_plot(found: Answer, path: Path) -> None:
    """Write the picture of a fit as SVG, PNG or a self-contained HTML page, by the file's ending.

    The same answer gives the same bytes. Raises UserError for another ending, or a table without
    one run whose loss and compute are known.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"--plot {path}: unknown kind {kind!r}; expected {', '.join(KINDS)}")
    if not found.frontier:
        raise UserError(f"--plot {path}: the table has no eligible run to draw")
    figure = fit_figure(found)
    name = "fit"
    description = f"{found.table.metric} against training compute, and back-test errors below."
    drawn = inline(figure, name, "Fit and forecast", description)
    if kind == ".html":
        write_atomic(path, _page(found, Drawing(drawn, _caption(found))))
        return
    svg, png = files(figure, name)
    write_atomic(path, svg if kind == ".svg" else png)


def fit_figure(found: Answer) -> Figure:
    """Two panels: loss over log compute, and errors of the back-test over the ratio."""
    figure, (top, bottom) = new(6.6, rows=2)
    grid = top.get_gridspec()
    assert grid is not None, "both panels are of one grid"
    grid.set_height_ratios([2.4, 1.0])
    top.set_xscale("log")
    limits = _law(top, found)
    limits += _runs(top, found)
    _targets(top, found)
    pad = 0.04 * (max(limits) - min(limits))
    top.set_ylim(min(limits) - pad, max(limits) + pad)
    flop_ticks(top)
    label(top, "training FLOPs", found.table.metric, _title(found))
    legend(top, "upper right")
    _backtest(bottom, found)
    return figure


def _title(found: Answer) -> str:
    reasons = ", ".join(one.code for one in found.fitted.reasons)
    return f"verdict: {found.verdict}" + (f" ({reasons})" if reasons else "")


def _law(axes: Axes, found: Answer) -> list[float]:
    """The stack's median and bands where it makes a forecast; returns what must be in view."""
    points = [point.compute_flops for point in found.frontier]
    computes = [one.compute_flops for one in found.forecasts]
    computes += [row.compute_flops for row in found.table.rows if row.target]
    computes = computes or [AHEAD * max(points)]
    grid = np.geomspace(min(points), max(*points, *computes), POINTS)
    made = [found.fitted.predict(float(compute)) for compute in grid]
    return draw_law(axes, made, 1.0, "-", "forecast")


def _runs(axes: Axes, found: Answer) -> list[float]:
    rows = [row for row in found.table.rows if row.loss > 0 and row.compute_flops > 0]
    losses = [point.loss for point in found.frontier]
    ceiling = max(losses) + ABOVE * max(max(losses) - min(losses), 0.02 * max(losses))
    shown = [row for row in rows if row.loss <= ceiling]
    above = len(rows) - len(shown)
    fitted = [row for row in shown if row.eligible and not row.target]
    name = "runs" + (f" ({above} more above)" if above else "")
    draw_dots(axes, _points(fitted), name)
    ineligible = [row for row in shown if not row.eligible]
    draw_dots(axes, _points(ineligible), "not eligible, not fitted", filled=False)
    axes.plot([point.compute_flops for point in found.frontier], losses, "s-", color=SECOND,
              markersize=4.5, markerfacecolor="none", linewidth=0.9, label="frontier")  # fmt: skip
    draw_stars(axes, _points([row for row in shown if row.target]))
    return [row.loss for row in shown]


def _points(rows: Sequence[Row]) -> list[tuple[float, float]]:
    return [(row.compute_flops, row.loss) for row in rows]


def _targets(axes: Axes, found: Answer) -> None:
    """The forecasts asked for, with their 95 % intervals and their numbers."""
    made = [one for one in found.forecasts if one.point is not None and one.intervals is not None]
    for at, one in enumerate(made):
        assert one.point is not None and one.intervals is not None
        low, high = one.intervals[95]
        axes.errorbar([one.compute_flops], [one.point], fmt="D", color=SEEN, markersize=4.5,
                      yerr=[[one.point - low], [high - one.point]], capsize=4, elinewidth=1.2,
                      label="target, 95 %" if at == 0 else None)  # fmt: skip
        axes.annotate(number(one.point), (one.compute_flops, high), (0, 4), color=SEEN,
                      textcoords="offset points", ha="center", va="bottom", fontsize=8)  # fmt: skip


def _backtest(axes: Axes, found: Answer) -> None:
    rows = found.fitted.backtest_rows()
    axes.axhline(0, color=MUTED, linewidth=0.9)
    axes.set_xscale("log")
    if not rows:
        axes.text(0.5, 0.6, "too few rungs for a back-test", transform=axes.transAxes, color=MUTED,
                  ha="center")  # fmt: skip
    else:
        errors = [100 * (row["predicted"] / row["observed"] - 1) for row in rows]
        spans = [196 * row["sd_log"] for row in rows]
        inside = [abs(error) <= span for error, span in zip(errors, spans, strict=True)]
        many = len(rows) > 40
        for hit, colour, name in ((True, FIT, "inside"), (False, SEEN, "outside")):
            chosen = [at for at, value in enumerate(inside) if value == hit]
            if chosen:
                axes.errorbar([rows[at]["ratio"] for at in chosen], [errors[at] for at in chosen],
                              yerr=[spans[at] for at in chosen], fmt="o", color=colour,
                              ecolor=(colour, 0.2 if many else 0.8), elinewidth=0.8,
                              markersize=2.5 if many else 4, capsize=0 if many else 2,
                              label=f"{name} 1.96 predicted sd: {len(chosen)}")  # fmt: skip
        # The bars of far forecasts would flatten the errors.
        top = 1.5 * max(*(abs(error) for error in errors), float(np.median(spans)), 0.1)
        axes.set_ylim(-top, top)
    compute_axis(axes)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    label(axes, "hidden compute / largest fitted", "error, %",
          "Back-test: predicted / observed \u2212 1 of hidden top rungs")  # fmt: skip
    legend(axes, "upper left")


def _caption(found: Answer) -> str:
    rows = found.fitted.backtest_rows()
    text = (
        f"{plural(len(found.table.rows), 'run')}, {plural(len(found.frontier), 'frontier point')}."
    )
    if rows:
        errors = [abs(100 * (row["predicted"] / row["observed"] - 1)) for row in rows]
        text += (
            f" {plural(len(rows), 'back-test forecast')}, median |error| "
            f"{number(float(np.median(errors)), 2)} %."
        )
    return text


def _page(found: Answer, drawing: Drawing) -> str:
    blocks: list[Block] = [Picture(drawing)]
    blocks += [Note(code.told, "open") for code in found.fitted.reasons]
    if any(one.intervals for one in found.forecasts):
        blocks.append(forecasts_table([one for one in found.forecasts if one.intervals]))
    table = backtest_table(found.fitted.backtest_rows())
    runs = runs_table(found.table.rows, found.table.metric)
    numbers = Section("numbers", "Numbers", [Fold("Back-test", [table]), Fold("Runs", [runs])])
    chapters = [Section("fit", f"Verdict: {found.verdict}", blocks), numbers]
    return render("Fit and forecast", f"Metric: {found.table.metric}", chapters)
