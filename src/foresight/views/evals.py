"""What `eval` and `compare` show on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from foresight.evals.calibration import Calibration
from foresight.evals.compare import Comparison
from foresight.evals.record import Record
from foresight.evals.runner import Progress
from foresight.evals.statistics import Estimate
from foresight.evals.summary import Summary, disagreement
from foresight.evals.task import Task
from foresight.views import _table


@contextmanager
def running(console: Console, name: str) -> Iterator[Callable[[Progress], None]]:
    """A bar with rate, time left and running score."""
    bars = Bars(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    bar = bars.add_task(name, total=None, rate="")
    begun, shown = time.monotonic(), 0.0

    def watch(now: Progress) -> None:
        nonlocal shown
        moment = time.monotonic()
        # Ten times a second is enough; drawing would cost more than scoring.
        if moment - shown < 0.1 and now.done < now.total:
            return
        shown = moment
        rate = f"{(now.done - now.kept) / max(moment - begun, 1e-9):.1f}/s"
        score = "" if now.mean is None else f"  score {now.mean:.3f}"
        bars.update(bar, total=now.total, completed=now.done, description=name + score, rate=rate)

    with bars:
        yield watch


def warnings(tasks: Sequence[Task], records: Sequence[Sequence[Record]]) -> list[str]:
    """Where tasks ask the same questions by log-probability and by generation, and the scores
    disagree. Few-shot examples may take some questions from one of them."""
    asked = [{(item.id, item.text, item.choices) for item in task.items} for task in tasks]
    told = []
    for at, (task, rows) in enumerate(zip(tasks, records, strict=True)):
        for other in range(at + 1, len(tasks)):
            ways = {type(one.protocol).__name__ for one in (task, tasks[other])}
            same = 2 * len(asked[at] & asked[other]) > len(asked[at])
            if ways == {"ChoiceLogprob", "ChoiceGenerate"} and same:
                told.append(disagreement(rows, records[other]))
    return [one for one in told if one]


def show_evaluation(
    console: Console, found: Sequence[tuple[Task, Summary]], told: Sequence[str], folder: Path
) -> None:
    rows = []
    for _, one in found:
        rows.append([
            one.task,
            "" if one.score is None else f"{one.score.mean:.4f}",
            _interval(one.score),
            str(one.score.n if one.score else 0),
            str(one.unscored),
            "" if one.invalid_format_rate is None else f"{100 * one.invalid_format_rate:.1f} %",
            "" if one.calibration is None else _error(one.calibration),
        ])  # fmt: skip
    columns = ["task", "score", "95 %", "n", "no score", "bad format", "ECE"]
    _table(console, f"Scores of {found[0][1].model}", columns, rows)
    for task, one in found:
        console.print(f"  {one.task}: SHA-256 {task.hash}", markup=False, highlight=False)
        _show_details(console, one)
    for warning in told:
        console.print(f"  warning: {warning}", style="yellow", markup=False)
    console.print(f"records in {folder}", markup=False, highlight=False, soft_wrap=True)


def _error(calibration: Calibration) -> str:
    return f"{calibration.view('all', 'width').error.debiased:.3f}"


def _show_details(console: Console, one: Summary) -> None:
    lines = [
        f"pass@{k} {estimate.mean:.4f}, 95 % {_interval(estimate)}"
        for k, estimate in one.pass_at.items()
    ]
    if len(one.reasons) > 1 or "ok" not in one.reasons:
        lines.append(", ".join(f"{count} {reason}" for reason, count in one.reasons.items()))
    if one.cut_at_length:
        lines.append(f"{one.cut_at_length} answers cut at the token limit")
    if one.normalised:
        lines.append(", ".join(f"{name} {value:.4f}" for name, value in one.normalised.items()))
    if one.mean_logprob is not None:
        lines.append(f"{one.mean_logprob:.3f} nats per target")
    if len(one.categories) > 1:
        means = [mean for mean, _ in one.categories.values()]
        lowest = min(one.categories, key=lambda name: one.categories[name][0])
        lines.append(
            f"mean over {len(means)} categories {sum(means) / len(means):.4f}, lowest "
            f"{min(means):.3f} ({lowest})"
        )
    for line in lines:
        console.print(f"  {one.task}: {line}", markup=False, highlight=False)


def show_comparisons(console: Console, found: Sequence[Comparison]) -> None:
    rows = [
        [
            one.task,
            str(one.items),
            f"{one.first.mean:.4f}",
            f"{one.second.mean:.4f}",
            f"{one.difference.mean:+.4f}",
            _interval(one.difference, sign="+"),
            f"{one.adjusted_p:.2g}",
        ]
        for one in found
    ]
    several = ", Holm" if len(found) > 1 else ""
    columns = ["task", "items", "first", "second", "difference", "95 %", f"p{several}"]
    models = dict.fromkeys(" against ".join(one.models) for one in found)
    _table(console, "; ".join(models), columns, rows)
    console.print("  p: paired permutation test, clusters flipped whole")
    for one in found:
        for line in (*_tests(one), *one.remarks):
            console.print(f"  {one.task}: {line}", markup=False, highlight=False)


def _tests(one: Comparison) -> list[str]:
    lines = []
    if one.mcnemar_p is not None:
        lines.append(
            f"exact McNemar p = {one.mcnemar_p:.2g}: {one.only_first} items only the first has "
            f"right, {one.only_second} only the second"
        )
    if one.detectable is not None:
        lines.append(f"detectable with 80 % power: a difference of {one.detectable:.4f}")
    if one.unpaired_p is not None:
        lines.append(f"a test that forgets the pairing would say p = {one.unpaired_p:.2g}")
    return lines


def _interval(one: Estimate | None, sign: str = "") -> str:
    if one is None or one.low is None or one.high is None:
        return ""
    return f"{one.low:{sign}.3f} to {one.high:{sign}.3f}"
