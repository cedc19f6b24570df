"""The figures of the page; each function draws numbers it is handed and decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from foresight.evals.picture_questions import Accuracy
from foresight.forecast import Forecast
from foresight.forecast.draws import Array
from foresight.report.canvas import (
    FIT,
    GRID,
    INK,
    MUTED,
    PAPER,
    SECOND,
    SEEN,
    THIRD,
    label,
    legend,
    new,
    plain,
)
from foresight.report.evidence import Transfer
from foresight.report.words import superscript

_SERIES = ((FIT, "o"), (SECOND, "s"), (THIRD, "^"), (SEEN, "D"), (MUTED, "v"), (INK, "P"))


@dataclass(frozen=True)
class Dot:
    """A run: its compute in FLOPs and its metric; hollow if it is not in the fit."""

    compute_flops: float
    value: float
    eligible: bool = True


@dataclass(frozen=True)
class Star:
    """A target: what was forecast for it, if anything, and what came."""

    compute_flops: float
    point: float | None
    interval95: tuple[float, float] | None
    observed: float | None


@dataclass(frozen=True)
class Curve:
    """Training loss by share of the run: forecast with its 95 % band, logged, and smoothed."""

    name: str
    fractions: Array
    loss: Array
    low: Array
    high: Array
    logged: tuple[Array, Array]
    smoothed: Array


def figure_one(
    dots: Sequence[Dot],
    law: Sequence[Forecast],
    stars: Sequence[Star],
    *,
    unit_flops: float,
    scale: str,
    metric: str,
) -> Figure:
    """Metric against normalised compute, after Figure 1 of the GPT-4 report."""
    figure, (axes,) = new(4.4)
    axes.set_xscale("log")
    draw_law(axes, law, unit_flops, ":", "forecast from the dots")
    names = {True: "small runs, one dot per seed", False: "not eligible, not fitted"}
    for eligible, name in names.items():
        some = [(d.compute_flops / unit_flops, d.value) for d in dots if d.eligible == eligible]
        draw_dots(axes, some, name, eligible)
    claimed = [s for s in stars if s.point is not None and s.interval95 is not None]
    for number, star in enumerate(claimed):
        assert star.point is not None and star.interval95 is not None
        axes.errorbar(
            [star.compute_flops / unit_flops],
            [star.point],
            yerr=_errors(star.point, star.interval95),
            fmt="_",
            color=FIT,
            markersize=17,
            markeredgewidth=1.8,
            capsize=4,
            label="registered forecast, 95 %" if number == 0 else None,
        )
    observed = [(s.compute_flops / unit_flops, s.observed) for s in stars if s.observed is not None]
    draw_stars(axes, observed)
    label(axes, scale, metric)
    compute_axis(axes)
    _flops_axis(axes, unit_flops)
    legend(axes, "upper right")
    return figure


def draw_law(
    axes: Axes, law: Sequence[Forecast], unit_flops: float, line: str, name: str
) -> list[float]:
    """Median and bands of those forecasts that have numbers; the last 95 % interval."""
    made = [(one.compute_flops / unit_flops, one.point, one.intervals)
            for one in law if one.point is not None and one.intervals is not None]  # fmt: skip
    if not made:
        return []
    x, points, intervals = zip(*made, strict=True)
    for level, alpha in ((95, 0.10), (80, 0.13), (50, 0.18)):
        low, high = zip(*(one[level] for one in intervals), strict=True)
        axes.fill_between(
            x, low, high, color=FIT, alpha=alpha, linewidth=0, label=f"{level} % interval"
        )
    axes.plot(x, points, line, color=FIT, linewidth=1.8, label=name)
    return [*intervals[-1][95]]


def backtest(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Error and z-score of every hidden rung against how far it was extrapolated."""
    figure, (left, right) = new(3.3, columns=2)
    cuts = sorted({row["rungs"] for row in rows})
    for number, cut in enumerate(cuts):
        colour, marker = _SERIES[number % len(_SERIES)]
        chosen = [row for row in rows if row["rungs"] == cut]
        x = [row["ratio"] for row in chosen]
        errors = [100 * (row["predicted"] / row["observed"] - 1) for row in chosen]
        spans = [196 * row["sd_log"] for row in chosen]
        left.errorbar(x, errors, yerr=spans, fmt=marker, color=colour, markersize=4.5, capsize=2,
                      elinewidth=0.8, label=f"{cut} rungs fitted")  # fmt: skip
        right.plot(x, [row["z"] for row in chosen], marker, color=colour, markersize=5)
    left.axhline(0, color=MUTED, linewidth=0.9)
    right.axhline(0, color=MUTED, linewidth=0.9)
    for bound in (-1.96, 1.96):
        right.axhline(bound, color=MUTED, linewidth=0.9, linestyle="--")
    top = max(2.6, *(1.15 * abs(row["z"]) for row in rows))
    right.set_ylim(-top, top)
    for axes in (left, right):
        axes.set_xscale("log")
        compute_axis(axes)
    far = "hidden compute / largest fitted"
    label(left, far, "predicted / observed \u2212 1, %", "Error with 1.96 predicted sd")
    label(right, far, "(observed \u2212 predicted) / sd", "z-scores (dashed: ±1.96)")
    legend(left)
    return figure


def law_in_force(
    slopes: Sequence[tuple[float, float, float]],
    outcome: Sequence[tuple[float, float, float]],
    gains: Sequence[Dot],
    target_gains: Sequence[Dot],
) -> Figure:
    """Local slopes (compute, slope, sd), of rungs and on to targets, above the copy gain."""
    figure, (top, bottom) = new(5.0, rows=2)
    for points, colour, marker, name in (
        (slopes, FIT, "o", "between neighbouring rungs"),
        (outcome, SEEN, "*", "on to the trained targets"),
    ):
        if points:
            x, y, sd = (np.array(column) for column in zip(*points, strict=True))
            top.errorbar(x, y, yerr=1.96 * sd, fmt=marker, color=colour, capsize=3, label=name,
                         markersize=9 if marker == "*" else 5)  # fmt: skip
    for dots, colour, marker, name in (
        (gains, FIT, "o", "rungs, one dot per seed"),
        (target_gains, SEEN, "*", "trained targets"),
    ):
        if dots:
            bottom.plot([d.compute_flops for d in dots], [d.value for d in dots], marker,
                        color=colour, alpha=0.75, label=name,
                        markersize=11 if marker == "*" else 5)  # fmt: skip
    everything = [point[0] for point in (*slopes, *outcome)]
    everything += [dot.compute_flops for dot in (*gains, *target_gains)]
    for axes in (top, bottom):
        axes.set_xscale("log")
        axes.set_xlim(min(everything) / 1.5, max(everything) * 1.5)
        flop_ticks(axes)
        legend(axes)
    label(top, "", "\u2212d ln(metric) / d ln(C)", "Log-log slope, bars: 1.96 sd of seed noise")
    label(bottom, "training FLOPs", "nats per token", "Gain from context on held-out code")
    return figure


def curves(items: Sequence[Curve]) -> Figure:
    """Forecast and logged training curve of each target, side by side."""
    figure, panels = new(3.4, columns=len(items))
    for axes, item in zip(panels, items, strict=True):
        steps, losses = item.logged
        axes.plot(steps, losses, color=SEEN, alpha=0.3, linewidth=0.6, label="logged steps")
        axes.fill_between(item.fractions, item.low, item.high, color=FIT, alpha=0.16, linewidth=0,
                          label="registered 95 % band")  # fmt: skip
        axes.plot(item.fractions, item.loss, ":", color=FIT, linewidth=1.8, label="registered")
        axes.plot(item.fractions, item.smoothed, "-", color=SEEN, linewidth=1.4, label="observed")
        inside = [item.low.min(), item.smoothed.min(), item.high.max(), item.smoothed.max()]
        pad = 0.06 * (max(inside) - min(inside))
        axes.set_ylim(min(inside) - pad, max(inside) + pad)
        label(axes, "share of the run", "training loss, nats per token", item.name)
    legend(panels[0], "upper right")
    return figure


def sources(series: Mapping[str, Sequence[Dot]], unit: str) -> Figure:
    """Loss of each source against compute; the last dots may be targets."""
    figure, (axes,) = new(3.2)
    axes.set_xscale("log")
    for number, (name, dots) in enumerate(series.items()):
        colour, marker = _SERIES[number % len(_SERIES)]
        axes.plot([d.compute_flops for d in dots], [d.value for d in dots], "-", color=colour,
                  linewidth=1.0, marker=marker, markersize=4.5, label=plain(name))  # fmt: skip
        for dot in dots:
            if not dot.eligible:
                axes.plot([dot.compute_flops], [dot.value], "*", color=colour, markersize=12)
    flop_ticks(axes)
    label(axes, "training FLOPs (stars: targets)", unit)
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure


def transfer(found: Transfer, names: Mapping[str, str]) -> Figure:
    """Loss against octaves of the learning rate, a panel per parametrisation, a line per width."""
    figure, panels = new(3.3, columns=len(found.sweeps))
    losses = [
        loss
        for widths in found.sweeps.values()
        for points in widths.values()
        for _, loss in points
        if loss is not None and math.isfinite(loss)
    ]
    # Runs near divergence would flatten the minima that the figure is about.
    limit = min(losses) + 3 * (float(np.median(losses)) - min(losses)) if losses else 1.0
    for axes, (kind, widths) in zip(panels, found.sweeps.items(), strict=True):
        for number, (width, points) in enumerate(sorted(widths.items(), key=by_width)):
            colour, marker = _SERIES[number % len(_SERIES)]
            drawn = [(octave, loss) for octave, loss in points if loss is not None]
            axes.plot([p[0] for p in drawn], [p[1] for p in drawn], "-", color=colour,
                      marker=marker, markersize=4.5, linewidth=1.1,
                      label=f"width {plain(width)}")  # fmt: skip
            best = found.optimum_octave.get(kind, {}).get(width)
            if best is not None:
                axes.axvline(best, color=colour, linewidth=1.2, linestyle=":")
        if losses and limit > min(losses):
            axes.set_ylim(min(losses) - 0.08 * (limit - min(losses)), limit)
        label(axes, "octaves from the reference rates", "held-out nats per token",
              names.get(kind, kind))  # fmt: skip
        legend(axes)
    return figure


def by_width(pair: tuple[str, Any]) -> float:
    """Sorts (width, anything) by width; what is no number comes last."""
    return float(pair[0]) if pair[0].isdigit() else math.inf


def pictures(seen: Sequence[Accuracy], removed: Sequence[Accuracy]) -> Figure:
    """Accuracy with 95 % intervals per family of questions, image shown and removed."""
    figure, (axes,) = new(1.2 + 0.42 * len(seen))
    rows = np.arange(len(seen), dtype=np.float64)[::-1]
    for answers, colour, marker, name, shift in (
        (seen, FIT, "o", "image shown", 0.13),
        (removed, SEEN, "s", "image removed", -0.13),
    ):
        by_family = {one.family: one for one in answers}
        for number, row in enumerate(rows):
            one = by_family.get(seen[number].family)
            if one is not None:
                axes.errorbar([one.accuracy], [row + shift],
                              xerr=_errors(one.accuracy, (one.low, one.high)),
                              fmt=marker, color=colour, markersize=5.5, capsize=2.5,
                              label=name if number == 0 else None)  # fmt: skip
    axes.plot([one.chance for one in seen], rows, "|", color=INK, markersize=15,
              markeredgewidth=1.6, label="chance")  # fmt: skip
    axes.set_yticks(rows)
    axes.set_yticklabels([plain(one.family) for one in seen], color=INK)
    axes.set_ylim(-0.6, len(seen) - 0.4)
    axes.set_xlim(0, 1.02)
    label(axes, "share answered rightly, bars: 95 % Wilson intervals")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8,
                labelcolor=INK)  # fmt: skip
    return figure


def draw_dots(
    axes: Axes, points: Sequence[tuple[float, float]], name: str, filled: bool = True
) -> None:
    """Runs at (compute, metric): filled if the law was fitted to them."""
    if points:
        many = len(points) > 100
        axes.plot(*zip(*points, strict=True), "o", color=INK,
                  markerfacecolor=INK if filled else PAPER, markersize=2.5 if many else 4.5,
                  alpha=0.4 if many else 0.6, label=name)  # fmt: skip


def draw_stars(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Targets at (compute, metric) as they came out."""
    if points:
        axes.plot(*zip(*points, strict=True), "*", color=SEEN, markersize=11, label="observed",
                  zorder=5)  # fmt: skip


def _errors(middle: float, pair: tuple[float, float]) -> Array:
    """Lengths of the two bars, (2, 1); a doctored interval that excludes its point has none."""
    lengths: Array = np.maximum(np.array([[middle - pair[0]], [pair[1] - middle]]), 0.0)
    return lengths


def compute_axis(axes: Axes) -> None:
    """A logarithmic scale of ratios, in plain numbers."""
    axes.xaxis.set_major_locator(LogLocator(numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _plain_minor(axes)


def _plain_minor(axes: Axes) -> None:
    """Over less than a decade and a half, 2 and 5 are labelled too: else one label is left."""
    low, high = axes.get_xlim()
    axes.xaxis.set_minor_formatter(NullFormatter())
    if high / low < 30:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))


def flop_ticks(axes: Axes) -> None:
    """A scale of FLOPs in powers of ten."""
    _powers_of_ten(axes.xaxis)


def _powers_of_ten(axis: Axis) -> None:
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"10{superscript(round(math.log10(value)))}")
    )
    axis.set_minor_formatter(NullFormatter())


def _flops_axis(axes: Axes, unit_flops: float) -> None:
    """A second scale above: the same axis in FLOPs."""
    scales = (lambda x: x * unit_flops), (lambda x: x / unit_flops)
    top = axes.secondary_xaxis("top", functions=scales)
    _powers_of_ten(top.xaxis)
    top.tick_params(which="both", colors=MUTED, labelsize=8)
    top.set_xlabel("training FLOPs", color=MUTED, fontsize=8)
    top.spines["top"].set_color(GRID)
