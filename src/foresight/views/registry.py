"""What `register` and `scoreboard` show on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from foresight.views import _table

if TYPE_CHECKING:
    from foresight.forecast import Registration


def show_registration(console: Console, made: Registration) -> None:
    record = made.record
    forecast = record["forecast"]
    bands = ", ".join(
        f"{level} % [{low:.5g}, {high:.5g}]" for level, (low, high) in forecast["intervals"].items()
    )
    lines = (
        f"prediction ({made.kind}): {record['metric']} of {record['target']['run']} = "
        f"{forecast['point']:.5g}, {bands}",
        record["falsification"]["text"],
        f"{made.path}  SHA-256 {made.sha256}",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_totals(console: Console, totals: Sequence[Mapping[str, Any]]) -> None:
    levels = ["50", "80", "95"]
    rows = []
    for one in totals:
        error = one["mean_error_in_sd"]
        cells = [one["kind"], str(one["predictions"]), str(one["outcomes"])]
        cells.append("" if error is None else f"{error:.2f}")
        for level in levels:
            share = one["coverage"][level]
            band = share["wilson95"]
            cells.append(
                ""
                if band is None
                else f"{share['inside']} of {share['n']} [{band[0]:.2f}, {band[1]:.2f}]"
            )
        rows.append(cells)
    columns = ["kind", "predictions", "outcomes", "mean |error| / sd"]
    columns += [f"inside {level} %" for level in levels]
    title = "Coverage by kind; in brackets the 95 % Wilson interval of the share"
    _table(console, title, columns, rows)


def show_board(console: Console, board: Mapping[str, Any], page: Path) -> None:
    show_totals(console, board["totals"])
    for failure in board["failures"]:
        text = f"{failure['directory']}/{failure['file']}: {failure['message']}"
        console.print(f"  {failure['check']} {text}", style="red", markup=False)
    console.print(f"wrote {page}", markup=False, highlight=False)
