"""What was brought in from other frameworks."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from foresight.views import _table


def show_imported(console: Console, value: dict[str, Any]) -> None:
    rows = [
        [
            one["task"],
            one["filter"],
            one["metric"],
            str(one["records"]),
            f"{one['mean']:.4f}",
            "" if one["stated"] is None else f"{one['stated']:.4f}",
            "" if one["unpaired"] is None else str(one["unpaired"]),
        ]
        for one in value["runs"]
    ]
    columns = ["task", "filter", "metric", "records", "mean", "stated", "unpaired"]
    _table(console, f"Records in {value['to']}", columns, rows)
    for one in value["runs"]:
        if not one["agrees"]:
            console.print(
                f"[yellow]{one['task']}: the mean of the samples is not what the results file "
                f"states[/yellow]"
            )
