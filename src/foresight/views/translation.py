"""What `translate` shows on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foresight.evals.translation import NAMED, Translated


@contextmanager
def translating(console: Console, language: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over the texts."""
    bars = Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    bar = bars.add_task(f"texts in {language}", total=None)
    with bars:
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def show_translation(console: Console, found: Translated) -> None:
    lines = [f"{found.items} items, {found.texts} texts translated: {found.task}"]
    if found.unchanged:
        named = "; ".join(repr(one[:60]) for one in found.unchanged[:NAMED])
        lines.append(f"  {len(found.unchanged)} came back as they were: {named}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
