"""What a ladder of one's own shows on a terminal: corpus, plan, runs, sweeps, suites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import TaskProgressColumn, TimeElapsedColumn, TimeRemainingColumn

from foresight.report.words import duration
from foresight.views import progress, say, show, show_rows, show_table
from foresight.views.forecasts import show_verification

if TYPE_CHECKING:
    from foresight.data.corpus import Corpus
    from foresight.demo import Outcome
    from foresight.training.ladder import Progress
    from foresight.training.plan import PlannedRun


@contextmanager
def watching(console: Console) -> Iterator[Callable[[list[Progress]], None]]:
    """A bar over the FLOPs of all jobs, and one per running job with its loss."""
    left = TimeRemainingColumn(elapsed_when_finished=True)
    bars = progress(console, TaskProgressColumn(), TimeElapsedColumn(), left)
    ids: dict[str, Any] = {}

    def update(name: str, text: str, done: float, total: float) -> None:
        if name not in ids:
            ids[name] = bars.add_task(text, total=total)
        bars.update(ids[name], description=text, completed=done)

    def watch(jobs: list[Progress]) -> None:
        total = sum(one.job.compute_flops for one in jobs)
        done = sum(one.job.compute_flops * one.step / one.job.spec.steps for one in jobs)
        finished = sum(one.finished for one in jobs)
        overall = f"{finished} of {len(jobs)} runs, {done:.1e} of {total:.1e} FLOPs"
        update("all", overall, done, total)
        for one in jobs:
            name, spec = one.job.run.path.name, one.job.spec
            if one.finished and name in ids:
                bars.remove_task(ids.pop(name))
            elif not one.finished and one.loss is not None:
                text = f"{name}  d={spec.shape.width}  loss {one.loss:.3f}"
                update(name, text, one.step, spec.steps)

    with bars:
        yield watch


def show_corpus(console: Console, corpus: Corpus) -> None:
    rows = [
        {
            "source": name,
            "split": split,
            "documents": f"{c['documents']:,}",
            "MB of text": f"{c['bytes'] / 1e6:.2f}",
            "tokens": f"{c['tokens']:,}",
            "image patches": f"{c['patches']:,}",
        }
        for name, splits in corpus.manifest["sources"].items()
        for split, c in splits.items()
    ]
    show_rows(console, f"Corpus in {corpus.directory}", rows)
    removed = corpus.manifest["deduplication"].get("counts", {})
    told = ", ".join(f"{count} {kind}" for kind, count in removed.items()) or "none"
    console.print(f"removed as duplicates: {told}")


def show_plan(console: Console, planned: Sequence[PlannedRun]) -> None:
    from foresight.training.ladder import cores
    from foresight.training.plan import wall_seconds

    rows = [
        {
            "run": f"{r.role} {r.name}",
            "width x depth": f"{r.width} x {r.depth}",
            "params": _count(r.active_params),
            "tokens": _count(r.tokens),
            "steps": f"{r.steps:,}",
            "seeds": str(r.seeds),
            "time each": duration(r.seconds),
            "memory": f"{r.memory_bytes / 1e6:.0f} MB",
        }
        for r in planned
    ]
    show_rows(console, "Plan for this machine", rows)
    ladder, targets = (wall_seconds(list(planned), role) for role in ("rung", "target"))
    disk = sum(r.disk_bytes * r.seeds for r in planned)
    speeds = sorted(r.flops_per_second / 1e9 for r in planned)
    console.print(
        f"ladder {duration(ladder)}, all targets {duration(targets)} on {cores()} cores, "
        f"{disk / 1e6:.0f} MB of disk besides the corpus; measured just now: "
        f"{speeds[0]:.0f} to {speeds[-1]:.0f} GFLOP/s per core"
    )


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def show_runs(console: Console, results: Sequence[dict[str, Any]], metric: str) -> None:
    section, name = metric.split("/")
    rows = [
        {
            "run": r["run"],
            "FLOPs": f"{r['compute_flops']:.3e}",
            "params": f"{r['params']:,}",
            "tokens": f"{r['tokens']:,}",
            "steps": f"{r['steps']:,}",
            metric: f"{r[section][name]:.4f}",
            "seconds": f"{r['seconds']:.0f}",
        }
        for r in results
    ]
    show_rows(console, "Runs", rows)


def show_transfer(console: Console, found: dict[str, Any]) -> None:
    rows = []
    for kind, widths in found["optimum_octave"].items():
        (narrow, first), (wide, last) = widths.items()
        rows.append([kind, f"{first:+.2f}", f"{last:+.2f}", f"{last - first:+.2f}"])
    columns = ["parametrisation", f"optimum at width {narrow}", f"at width {wide}",
               "shift (octaves)"]  # fmt: skip
    title = "Learning-rate transfer (octaves from the recipe's rates)"
    show_table(console, title, columns, rows)


def show_suites(console: Console, directory: Path, suites: Sequence[str]) -> None:
    """Predicted and observed mean log pass rates by bucket."""
    from foresight.evals.suite_forecast import INVERSE, evidence_of
    from foresight.report.capability_figure import CapabilityData, registered_table

    for name in suites:
        path = evidence_of(directory, name)
        if name != INVERSE and path.exists():
            data = CapabilityData.read(path)
            console.print(f"suite of {name}: {data.target.run} ({data.verdict})")
            show(console, registered_table(data))


def show_report(console: Console, outcome: Outcome) -> None:
    show_verification(console, outcome.verification)
    spent = sum(outcome.seconds.values())
    say(console, f"{spent:.0f} s in all; the page: {outcome.page}")
