"""Verbs that bring records in from other frameworks, and take them out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foresight.cli.common import AsJson, RecordSet, app, console, emit
from foresight.errors import UserError

if TYPE_CHECKING:
    from foresight.evals.record import Record


@app.command()
def import_records(
    files: Annotated[
        list[Path],
        typer.Argument(help="samples_*.jsonl that lm-evaluation-harness wrote (--log_samples)."),
    ],
    to: Annotated[Path, typer.Option(help="The record file to write.")],
    metric: Annotated[
        str | None, typer.Option(help="The score, such as acc_norm; default: the first logged.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--filter", help="Of several filters the one to keep.")
    ] = None,
    pair: Annotated[
        Path | None,
        typer.Option(help="Our records of the same questions: take their items' names from here."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Records from another framework's log, to be viewed and compared like our own.

    With --pair they get the names of our items that ask the same, and `compare` can pair them.
    """
    from foresight.evals.interop.lm_eval import read_samples
    from foresight.evals.interop.pairing import pair as paired_with
    from foresight.evals.journal import record_sets
    from foresight.runs import write_atomic

    if to.exists():
        raise UserError(f"{to}: is there already; name another file, or remove it")
    runs = [run for file in files for run in read_samples(file, metric)]
    chosen = [run for run in runs if keep in (None, run.filter)]
    if not chosen:
        names = ", ".join(sorted({run.filter for run in runs}))
        raise UserError(f"--filter {keep}: there are {names}")
    ours = [one for rows in record_sets(pair).values() for one in rows] if pair else []
    records: list[Record] = []
    rows = []
    for run in chosen:
        found = paired_with(run.records, ours) if pair else None
        records += run.records if found is None else found.paired
        unpaired = None if found is None else len(found.unpaired)
        rows.append(run.summary() | {"unpaired": unpaired})
    if not records:
        raise UserError(f"{pair}: no record asks what {', '.join(map(str, files))} ask")
    _refuse_twice(records)
    write_atomic(to, "".join(record.to_line() + "\n" for record in records))
    value = {"to": str(to), "records": len(records), "runs": rows}
    emit(value, as_json, lambda: _show_imported(to, rows))


def _show_imported(to: Path, runs: list[dict[str, Any]]) -> None:
    from foresight.views import say, show_rows

    rows = [
        {
            **{name: one[name] for name in ("task", "filter", "metric")},
            "records": str(one["records"]),
            "mean": f"{one['mean']:.4f}",
            "stated": "" if one["stated"] is None else f"{one['stated']:.4f}",
            "unpaired": "" if one["unpaired"] is None else str(one["unpaired"]),
        }
        for one in runs
    ]
    show_rows(console, f"Records in {to}", rows)
    for one in runs:
        if not one["agrees"]:
            told = "the mean of the samples is not what the results file states"
            say(console, f"{one['task']}: {told}", style="yellow")


def _refuse_twice(records: list[Record]) -> None:
    """Two scores of one item would be taken for two samples."""
    seen: set[tuple[str, str, str]] = set()
    for one in records:
        if (name := (one.model, one.task, one.item)) in seen:
            raise UserError(
                f"item {one.item} of {one.task} has two records of {one.model}: choose one filter "
                f"with --filter, and name each file once"
            )
        seen.add(name)


@app.command()
def export_records(
    records: RecordSet,
    inspect: Annotated[
        Path,
        typer.Option(
            help="Log for `inspect view`: a .eval or .json file; a folder for several tasks."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Records as logs of inspect_ai, one per task and model."""
    from foresight.evals.interop.inspect_log import write_logs
    from foresight.evals.journal import read_records, record_files
    from foresight.runs import read_json
    from foresight.views import say

    files = record_files(records)
    if len(files) > 1 and inspect.suffix in (".json", ".eval"):
        raise UserError(
            f"{inspect}: a log is of one task; {records} has {len(files)}, name a folder"
        )
    written = []
    for file in files:
        rows, task = read_records(file), file.with_name("task.json")
        created = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        settings = read_json(task) if task.exists() else None
        written += write_logs(rows, inspect, created, file.parent / "images", settings)
    logs = [str(path) for path in written]
    emit({"logs": logs}, as_json, lambda: say(console, *(f"wrote {path}" for path in logs)))
