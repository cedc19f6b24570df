"""What `contamination` shows on a terminal: progress, findings, a table like the report's 10th."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from foresight.evals.contamination.clean import CleanScore
from foresight.evals.contamination.corpora import Unit
from foresight.evals.contamination.findings import Findings, Share, TaskFindings
from foresight.views import _table

METHODS = {
    "substring": "substrings",
    "audited": "substrings, audited",
    "ngram": "n-grams",
    "near": "near-duplicates",
}


@contextmanager
def scanning(console: Console, units: Sequence[Unit]) -> Iterator[Callable[[Unit], None]]:
    """A bar over the corpus' bytes on disk."""
    bars = Progress(
        TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip
    bar = bars.add_task("scanning", total=sum(unit.bytes for unit in units))
    with bars:
        yield lambda unit: bars.advance(bar, unit.bytes)


def show_contamination(
    console: Console,
    findings: Findings,
    scores: Mapping[str, Mapping[str, Mapping[str, CleanScore]]],
    out: Path,
) -> None:
    tasks = findings.tasks
    rows = [
        [one.task, METHODS[name], f"{share.items:,}", str(len(share.ids)), *_percent(share)]
        for one in tasks
        for name, share in one.methods.items()
    ]
    columns = ["task", "method", "items judged", "contaminated", "%", "95 %"]
    title = f"{findings.documents:,} documents, {findings.bytes / 1e6:,.0f} MB of text"
    _table(console, title, columns, rows)
    for one in tasks:
        _show_doubtful(console, one, findings.settings.length)
    for row in findings.boilerplate()[:5]:
        told = f"boilerplate, {row['documents']:,} documents, {row['items']} items: {row['text']}"
        console.print(f"  {told}", markup=False, highlight=False)
    _show_scores(console, scores)
    console.print(f"places in {out / 'evidence.jsonl'}", markup=False, soft_wrap=True)


def _show_doubtful(console: Console, one: TaskFindings, length: int) -> None:
    lines = [
        f"{len(one.short.ids)} of {one.short.items:,} items shorter than {length} characters, "
        f"{len(one.long.ids)} of {one.long.items:,} others",
        f"{len(one.boilerplate_only)} through boilerplate alone",
        *(
            f"{len(ids)} too short for {METHODS[name]}"
            for name, ids in one.too_short.items()
            if ids
        ),
    ]
    console.print(f"  {one.task}: {'; '.join(lines)}", markup=False, highlight=False)


def _show_scores(
    console: Console, scores: Mapping[str, Mapping[str, Mapping[str, CleanScore]]]
) -> None:
    rows = [
        [
            f"{task}, {model}",
            METHODS[method],
            f"{one.items:,}",
            f"{100 * one.contaminated_items / one.items:.2f}",
            *(f"{100 * part.mean:.2f}" if part else "N/A"
              for part in (one.overall, one.clean, one.contaminated)),
            "N/A" if one.degradation is None else f"{100 * one.degradation:+.2f}",
            "" if one.low is None or one.high is None
            else f"{100 * one.low:+.2f} to {100 * one.high:+.2f}",
            f"{100 * one.reported:.2f}",
        ]
        for task, models in scores.items()
        for model, methods in models.items()
        for method, one in methods.items()
    ]  # fmt: skip
    columns = [
        "task", "method", "items", "contamination %", "score %", "without", "contaminated only",
        "degradation %", "95 %", "reported (lower)",
    ]  # fmt: skip
    if rows:
        _table(console, "Scores with and without contaminated items", columns, rows)


def _percent(share: Share) -> tuple[str, str]:
    if share.share is None or share.interval is None:
        return "", ""
    low, high = share.interval
    return f"{100 * share.share:.2f}", f"{100 * low:.2f} to {100 * high:.2f}"
