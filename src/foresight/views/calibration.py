"""What `calibration` shows on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from foresight.evals.calibration import VIEWS, PairedStudy, Study
from foresight.report.reliability_figure import VIEW_NAMES, error_words
from foresight.views import _table


def show_calibration(
    console: Console, found: Sequence[Study | PairedStudy], out: Path | None
) -> None:
    for one in found:
        if isinstance(one, Study):
            _show(console, one)
        else:
            for study in one.studies:
                _show(console, study)
            rows = [
                [VIEW_NAMES[view], *_change(change.difference, change.low, change.high)]
                for view, change in zip(VIEWS, one.changes, strict=True)
            ]
            first, second = one.studies
            title = f"{second.task}: {second.model} less {first.model}"
            _table(console, title, ["options, bins", "change of ECE", "95 %"], rows)
    if out is not None:
        console.print(f"wrote {out}", markup=False, highlight=False, soft_wrap=True)


def _show(console: Console, study: Study) -> None:
    found = study.calibration
    rows = []
    for at, view in enumerate(found.views):
        error = view.error
        scaled = "" if study.scaled is None else error_words(study.scaled.views[at].error)
        rows.append(
            [VIEW_NAMES[VIEWS[at]], f"{error.plug_in:.4f}", f"{error.debiased:.4f}",
             _span(error.low, error.high), scaled]
        )  # fmt: skip
    columns = ["options, bins", "ECE as read", "debiased", "95 %", "after scaling"]
    _table(console, f"{study.task}: {study.model}", columns, rows)
    accuracy = found.accuracy
    lines = [
        f"{found.items:,} items in {found.clusters:,} clusters, {found.options:,} options; "
        f"accuracy {accuracy.mean:.4f}, 95 % {_span(accuracy.low, accuracy.high)}"
    ]
    if study.temperature is None:
        lines.append("no temperature is best: the log-probabilities tell nothing, or everything")
    else:
        one = study.temperature
        lines.append(
            f"best temperature {one.value:.3f}, 95 % {_span(one.low, one.high)}; after scaling: "
            f"each half of the items by what is best for the other"
        )
    if study.left_out:
        lines.append(f"{study.left_out:,} records without score or log-probabilities: left out")
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False)


def _change(difference: float, low: float | None, high: float | None) -> list[str]:
    return [
        f"{difference:+.4f}",
        "" if low is None or high is None else f"{low:+.4f} to {high:+.4f}",
    ]


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
