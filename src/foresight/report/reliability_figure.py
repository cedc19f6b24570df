"""Figure 8: reliability of the probabilities of choices, models side by side.

After Figure 8 of the GPT-4 report, with the intervals and the numbers that it does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foresight.errors import UserError
from foresight.evals.calibration import (
    VIEWS,
    Binning,
    Options,
    PairedStudy,
    Reliability,
    Study,
    paired_study,
    study,
)
from foresight.evals.journal import read_records
from foresight.evals.norm import NormEstimate
from foresight.evals.picture_questions import SEEN
from foresight.evals.record import Record
from foresight.report.blocks import Block, Fold, Note, Picture, Section, Table, render
from foresight.report.canvas import (
    FIT,
    GRID,
    INK,
    MUTED,
    PAPER,
    Drawing,
    files,
    inline,
    label,
    legend,
    new,
)
from foresight.report.words import NONE, number, percent, plural, signed

TITLE = "Figure 8: are the probabilities right?"
VIEW_NAMES: dict[tuple[Options, Binning], str] = {
    ("all", "width"): "all options, equal width",
    ("top", "width"): "likeliest option, equal width",
    ("all", "mass"): "all options, equal numbers",
    ("top", "mass"): "likeliest option, equal numbers",
}
_PANELS: tuple[tuple[Options, str], ...] = (("all", "all options"), ("top", "likeliest option"))


def error_words(error: NormEstimate) -> str:
    """The debiased error with its interval."""
    if error.low is None or error.high is None:
        return f"{error.debiased:.3f}"
    return f"{error.debiased:.3f} [{error.low:.3f}, {error.high:.3f}]"


def figure_eight(studies: Sequence[Study]) -> Figure:
    """A column per model; above all options, below the likeliest. Numbers along the top: how many
    options each bin of equal width holds."""
    figure, panels = new(7.0, rows=2, columns=len(studies), width=3.6 * max(len(studies), 1.4))
    for at, (options, name) in enumerate(_PANELS):
        for column, one in enumerate(studies):
            axes = panels[at * len(studies) + column]
            _panel(axes, one, options)
            label(
                axes,
                "confidence" if at else "",
                "share right" if column == 0 else "",
                f"{one.model}: {name}",
            )
    legend(panels[0], "upper left")
    return figure


def _panel(axes: Axes, one: Study, options: Options) -> None:
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=0.9)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.14)
    width = one.calibration.view(options, "width")
    _dots(axes, one.calibration.view(options, "mass"), MUTED, PAPER, "s", "bins of equal numbers")
    _dots(axes, width, FIT, FIT, "o", "bins of equal width, 95 %")
    for found in width.bins:
        axes.text((found.low + found.high) / 2, 1.06, _short(found.n), color=INK, fontsize=6.5,
                  ha="center", va="center")  # fmt: skip
    axes.axhline(1.0, color=GRID, linewidth=0.6)
    text = f"ECE {error_words(width.error)}"
    if one.scaled is not None and one.temperature is not None:
        after = one.scaled.view(options, "width").error
        text += f"\nscaled, T = {one.temperature.value:.2f}: {error_words(after)}"
    axes.text(0.98, 0.02, text, transform=axes.transAxes, color=INK, fontsize=7.5, ha="right")


def _dots(axes: Axes, found: Reliability, colour: str, fill: str, marker: str, name: str) -> None:
    means = [one.right.mean for one in found.bins]
    # One cluster tells no error: no bar.
    lows = [one.right.mean if one.right.low is None else one.right.low for one in found.bins]
    highs = [one.right.mean if one.right.high is None else one.right.high for one in found.bins]
    axes.errorbar(
        [one.confidence for one in found.bins],
        means,
        yerr=[
            [max(mean - low, 0.0) for mean, low in zip(means, lows, strict=True)],
            [max(high - mean, 0.0) for mean, high in zip(means, highs, strict=True)],
        ],
        fmt=marker, color=colour, markerfacecolor=fill, markersize=4, capsize=2, elinewidth=0.8,
        label=name,
    )  # fmt: skip


def _short(n: int) -> str:
    return str(n) if n < 10_000 else f"{n / 1000:.0f}k"


def reliability_files(found: Study | PairedStudy) -> tuple[str, bytes]:
    """Figure 8 on white: text of an SVG file, bytes of a PNG file."""
    section = calibration_section(found)
    return files(section[1], "figure8")


def calibration_section(
    found: Study | PairedStudy, anchor: str = "figure-8", title: str = TITLE
) -> tuple[Section, Figure]:
    """The chapter with Figure 8 and its numbers, and the drawing itself."""
    studies = found.studies if isinstance(found, PairedStudy) else (found,)
    figure = figure_eight(studies)
    caption = (
        "Share right against confidence, the softmax of the options' log-probabilities, on "
        + "; ".join(
            f"{plural(one.calibration.items, 'question')} of {one.task} ({one.model}, accuracy "
            f"{percent(one.calibration.accuracy.mean)})"
            for one in studies
        )
        + ". Bars: 95 % intervals of the share; the numbers along the top: options in each bin of "
        "equal width. ECE: expected calibration error, without what chance adds, and its 95 % "
        "interval; scaled: each half of the questions by what is best for the other."
    )
    drawing = Drawing(inline(figure, anchor, title, caption), caption)
    blocks: list[Block] = [Picture(drawing), _errors(studies)]
    if isinstance(found, PairedStudy):
        blocks.append(_changes(found))
    blocks.append(
        Fold("The bins", [_bins(one, options) for one in studies for options, _ in _PANELS])
    )
    return Section(anchor, title, blocks), figure


def _errors(studies: Sequence[Study]) -> Table:
    rows = []
    for one in studies:
        for at, view in enumerate(one.calibration.views):
            scaled = NONE if one.scaled is None else error_words(one.scaled.views[at].error)
            name = f"{one.model}: {VIEW_NAMES[VIEWS[at]]}"
            rows.append([name, number(view.error.plug_in, 3), error_words(view.error), scaled])
    columns = ["options, bins", "as read", "debiased, 95 %", "after scaling, 95 %"]
    return Table("Expected calibration error", columns, rows)


def _changes(found: PairedStudy) -> Table:
    first, second = found.studies
    rows = [
        [VIEW_NAMES[view], signed(one.difference, 3),
         NONE if one.low is None or one.high is None
         else f"[{signed(one.low, 3)}, {signed(one.high, 3)}]"]
        for view, one in zip(VIEWS, found.changes, strict=True)
    ]  # fmt: skip
    title = f"Change of the error on the same questions: {second.model} less {first.model}"
    return Table(title, ["options, bins", "change", "95 %"], rows)


def _bins(one: Study, options: Options) -> Table:
    rows = [
        [f"{found.low:.1f} to {found.high:.1f}", f"{found.n:,}", number(found.confidence, 3),
         number(found.right.mean, 3),
         NONE if found.right.low is None or found.right.high is None
         else f"[{number(found.right.low, 3)}, {number(found.right.high, 3)}]"]
        for found in one.calibration.view(options, "width").bins
    ]  # fmt: skip
    columns = ["bin", "n", "mean confidence", "share right", "95 %"]
    return Table(f"{one.task}, {one.model}: {dict(_PANELS)[options]}", columns, rows)


def calibration_page(found: Sequence[Study | PairedStudy]) -> str:
    """A self-contained page with a chapter per task."""
    chapters = []
    for at, one in enumerate(found):
        task = one.studies[0].task if isinstance(one, PairedStudy) else one.task
        chapters.append(calibration_section(one, f"figure-8-{at}", task)[0])
    return render("Calibration", "Are the probabilities of choices right?", chapters)


def calibration_chapter(evals: Path) -> tuple[Section, str, Figure | None]:
    """(chapter, name of the figure's files, the figure) of the picture questions in an experiment's
    `evals`: the target's, beside those of a smaller run if DIR/<run>/pictures holds them. What is
    not there or not readable is said in a sentence."""
    anchor, name = "figure-8", "figure8"
    try:
        sets = [_records(evals / SEEN), *map(_records, sorted(evals.glob(f"*/{SEEN}")))]
        held = [rows for rows in sets if any(one.choice_logprobs for one in rows)]
        if not held:
            text = "No picture questions were asked: there are no probabilities to hold to account."
            return Section(anchor, TITLE, [Note(text, "open")]), name, None
        found = study(held[0]) if len(held) == 1 else paired_study(held[1], held[0])
        section, figure = calibration_section(found)
        return section, name, figure
    except UserError as error:
        return Section(anchor, TITLE, [Note(str(error), "bad")]), name, None


def _records(folder: Path) -> list[Record]:
    return read_records(folder) if (folder / "records.jsonl").exists() else []
