"""Figures 5 to 7: scores by category, models side by side, as bars with 95 % intervals.

After the GPT-4 report: accuracy by language, factuality by category, TruthfulQA.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from foresight.errors import UserError
from foresight.evals.categories import Series
from foresight.report.canvas import (
    FIT,
    INK,
    MUTED,
    SECOND,
    SEEN,
    THIRD,
    label,
    new,
    plain,
)
from foresight.report.words import percent

COLOURS = (FIT, SEEN, SECOND, THIRD)
_INCHES = 0.16
"""Height of a bar."""


def category_order(series: Sequence[Series]) -> list[str]:
    """Categories of all series, those where the first series scores highest first."""
    names = dict.fromkeys(name for one in series for name in one.means)
    first = series[0].means
    return sorted(names, key=lambda name: -first[name].mean if name in first else 1.0)


def category_figure(
    series: Sequence[Series], title: str, what: str = "mean score, with 95 % intervals"
) -> Figure:
    """A row per category, a bar per series, chance as a line where answers are choices. `what`:
    the axis measures.

    Raises UserError for more series than colours.
    """
    if len(series) > len(COLOURS):
        raise UserError(f"{len(series)} models: a figure shows up to {len(COLOURS)} side by side")
    names = category_order(series)
    rows = len(names) * (len(series) + 1)
    figure, (axes,) = new(0.9 + _INCHES * rows)
    for at, one in enumerate(series):
        shown = [(place, one.means[name]) for place, name in enumerate(names) if name in one.means]
        places = [place + (at + 0.5) / (len(series) + 1) for place, _ in shown]
        axes.barh(
            places, [mean.mean for _, mean in shown], height=1 / (len(series) + 1),
            color=COLOURS[at], alpha=0.75, linewidth=0, label=plain(one.name),
        )  # fmt: skip
        for place, (_, mean) in zip(places, shown, strict=True):
            if mean.low is not None and mean.high is not None:
                axes.plot([mean.low, mean.high], [place, place], color=INK, linewidth=1.0)
    chances = {round(one.chance, 9) for one in series if one.chance is not None}
    if len(chances) == 1:
        axes.axvline(chances.pop(), color=MUTED, linewidth=0.9, linestyle="--", label="chance")
    middle = len(series) / (len(series) + 1) / 2
    axes.set_yticks([place + middle for place in range(len(names))], [plain(n) for n in names])
    axes.set_ylim(len(names), -1 / (len(series) + 1))
    axes.set_xlim(0.0, 1.0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda value, _: percent(value, 0))
    label(axes, what, title=title)
    # Below the plot: bars may reach anywhere in it.
    figure.legend(
        loc="outside lower center", ncols=min(len(series) + 1, 3), frameon=False, fontsize=8,
        labelcolor=INK,
    )  # fmt: skip
    return figure
