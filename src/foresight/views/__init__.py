"""What the commands show on a terminal: tables and progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from foresight.data.corpus import Corpus
    from foresight.demo import Outcome
    from foresight.forecast import Answer, Fit, Forecast, Report, Score
    from foresight.training.ladder import Progress as JobProgress
    from foresight.training.plan import PlannedRun


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


@contextmanager
def watching(console: Console) -> Iterator[Callable[[list[JobProgress]], None]]:
    """A bar over the FLOPs of all jobs, and one per running job with its loss."""
    bars = Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
    )
    ids: dict[str, Any] = {}

    def watch(jobs: list[JobProgress]) -> None:
        total = sum(one.job.compute_flops for one in jobs)
        done = sum(one.job.compute_flops * one.step / one.job.spec.steps for one in jobs)
        finished = sum(one.finished for one in jobs)
        overall = f"{finished} of {len(jobs)} runs, {done:.1e} of {total:.1e} FLOPs"
        if "all" not in ids:
            ids["all"] = bars.add_task(overall, total=total)
        bars.update(ids["all"], description=overall, completed=done)
        for one in jobs:
            name = one.job.run.path.name
            if one.finished:
                if name in ids:
                    bars.remove_task(ids.pop(name))
                continue
            if one.loss is None:
                continue
            text = f"{name}  d={one.job.spec.shape.width}  loss {one.loss:.3f}"
            if name not in ids:
                ids[name] = bars.add_task(text, total=one.job.spec.steps)
            bars.update(ids[name], description=text, completed=one.step)

    with bars:
        yield watch


def show_corpus(console: Console, corpus: Corpus) -> None:
    rows = [
        [
            name,
            split,
            f"{c['documents']:,}",
            f"{c['bytes'] / 1e6:.2f}",
            f"{c['tokens']:,}",
            f"{c['patches']:,}",
        ]
        for name, splits in corpus.manifest["sources"].items()
        for split, c in splits.items()
    ]
    columns = ["source", "split", "documents", "MB of text", "tokens", "image patches"]
    _table(console, f"Corpus in {corpus.directory}", columns, rows)
    removed = corpus.manifest["deduplication"].get("counts", {})
    console.print(
        "removed as duplicates: " + (", ".join(f"{v} {k}" for k, v in removed.items()) or "none")
    )


def show_plan(console: Console, rows: Sequence[PlannedRun]) -> None:
    from foresight.training.ladder import cores
    from foresight.training.plan import wall_seconds

    _table(
        console,
        "Plan for this machine",
        ["run", "width x depth", "params", "tokens", "steps", "seeds", "time each", "memory"],
        [
            [
                f"{r.role} {r.name}",
                f"{r.width} x {r.depth}",
                _count(r.active_params),
                _count(r.tokens),
                f"{r.steps:,}",
                str(r.seeds),
                _duration(r.seconds),
                f"{r.memory_bytes / 1e6:.0f} MB",
            ]
            for r in rows
        ],
    )
    ladder, targets = wall_seconds(list(rows), "rung"), wall_seconds(list(rows), "target")
    disk = sum(r.disk_bytes * r.seeds for r in rows)
    speeds = sorted(r.flops_per_second / 1e9 for r in rows)
    console.print(
        f"ladder {_duration(ladder)}, all targets {_duration(targets)} on {cores()} cores, "
        f"{disk / 1e6:.0f} MB of disk besides the corpus; measured just now: "
        f"{speeds[0]:.0f} to {speeds[-1]:.0f} GFLOP/s per core"
    )


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def show_runs(console: Console, results: Sequence[dict[str, Any]], metric: str) -> None:
    section, name = metric.split("/")
    _table(
        console,
        "Runs",
        ["run", "FLOPs", "params", "tokens", "steps", metric, "seconds"],
        [
            [
                r["run"],
                f"{r['compute_flops']:.3e}",
                f"{r['params']:,}",
                f"{r['tokens']:,}",
                f"{r['steps']:,}",
                f"{r[section][name]:.4f}",
                f"{r['seconds']:.0f}",
            ]
            for r in results
        ],
    )


def show_fit(console: Console, fitted: Fit) -> None:
    _table(
        console,
        f"Rungs: {fitted.table.metric}",
        ["run", "FLOPs", "value", "in the fit"],
        [
            [
                row.run,
                f"{row.compute_flops:.3e}",
                f"{row.loss:.4f}",
                ", ".join(row.reasons) or "yes",
            ]
            for row in fitted.table.rows
        ],
    )
    _table(
        console,
        "Back-test: the top rungs hidden, forecast from those below",
        ["rungs below", "hidden FLOPs", "ratio", "predicted", "observed", "error %", "z"],
        [
            [
                str(r["rungs"]),
                f"{r['compute_flops']:.2e}",
                f"{r['ratio']:.1f}",
                f"{r['predicted']:.4f}",
                f"{r['observed']:.4f}",
                f"{100 * (r['predicted'] / r['observed'] - 1):+.2f}",
                f"{r['z']:+.2f}",
            ]
            for r in fitted.backtest_rows()
        ],
    )
    for code in fitted.reasons:
        console.print(f"  {code.value}: {code.text}")


def show_answer(console: Console, answers: Sequence[tuple[str, Answer]], verdict: str) -> None:
    """One or several groups (name and answer), and the verdict over all."""
    for name, found in answers:
        if name:
            console.rule(f"group {name}: {found.verdict}")
        _show_group(console, found)
    console.print(f"verdict: {verdict}")


def _show_group(console: Console, found: Answer) -> None:
    from foresight.views.planning import show_recommended

    for remark in found.table.remarks:
        console.print(f"  [dim]{remark}[/dim]")
    _table(
        console,
        f"Frontier of {len(found.table.rows)} runs: {found.table.metric}",
        ["FLOPs", "value", "standard error %", "params", "tokens"],
        [
            [
                f"{point.compute_flops:.3e}",
                f"{point.loss:.4f}",
                "" if point.sigma is None else f"{100 * point.sigma:.2f}",
                "" if point.params is None else f"{point.params:.3g}",
                "" if point.tokens is None else f"{point.tokens:.3g}",
            ]
            for point in found.frontier
        ],
    )
    show_fit(console, found.fitted)
    if found.forecasts:
        show_forecasts(console, found.forecasts)
    sized = [found.recommended(one.compute_flops) for one in found.forecasts]
    if any(sized):
        show_recommended(console, [one for one in sized if one])
    if found.planned is not None and found.planned.excess is not None:
        mean, sd = found.planned.excess
        console.print(
            f"  N = {found.planned.params:.3g}, D = {found.planned.tokens:.3g}: "
            f"{100 * mean:.1f} +- {100 * sd:.1f} % above the best run of its compute (L(N, D))"
        )


def show_forecasts(console: Console, forecasts: Sequence[Forecast]) -> None:
    rows = []
    for one in forecasts:
        if one.point is None or one.intervals is None:
            rows.append([f"{one.compute_flops:.2e}", "", "", "", "", one.verdict])
            continue
        rows.append(
            [
                f"{one.compute_flops:.2e}",
                f"{one.extrapolation_ratio:.1f}",
                f"{one.point:.4f}",
                *(f"{low:.4f} - {high:.4f}" for low, high in one.intervals.values()),
                one.verdict + ("" if one.calibrated else ", not calibrated"),
            ]
        )
    levels = ["50 %", "80 %", "95 %"]
    _table(console, "Forecast", ["FLOPs", "ratio", "point", *levels, "verdict"], rows)
    for code in sorted({code for one in forecasts for code in one.reasons}):
        console.print(f"  {code.value}: {code.text}")


def _percent(score: Score) -> str:
    """The error in per cent, of what has a zero that means something."""
    known = score.error_percent is not None and score.scale != "linear"
    return f"{score.error_percent:+.2f}" if known else ""


def show_verification(console: Console, report: Report) -> None:
    rows = []
    for score in report.scores:
        name = score.name + ("" if score.kind == "registered" else f" ({score.kind})")
        if score.observed is None:
            rows.append([name, f"{score.predicted:.4f}", "", "", "", "", score.status])
            continue
        inside = ", ".join(f"{k} %" for k, hit in (score.inside or {}).items() if hit) or "none"
        rows.append(
            [
                name,
                f"{score.predicted:.4f}",
                f"{score.observed:.4f}",
                _percent(score),
                f"{score.error_in_sd:.2f}",
                f"{score.crps:.4f}",
                f"inside {inside}",
            ]
        )
    columns = [
        "registration",
        "predicted",
        "observed",
        "error %",
        "|error| / sd",
        "CRPS",
        "interval",
    ]
    _table(console, "Verification", columns, rows)
    for remark in report.remarks:
        console.print(f"  [yellow]{remark.check}[/yellow] {remark.file}: {remark.message}")
    for failure in report.failures:
        console.print(f"  [red]{failure.check}[/red] {failure.file}: {failure.message}")
    verdict = "[green]all holds[/green]" if report.holds else "[red]does not hold[/red]"
    console.print(f"{len(report.findings)} checks, {len(report.failures)} failed: {verdict}")


def show_transfer(console: Console, found: dict[str, Any]) -> None:
    rows = []
    for kind, widths in found["optimum_octave"].items():
        (narrow, first), (wide, last) = widths.items()
        rows.append([kind, f"{first:+.2f}", f"{last:+.2f}", f"{last - first:+.2f}"])
    columns = [
        "parametrisation",
        f"optimum at width {narrow}",
        f"at width {wide}",
        "shift (octaves)",
    ]
    _table(console, "Learning-rate transfer (octaves from the recipe's rates)", columns, rows)


def show_pictures(console: Console, found: dict[str, Any]) -> None:
    rows = [
        [
            seen["family"],
            str(seen["n"]),
            f"{seen['accuracy']:.3f} [{seen['low']:.3f}, {seen['high']:.3f}]",
            f"{blind['accuracy']:.3f} [{blind['low']:.3f}, {blind['high']:.3f}]",
            f"{seen['chance']:.3f}",
        ]
        for seen, blind in zip(found["seen"], found["removed"], strict=True)
    ]
    columns = ["family", "n", "with the picture (95 %)", "picture removed (95 %)", "chance"]
    _table(console, f"Held-out picture questions, {found['run']}", columns, rows)


def show_report(console: Console, outcome: Outcome) -> None:
    show_verification(console, outcome.verification)
    spent = sum(outcome.seconds.values())
    console.print(f"{spent:.0f} s in all; the page: [bold]{outcome.page}[/bold]")
