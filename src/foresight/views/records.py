"""What `view` shows on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn


@contextmanager
def reading(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the record files."""
    bar = Progress(
        TextColumn("reading records"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def show_viewer(console: Console, value: Mapping[str, Any]) -> None:
    """Notes, what was read, and where to look; `value` is what `--json` prints."""
    lines = [f"note: {note}" for note in value["notes"]]
    models, tasks = ", ".join(value["models"]), ", ".join(value["tasks"])
    lines.append(f"{value['records']:,} records in {value['seconds']:.1f} s: {tasks}; {models}")
    if "page" in value:
        lines.append(f"wrote {value['page']} with {value['embedded']:,} of them")
    else:
        lines.append(f"{value['url']}  (Ctrl-C ends)")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
