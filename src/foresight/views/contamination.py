"""What `contamination` shows on a terminal: progress, findings, a table like the report's 10th."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    DownloadColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from foresight.evals.contamination.clean import CleanScore
from foresight.evals.contamination.corpora import Unit
from foresight.evals.contamination.findings import Findings, Share, TaskFindings
from foresight.views import between, progress, say, show_rows

METHODS = {
    "substring": "substrings",
    "audited": "substrings, audited",
    "ngram": "n-grams",
    "near": "near-duplicates",
}


@contextmanager
def scanning(console: Console, units: Sequence[Unit]) -> Iterator[Callable[[Unit], None]]:
    """A bar over the corpus' bytes on disk."""
    speed = DownloadColumn(), TransferSpeedColumn()
    bars = progress(console, *speed, TimeElapsedColumn(), TimeRemainingColumn())
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
        {
            "task": one.task,
            "method": METHODS[name],
            "items judged": f"{share.items:,}",
            "contaminated": str(len(share.ids)),
            **_percent(share),
        }
        for one in tasks
        for name, share in one.methods.items()
    ]
    title = f"{findings.documents:,} documents, {findings.bytes / 1e6:,.0f} MB of text"
    show_rows(console, title, rows)
    for one in tasks:
        say(console, _doubtful(one, findings.settings.length))
    for row in findings.boilerplate()[:5]:
        where = f"{row['documents']:,} documents, {row['items']} items"
        say(console, f"  boilerplate, {where}: {row['text']}")
    rows = [
        _score_row(f"{task}, {model}", METHODS[method], one)
        for task, models in scores.items()
        for model, methods in models.items()
        for method, one in methods.items()
    ]
    show_rows(console, "Scores with and without contaminated items", rows)
    say(console, f"places in {out / 'evidence.jsonl'}")


def _doubtful(one: TaskFindings, length: int) -> str:
    lines = [
        f"{len(one.short.ids)} of {one.short.items:,} items shorter than {length} characters, "
        f"{len(one.long.ids)} of {one.long.items:,} others",
        f"{len(one.boilerplate_only)} through boilerplate alone",
    ]
    lines += [f"{len(ids)} too short for {METHODS[k]}" for k, ids in one.too_short.items() if ids]
    return f"  {one.task}: {'; '.join(lines)}"


def _score_row(task: str, method: str, one: CleanScore) -> dict[str, str]:
    parts = {"score %": one.overall, "without": one.clean, "contaminated only": one.contaminated}
    return {
        "task": task,
        "method": method,
        "items": f"{one.items:,}",
        "contamination %": f"{100 * one.contaminated_items / one.items:.2f}",
        **{name: f"{100 * part.mean:.2f}" if part else "N/A" for name, part in parts.items()},
        "degradation %": "N/A" if one.degradation is None else f"{100 * one.degradation:+.2f}",
        "95 %": between(one.low, one.high, "+.2f", 100),
        "reported (lower)": f"{100 * one.reported:.2f}",
    }


def _percent(share: Share) -> dict[str, str]:
    if share.share is None or share.interval is None:
        return {"%": "", "95 %": ""}
    return {"%": f"{100 * share.share:.2f}", "95 %": between(*share.interval, ".2f", 100)}
