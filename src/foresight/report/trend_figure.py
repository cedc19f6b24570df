"""Figure 3: accuracy against compute, with the verdict on whether it falls, rises or turns.

After Figure 3 of the GPT-4 report (section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from foresight.forecast import ScoreTable, Trend
from foresight.forecast.rungs import rung_means
from foresight.report.blocks import Picture, Section, Table
from foresight.report.canvas import (
    FIT,
    INK,
    MUTED,
    SECOND,
    SEEN,
    Drawing,
    inline,
    label,
    legend,
    new,
)
from foresight.report.figures import flop_ticks
from foresight.report.words import NONE, number, percent, plural, power

TITLE = "Figure 3: what gets worse with scale, and what turns"
_VERDICTS = {
    "rising": "rises with scale",
    "falling": "falls with scale",
    "u_shaped": "falls, then rises",
    "inverted_u": "rises, then falls",
    "flat": "does not change by more than the margin",
    "unclear": "no trend can be told from noise",
}


@dataclass(frozen=True)
class Curve:
    """Scores of one family of questions by model, what guessing gives, and the verdict."""

    scores: ScoreTable
    chance: float
    verdict: Trend


def figure_three(curves: Sequence[Curve]) -> Figure:
    """A panel per family: every model with 1.96 standard errors, chance, the turn."""
    figure, panels = new(3.2, columns=len(curves))
    for axes, one in zip(panels, curves, strict=True):
        rows = sorted(one.scores.rows, key=lambda row: row.scale)
        axes.set_xscale("log")
        axes.axhline(one.chance, color=MUTED, linewidth=0.9, linestyle="--", label="chance")
        means = rung_means((row.scale, row.value) for row in rows)
        axes.plot(*zip(*means, strict=True), "-", color=FIT, linewidth=1.2, label="mean of a size")
        axes.errorbar(
            [row.scale for row in rows],
            [row.value for row in rows],
            yerr=[1.96 * (row.stderr or 0.0) for row in rows],
            fmt="o", color=INK, markersize=4, capsize=2, elinewidth=0.8, label="models, 95 %",
        )  # fmt: skip
        turn = one.verdict.turn_interval
        if turn is not None:
            axes.axvspan(*turn, color=SECOND, alpha=0.15, linewidth=0, label="turn, 95 %")
        p = {"falling": one.verdict.p_falling, "u_shaped": one.verdict.p_u,
             "rising": one.verdict.p_rising,
             "inverted_u": one.verdict.p_inverted_u}.get(one.verdict.verdict)  # fmt: skip
        text = _VERDICTS[one.verdict.verdict] + ("" if p is None else f" (p = {p:.4f})")
        axes.text(0.02, 0.02, text, transform=axes.transAxes, color=SEEN, fontsize=8)
        axes.set_ylim(-0.08, 1.04)
        flop_ticks(axes)
        label(axes, "training FLOPs", "accuracy", one.scores.metric)
    legend(panels[0])
    return figure


def trend_section(curves: Sequence[Curve]) -> tuple[Section, Figure]:
    """The chapter with Figure 3 and its numbers, and the drawing itself."""
    figure = figure_three(curves)
    said = "; ".join(f"{one.scores.metric} {_VERDICTS[one.verdict.verdict]}" for one in curves)
    caption = (
        f"Accuracy against training compute: {said}. The test allows any shape of the truth and "
        f"raises a false alarm in at most 5 % of families that never fall."
    )
    drawing = Drawing(inline(figure, "figure3", TITLE, caption), caption)
    tables = [
        Table(
            f"{one.scores.metric}: {plural(len(one.scores.rows), 'model')}, "
            f"chance {percent(one.chance)}",
            ["model", "FLOPs", "accuracy", "standard error"],
            [
                [row.run, power(row.scale), percent(row.value),
                 NONE if row.stderr is None else number(row.stderr, 2)]
                for row in sorted(one.scores.rows, key=lambda row: row.scale)
            ],
        )
        for one in curves
    ]  # fmt: skip
    return Section("figure-3", TITLE, [Picture(drawing), *tables]), figure
