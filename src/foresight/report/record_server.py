"""A small server of evaluation records for the browser of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from foresight.errors import UserError
from foresight.report.local_server import LocalHandler, local_server
from foresight.report.record_index import RecordIndex, record_files
from foresight.report.record_page import live_page, picture
from foresight.report.record_query import Query, Result, locate, record_json, row_json, run

PAGE_ROWS = 500
"""Rows of one answer at most."""
_KEPT = 16
"""Results kept, so that scrolling and going back need no new search."""


class Viewer:
    """The index behind the pages; made anew when a page is loaded and a file has changed."""

    def __init__(self, paths: Sequence[Path], progress: Callable[[int], None]) -> None:
        self.paths = tuple(paths)
        self._lock = threading.Lock()
        self._seen = self._stat()
        # An index and its results change together, so that neither is read with another's.
        self._known: tuple[RecordIndex, dict[Query, Result]]
        self._known = RecordIndex.open(self.paths, progress), {}

    @property
    def index(self) -> RecordIndex:
        return self._known[0]

    def page(self) -> str:
        with self._lock:
            if (seen := self._stat()) != self._seen:
                self._known, self._seen = (RecordIndex.open(self.paths), {}), seen
        return live_page(self.index, ", ".join(map(str, self.paths)))

    def rows(self, words: dict[str, str]) -> dict[str, Any]:
        """A page of the result: `start` and `count` say which. Raises UserError."""
        query = Query.read(words)
        start, count = (_whole(words, name) for name in ("start", "count"))
        index, results = self._known
        # What is known is answered at once, even while a search runs.
        result = results.get(query) or self._run(index, results, query)
        page = slice(start, start + min(count, PAGE_ROWS))
        pairs = zip(result.rows[page].tolist(), result.others[page].tolist(), strict=True)
        found: dict[str, Any] = {
            "summary": result.summary,
            "rows": [row_json(index, *pair) for pair in pairs],
        }
        if "item" in words:
            found["place"] = locate(index, result, words)
        return found

    def _run(self, index: RecordIndex, results: dict[Query, Result], query: Query) -> Result:
        """One at a time: two searches at once would only slow each other."""
        with self._lock:
            if query not in results:
                while len(results) >= _KEPT:
                    del results[next(iter(results))]
                results[query] = run(index, query)
            return results[query]

    def record(self, words: dict[str, str]) -> dict[str, Any]:
        """The whole record of `row`. Raises UserError."""
        index, row = self.index, _whole(words, "row")
        if row >= index.size:
            raise UserError(f"row {row}: there are {index.size}, counted from 0")
        return record_json(index, row)

    def _stat(self) -> list[tuple[str, int, int]]:
        files = [file for path in self.paths for file in record_files(path)]
        stats = [(str(file), file.stat()) for file in files]
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]


def serve(viewer: Viewer, port: int) -> ThreadingHTTPServer:
    """A server bound to 127.0.0.1, not yet serving; port 0 takes any that is free.

    Raises UserError if the port is taken.
    """
    return local_server(partial(_Handler, viewer), port)


class _Handler(LocalHandler):
    """Answers GET only."""

    def __init__(self, viewer: Viewer, *args: Any) -> None:
        self.viewer = viewer
        super().__init__(*args)

    def get(self) -> None:
        url = urlsplit(self.path)
        words = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            self._answer(url.path, words)
        except UserError as error:
            self.send(400, "text/plain", str(error).encode(errors="replace"))

    def _answer(self, path: str, words: dict[str, str]) -> None:
        if path == "/":
            self.send(200, "text/html", self.viewer.page().encode())
        elif path in ("/rows", "/record"):
            value = self.viewer.rows(words) if path == "/rows" else self.viewer.record(words)
            self.send(200, "application/json", json.dumps(value, allow_nan=False).encode())
        elif path.startswith("/images/") and (
            png := picture(self.viewer.index, path.removeprefix("/images/").removesuffix(".png"))
        ):
            self.send(200, "image/png", png)
        else:
            self.send(404, "text/plain", b"not here")


def _whole(words: dict[str, str], name: str) -> int:
    text = words.get(name, "")
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{name} {text!r}: must be a whole number, 0 or more")
    return int(text)
