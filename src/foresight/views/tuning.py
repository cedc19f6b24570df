"""What post-training shows while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining

from foresight.posttrain.reward_audit import Audit
from foresight.views import show_table

_SHOWN = ("loss", "accuracy", "reward", "kl", "beta", "ended")


@contextmanager
def tuning(console: Console, name: str) -> Iterator[Callable[[int, dict[str, Any]], None]]:
    """A bar of steps with rate, time left and the figures that matter."""
    with tuning_stages(console) as watch:
        yield lambda steps, row: watch(name, steps, row)


@contextmanager
def tuning_stages(console: Console) -> Iterator[Callable[[str, int, dict[str, Any]], None]]:
    """Such a bar for each stage, once it begins."""
    bars = Progress(TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(),
                    Elapsed(), Remaining(), console=console, transient=True)  # fmt: skip
    known: dict[str, TaskID] = {}

    def watch(name: str, steps: int, row: dict[str, Any]) -> None:
        told = "  ".join(f"{key} {row[key]:.3f}" for key in _SHOWN if key in row)
        if name not in known:
            known[name] = bars.add_task(name, total=steps)
        done, described = row["step"], f"{name}  {told}"
        bars.update(known[name], completed=done, description=described)

    with bars:
        yield watch


def show_tuned(console: Console, path: Path, result: Mapping[str, Any]) -> None:
    """A run's figures, one a row."""
    last = {key: value for key, value in result["last"].items() if isinstance(value, float)}
    rows = [[key, f"{value:.4g}"] for key, value in last.items()]
    show_table(console, f"{path.name}: step {result['steps']}", ["figure", "last step"], rows)
    if report := result.get("report"):
        accuracy = report["accuracy"]
        console.print(
            f"held-out pairs: accuracy {accuracy['mean']:.3f} "
            f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}], "
            f"calibration error {report['calibration_error']:.3f}, n = {accuracy['n']}"
        )
    console.print(f"run in {path}", soft_wrap=True)


def show_audit(console: Console, audit: Audit) -> None:
    """Mean reward of each class, before anything is tuned."""
    rows = [
        [one.prompt_set, one.label, "" if one.mean is None else f"{one.mean:.2f}", str(one.n)]
        for one in audit.means
    ]
    show_table(console, "Composed reward by class, best first", ["set", "class", "mean", "n"], rows)
