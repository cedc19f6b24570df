"""What the commands show on a terminal: tables, lines, progress bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table as Grid

if TYPE_CHECKING:
    from foresight.report.blocks import Table


class Counting(Protocol):
    """Is told how much is done, and of how much (None: as before)."""

    def __call__(self, done: int, of: int | None = None, /) -> None: ...


def show_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    grid = Grid(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def show_rows(console: Console, title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """A table of rows that name their columns; nothing where there are none."""
    if rows:
        show_table(console, title, list(rows[0]), [list(row.values()) for row in rows])


def show(console: Console, *tables: Table) -> None:
    """Tables of a page."""
    for table in tables:
        show_table(console, table.caption, table.columns, table.rows)


def say(console: Console, *lines: str, style: str | None = None) -> None:
    """Lines as they stand: brackets and numbers in them mean nothing to the terminal."""
    for line in lines:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def progress(console: Console, *columns: ProgressColumn) -> Progress:
    """Bars that go when they are done."""
    described = TextColumn("  {task.description}")
    return Progress(described, BarColumn(), *columns, console=console, transient=True)


@contextmanager
def counting(
    console: Console, what: str, *columns: ProgressColumn, total: float | None = None
) -> Iterator[Counting]:
    """A bar over what is counted."""
    bars = progress(console, *columns)
    bar = bars.add_task(what, total=total)
    with bars:

        def watch(done: int, of: int | None = None) -> None:
            bars.update(bar, completed=done, total=of)

        yield watch


def between(
    low: float | None,
    high: float | None,
    form: str = ".3f",
    scale: float = 1.0,
    to: str = " to ",
) -> str:
    """An interval, its ends multiplied by `scale`; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"{scale * low:{form}}{to}{scale * high:{form}}"
