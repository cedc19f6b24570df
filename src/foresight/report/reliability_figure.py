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
    Options,
    PairedStudy,
    Reliability,
    Study,
    paired_study,
    study,
)
from foresight.evals.journal import read_records
from foresight.evals.picture_questions import SEEN
from foresight.evals.record import Record
from foresight.report.blocks import Fold, Note, Picture, Section, Table, render
from foresight.report.canvas import FIT, INK, MUTED, PAPER, Drawing, files, inline, label, new
from foresight.report.words import NONE, minus, number, percent, plural

TITLE = "Figure 8: are the probabilities right?"
_OPTIONS: dict[Options, str] = {"all": "all options", "top": "likeliest option"}
_BINNINGS = {"width": "equal width", "mass": "equal numbers"}


def figure_eight(studies: Sequence[Study]) -> Figure:
    """A column per model, above all options and below the likeliest; of one model a row. The
    numbers along the top say how many options each bin of equal width holds."""
    paired = len(studies) > 1
    figure, panels = new(7.2 if paired else 3.8, rows=1 + paired, columns=2)
    shown = [(one, options) for options in _OPTIONS for one in studies]
    for at, (axes, (one, options)) in enumerate(zip(panels, shown, strict=True)):
        _panel(axes, one, options)
        label(
            axes,
            "confidence" if at >= len(panels) - 2 else "",
            "share right" if at % 2 == 0 else "",
            f"{one.model}: {_OPTIONS[options]}",
        )
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=8,
                  labelcolor=INK)  # fmt: skip
    return figure


def _panel(axes: Axes, one: Study, options: Options) -> None:
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=0.9)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.14)
    width = one.calibration.view(options, "width")
    _dots(axes, one.calibration.view(options, "mass"), MUTED, PAPER, "s")
    _dots(axes, width, FIT, FIT, "o")
    for found in width.bins:
        text = str(found.n) if found.n < 10_000 else f"{found.n / 1000:.0f}k"
        axes.text((found.low + found.high) / 2, 1.07, text, color=INK, fontsize=6.5, ha="center")
    text = f"ECE {_error(width)}"
    if one.scaled is not None and one.temperature is not None:
        after = _error(one.scaled.view(options, "width"))
        text += f"\nat temperature {one.temperature.value:.2f}: {after}"
    axes.text(0.98, 0.02, text, transform=axes.transAxes, color=INK, fontsize=7.5, ha="right")


def _dots(axes: Axes, found: Reliability, colour: str, fill: str, marker: str) -> None:
    shares = [one.right for one in found.bins]
    # One cluster tells no error: no bar.
    below = [0.0 if one.low is None else max(one.mean - one.low, 0.0) for one in shares]
    above = [0.0 if one.high is None else max(one.high - one.mean, 0.0) for one in shares]
    axes.errorbar(
        [one.confidence for one in found.bins], [one.mean for one in shares], yerr=[below, above],
        fmt=marker, color=colour, markerfacecolor=fill, markersize=4, capsize=2, elinewidth=0.8,
        label=f"bins of {_BINNINGS[found.binning]}, 95 %",
    )  # fmt: skip


def figure_files(found: Study | PairedStudy) -> tuple[str, bytes]:
    """Figure 8 on white: text of an SVG file, bytes of a PNG file."""
    return files(calibration_section(found)[1], "figure8")


def calibration_section(
    found: Study | PairedStudy, anchor: str = "figure-8", title: str = TITLE
) -> tuple[Section, Figure]:
    """The chapter with Figure 8 and its numbers, and the drawing itself."""
    studies = _studies(found)
    figure = figure_eight(studies)
    asked = "; ".join(
        f"{plural(one.calibration.items, 'question')} of {one.task} put to {one.model}"
        for one in studies
    )
    caption = (
        f"Share right against confidence (softmax of the options' log-probabilities): {asked}. "
        f"Numbers along the top: options in each bin of equal width. ECE: expected calibration "
        f"error without what chance adds, with its 95 % interval; at a temperature: each half of "
        f"the questions scaled by what is best for the other."
    )
    picture = Picture(Drawing(inline(figure, anchor, title, caption), caption))
    bins = [_bins(one, view) for one in studies for view in one.calibration.views]
    return Section(anchor, title, [picture, *calibration_tables(found), Fold("Bins", bins)]), figure


def calibration_tables(found: Study | PairedStudy) -> list[Table]:
    """What was measured, the errors, and their changes between two models."""
    studies = _studies(found)
    task = studies[0].task
    tables = [_measured(task, studies), _errors(task, studies)]
    if isinstance(found, PairedStudy):
        first, second = found.studies
        rows = [
            [_name(view), minus(f"{one.difference:+.4f}"), _span(one.low, one.high)]
            for view, one in zip(first.calibration.views, found.changes, strict=True)
        ]
        title = f"{task}: change of the error on the same questions, {first.model} to "
        tables.append(Table(title + second.model, ["options, bins", "change", "95 %"], rows))
    return tables


def _measured(task: str, studies: Sequence[Study]) -> Table:
    rows = []
    for one in studies:
        found, best = one.calibration, one.temperature
        rows.append(
            [one.model, f"{found.items:,}", f"{found.options:,}", f"{found.clusters:,}",
             f"{one.left_out:,}", percent(found.accuracy.mean),
             _span(found.accuracy.low, found.accuracy.high),
             "none" if best is None else f"{best.value:.3f}",
             NONE if best is None else _span(best.low, best.high)]
        )  # fmt: skip
    columns = ["model", "items", "options", "clusters", "left out", "accuracy", "95 %",
               "best temperature", "95 %"]  # fmt: skip
    return Table(f"{task}: answers by log-probability", columns, rows)


def _errors(task: str, studies: Sequence[Study]) -> Table:
    rows = []
    for one in studies:
        scaled = [NONE] * len(VIEWS) if one.scaled is None else map(_error, one.scaled.views)
        for view, after in zip(one.calibration.views, scaled, strict=True):
            error = view.error
            rows.append(
                [f"{one.model}: {_name(view)}", f"{error.plug_in:.4f}", f"{error.debiased:.4f}",
                 _span(error.low, error.high), after]
            )  # fmt: skip
    columns = ["options, bins", "as read", "debiased", "95 %", "at the best temperature"]
    return Table(f"{task}: expected calibration error", columns, rows)


def _bins(one: Study, view: Reliability) -> Table:
    rows = [
        [f"{found.low:.3g} to {found.high:.3g}", f"{found.n:,}", number(found.confidence, 3),
         number(found.right.mean, 3), _span(found.right.low, found.right.high)]
        for found in view.bins
    ]  # fmt: skip
    columns = ["bin", "n", "mean confidence", "share right", "95 %"]
    return Table(f"{one.task}, {one.model}: {_name(view)}", columns, rows)


def _studies(found: Study | PairedStudy) -> tuple[Study, ...]:
    return found.studies if isinstance(found, PairedStudy) else (found,)


def _name(view: Reliability) -> str:
    return f"{_OPTIONS[view.options]}, {_BINNINGS[view.binning]}"


def _error(view: Reliability) -> str:
    error = view.error
    span = _span(error.low, error.high, 3)
    return f"{error.debiased:.3f}" + ("" if span == NONE else f" [{span}]")


def _span(low: float | None, high: float | None, places: int = 4) -> str:
    if low is None or high is None:
        return NONE
    return minus(f"{low:.{places}f} to {high:.{places}f}")


def calibration_page(found: Sequence[Study | PairedStudy]) -> str:
    """A self-contained page with a chapter per task."""
    chapters = [
        calibration_section(one, f"figure-8-{at}", _studies(one)[0].task)[0]
        for at, one in enumerate(found)
    ]
    return render("Calibration", "Are the probabilities of choices right?", chapters)


def calibration_chapter(evals: Path) -> tuple[Section, str, Figure | None]:
    """(chapter, name of the figure's files, the figure) of the picture questions in an experiment's
    `evals`: the target's, beside those of a smaller run if `evals/RUN/pictures` holds them. What
    is not there or not readable is said in a sentence."""
    try:
        folders = [evals / SEEN, *sorted(evals.glob(f"*/{SEEN}"))]
        sets = [_records(folder) for folder in folders]
        held = [rows for rows in sets if any(one.choice_logprobs for one in rows)]
        if held:
            found = study(held[0]) if len(held) == 1 else paired_study(held[1], held[0])
            section, figure = calibration_section(found)
            return section, "figure8", figure
        note = Note("No picture questions were asked: there are no probabilities to judge.", "open")
    except UserError as error:
        note = Note(str(error), "bad")
    return Section("figure-8", TITLE, [note]), "figure8", None


def _records(folder: Path) -> list[Record]:
    return read_records(folder) if (folder / "records.jsonl").exists() else []
