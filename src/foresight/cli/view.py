"""The verb that shows evaluation records in a browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import DownloadColumn

from foresight.cli.common import AsJson, app, console, emit, errors, serve_until_stopped


@app.command()
def view(
    records: Annotated[
        list[Path], typer.Argument(help="A records.jsonl, or a folder of them; several to compare.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8421,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one self-contained page instead.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Records in the page of --html.")] = 2000,
    as_json: AsJson = False,
) -> None:
    """Look at evaluation records: filter, search, sort, and set two models side by side.

    Serves this machine alone, until Ctrl-C; files that grew are read again when the page is
    loaded. With --html the page holds up to --limit records, those of the first
    questions, and needs no server.
    """
    from foresight.report.record_index import record_files
    from foresight.report.record_page import record_page
    from foresight.report.record_server import Viewer, serve
    from foresight.runs import write_atomic
    from foresight.views import counting

    started = time.perf_counter()
    size = sum(file.stat().st_size for path in records for file in record_files(path))
    with counting(errors, "reading records", DownloadColumn(), total=size) as progress:
        viewer = Viewer(records, progress)
    index = viewer.index
    value: dict[str, Any] = {
        "records": index.size,
        "models": [name for name, _ in index.texts["model"].counts()],
        "tasks": [name for name, _ in index.texts["task"].counts()],
        "notes": index.notes,
        "seconds": round(time.perf_counter() - started, 3),
    }
    if html is not None:
        write_atomic(html, record_page(index, ", ".join(map(str, records)), limit=limit))
        value = {"page": str(html), **value, "embedded": min(limit, index.size)}
        return emit(value, as_json, lambda: _show(value))
    server = serve(viewer, port)
    value = {"url": f"http://127.0.0.1:{server.server_port}/", **value}
    serve_until_stopped(server, value, as_json, lambda: _show(value))


def _show(value: dict[str, Any]) -> None:
    """Notes, what was read, and where to look."""
    from foresight.views import say

    models, tasks = ", ".join(value["models"]), ", ".join(value["tasks"])
    where = f"{value.get('url')}  (Ctrl-C ends)"
    if "page" in value:
        where = f"wrote {value['page']} with {value['embedded']:,} of them"
    read = f"{value['records']:,} records in {value['seconds']:.1f} s: {tasks}; {models}"
    say(console, *(f"note: {note}" for note in value["notes"]), read, where)
