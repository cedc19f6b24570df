"""What the demo shows of suites on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from foresight.evals.suite_forecast import INVERSE, evidence_of
from foresight.report.capability_figure import CapabilityData
from foresight.views import _table


@contextmanager
def asking(console: Console, what: str = "runs asked") -> Iterator[Callable[[int, int], None]]:
    """A bar over what is asked: by default the runs that suites are put to."""
    bars = Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    bar = bars.add_task(what, total=None)

    def watch(done: int, total: int) -> None:
        bars.update(bar, completed=done, total=total)

    with bars:
        yield watch


def show_suites(console: Console, directory: Path, suites: Sequence[str]) -> None:
    """Predicted and observed mean log pass rates by bucket."""
    for name in suites:
        path = evidence_of(directory, name)
        if name == INVERSE or not path.exists():
            continue
        data = CapabilityData.read(path)
        _table(
            console,
            f"{data.metric} of {data.target.run}, suite of {name} ({data.verdict})",
            ["group", "problems", "predicted", "95 %", "observed", "inside"],
            [
                [
                    one.name,
                    str(len(one.problems)),
                    f"{one.forecast.point:.3f}",
                    "{:.3f} to {:.3f}".format(*one.forecast.intervals["95"]),
                    "" if one.observed is None else f"{one.observed:.3f}",
                    {None: "", True: "yes", False: "no"}[one.inside],
                ]
                for one in data.groups
            ],
        )
