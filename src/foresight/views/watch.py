"""A live run on the terminal and as a figure."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from foresight.forecast.training_log import TrainingLog
from foresight.forecast.watch import Alarm, Look, Watch
from foresight.views import say, show_rows

_POLL_SECONDS = 1.0


def follow_run(console: Console, watch: Watch, path: Path, total: int | None, go_on: bool) -> Look:
    """One look at a log, or with `go_on` one after each growth until the run ends or Ctrl-C.

    Raises UserError if there is nothing to read and nobody waits for it.
    """
    if not go_on:
        return watch.look(TrainingLog.read(path, total))
    log = TrainingLog(path, total)
    look: Look | None = None
    with Live(Text(f"waiting for {path}"), console=console, transient=True) as live:
        try:
            while look is None or look.state in ("running", "waiting"):
                if (path.exists() and log.poll()) or look is None:
                    look = watch.look(log)
                    live.update(_live(look))
                else:
                    time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            if look is None:
                raise
    assert look is not None
    return look


def _live(look: Look) -> Group:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    bar.add_task(
        f"step {look.step:,} of {look.total:,}", total=100, completed=round(100 * look.fraction)
    )
    lines = [Text(line) for line in _numbers(look)]
    return Group(bar, *lines, *(Text(_said(alarm), "bold red") for alarm in look.alarms))


def _numbers(look: Look) -> list[str]:
    lines = []
    if look.loss is not None and look.sigma is not None:
        lines.append(
            f"loss {look.loss:.4f}, expected {look.expected:.4f} "
            f"[{look.low:.4f}, {look.high:.4f}], {look.sigma:+.1f} sd"
        )
    if look.reforecast is not None:
        low, high = look.reforecast.intervals["95"]
        point, least, most = look.reforecast.before
        lines.append(
            f"final training loss, forecast in flight: {look.reforecast.point:.4f} "
            f"[{low:.4f}, {high:.4f}]; before the run {point:.4f} [{least:.4f}, {most:.4f}]"
        )
    return lines


def _said(alarm: Alarm) -> str:
    size = ""
    if alarm.sigma is not None:
        size = f", {alarm.sigma:+.1f} sigma (limit {alarm.threshold:.1f})"
    return f"{alarm.kind} at step {alarm.step:,} ({100 * alarm.fraction:.0f} %){size}: {alarm.text}"


def show_look(console: Console, look: Look) -> None:
    rows = []
    # Every tenth of the run is enough to read.
    for tenth in range(1, 11):
        point = next(p for p in look.curve if (p["fraction"] or 0) >= tenth / 10 - 1e-9)
        if point["loss"] is not None:
            names = {"loss": "loss", "expected": "expected", "low": "95 % low", "high": "high"}
            cells = {name: f"{point[key]:.4f}" for key, name in names.items()}
            rows.append({"of the run": f"{point['fraction']:.0%}", **cells})
    title = f"{look.state}, step {look.step:,} of {look.total:,}"
    show_rows(console, title, rows)
    if not rows:
        say(console, title)
    say(console, *_numbers(look))
    for alarm in look.alarms:
        console.print(f"[bold red]alarm[/bold red] {_said(alarm)}", highlight=False)
    if look.skipped_lines:
        console.print(f"[dim]{look.skipped_lines} lines of the log were no records[/dim]")
    if not look.alarms:
        console.print(
            f"[green]no alarm[/green] (under {100 * look.false_alarm_rate:.1f} % of clean runs "
            f"raise one)"
        )


def draw(look: Look, path: Path) -> None:
    """The curve so far in its band. Raises UserError unless `path` ends in .svg or .png."""
    from foresight.report import canvas

    figure, (axes,) = canvas.new(3.4)
    x, expected, low, high, loss = (
        np.array([point[key] for point in look.curve], dtype=np.float64)
        for key in ("fraction", "expected", "low", "high", "loss")
    )
    axes.fill_between(x, low, high, color=canvas.FIT, alpha=0.15, linewidth=0,
                      label="95 % band before the run")  # fmt: skip
    axes.plot(x, expected, color=canvas.FIT, linewidth=1.1, label="expected")
    axes.plot(x, loss, color=canvas.INK, linewidth=1.2, label="this run")
    if look.reforecast is not None:
        point, (least, most) = look.reforecast.point, look.reforecast.intervals["95"]
        axes.errorbar([1.0], [point], yerr=[[point - least], [most - point]], fmt="o",
                      color=canvas.SECOND, markersize=4, capsize=3,
                      label="final loss, in flight")  # fmt: skip
    for alarm in look.alarms:
        axes.axvline(alarm.fraction, color=canvas.SEEN, linewidth=1.1, linestyle=":",
                     label=f"alarm: {alarm.kind}")  # fmt: skip
    canvas.label(axes, "fraction of the run", "training loss")
    canvas.legend(axes, "upper right")
    canvas.write(figure, path, "watch")
