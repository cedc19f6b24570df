"""The page of evaluation records: alone with some of them, or live before a server."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from foresight.evals.layout import PICTURE
from foresight.evals.record import Record
from foresight.report.record_index import TEXTS, RecordIndex
from foresight.report.record_query import VERDICTS, facets, record_json, row_json
from foresight.report.scripted import scripted_page, to_script

EMBEDDED = 2000
"""Records that a page holds unless told otherwise: a few megabytes."""


def record_page(
    records: Iterable[Record] | RecordIndex,
    title: str = "Evaluation records",
    folder: Path | None = None,
    limit: int = EMBEDDED,
) -> str:
    """A self-contained HTML page with up to `limit` records and their pictures.

    They are those of the first questions, so that models can be compared on them; the page says
    of how many. `folder` has the pictures, as `images/SHA-256.png` (of an index: the folders of
    its files do). The same records give the same page.
    """
    if not isinstance(records, RecordIndex):
        records = RecordIndex.of(records, folder)
    rows = _first_questions(records, limit)
    shown = [record_json(records, row) | {"id": at} for at, row in enumerate(rows.tolist())]
    notes = list(records.notes)
    if len(rows) < records.size:
        notes.append(f"this page holds {len(rows):,} of {records.size:,} records")
    return _page(
        title,
        {
            "notes": notes,
            "facets": facets(records, rows),
            "rows": [row_json(records, row) | {"id": at} for at, row in enumerate(rows.tolist())],
            "records": shown,
            "ranks": {name: _ranks(records, name, rows) for name in TEXTS},
            "pictures": _pictures(records, shown),
        },
    )


def _first_questions(index: RecordIndex, limit: int) -> NDArray[np.intp]:
    """Rows of all models on the first tasks, items and samples, in the order of the files."""
    _, first, of_unit = np.unique(index.units(), return_index=True, return_inverse=True)
    return np.sort(np.argsort(first[of_unit], kind="stable")[:limit])


def live_page(index: RecordIndex, title: str) -> str:
    """The page whose records are asked from the server that it came from."""
    return _page(title, {"notes": list(index.notes), "facets": facets(index)})


def picture(index: RecordIndex, sha256: str) -> bytes | None:
    """The PNG of a picture in a prompt, from the folder of any of the files."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        return None
    for folder in dict.fromkeys(source.folder for source in index.sources):
        path = folder and folder / "images" / f"{sha256}.png"
        if path and path.is_file():
            return path.read_bytes()
    return None


def _page(title: str, data: dict[str, Any]) -> str:
    embedded = Markup(to_script(data | {"verdicts": VERDICTS}))
    return scripted_page("records.html", title=title, data=embedded)[0]


def _ranks(index: RecordIndex, name: str, rows: NDArray[np.intp]) -> list[int | None]:
    ranks = index.sort_key(name)[rows].tolist()
    return [None if math.isnan(rank) else int(rank) for rank in ranks]


def _pictures(index: RecordIndex, shown: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Data URLs of the pictures in the prompts."""
    hashes = dict.fromkeys(sha for record in shown for sha in PICTURE.findall(record["prompt"]))
    found = {sha: picture(index, sha) for sha in hashes}
    return {
        sha: f"data:image/png;base64,{base64.b64encode(png).decode()}"
        for sha, png in found.items()
        if png is not None
    }
