"""The ledger of a holdout: which model has taken it, by which method, how often.

Append-only JSON lines beside the exam, each with the hash of the line before, so that none can be
changed or dropped without a break that shows (cut off at the end it can be, as any file). A run is
`begun` before the first question is put and `finished` when all are answered. A run that was
interrupted goes on under its own name.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.journal import Journal
from foresight.runs import canonical_json, read_jsonl, sha256_json

FIELDS = {
    "begun": {"event", "run", "name", "time", "exam", "model", "method", "previous"},
    "finished": {"event", "run", "records", "time", "previous"},
}


@dataclass(frozen=True)
class Sitting:
    """What may happen once: this model, by this method, on this holdout (`exam`: its hash)."""

    exam: str
    model: str
    method: str


@dataclass(frozen=True)
class HoldoutRun:
    """Of a finished run. `number`: 1 for the first of its sitting, 2 for the second, ...;
    `abandoned`: runs of the sitting that others began before and did not finish; `other_methods`:
    by how many other methods the model has finished this holdout."""

    number: int
    abandoned: int
    other_methods: int


class Ledger:
    """Raises UserError naming the line where the chain is broken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries()

    def entries(self) -> list[dict[str, Any]]:
        """All lines, oldest first."""
        rows = read_jsonl(self.path) if self.path.exists() else []
        previous = None
        for number, row in enumerate(rows, start=1):
            fields = FIELDS.get(row.get("event", "")) if isinstance(row, dict) else None
            if fields is None or not fields <= row.keys():
                raise UserError(f"{self.path}, line {number}: no line of a holdout's ledger")
            if row["previous"] != previous:
                raise UserError(
                    f"{self.path}, line {number}: the chain is broken: a line before it was "
                    f"changed, removed or put in; restore the file"
                )
            previous = sha256_json(row)
        return rows

    def begin(self, sitting: Sitting, name: str, time: str) -> str:
        """Write down that a run begins; returns its name."""
        with self._append() as (entries, write):
            run = sha256_json([len(entries), vars(sitting), time])[:16]
            write({"event": "begun", "run": run, "name": name, "time": time, **vars(sitting)})
        return run

    def finish(self, run: str, records: str, time: str) -> None:
        """Write down that all is answered; `records`: hash of the record files."""
        with self._append() as (_, write):
            write({"event": "finished", "run": run, "records": records, "time": time})

    def finished(self, run: str) -> str | None:
        """Hash of the records of a run, None if it is not finished. Raises UserError if the ledger
        does not know it."""
        rows = [row for row in self.entries() if row["run"] == run]
        if not rows:
            raise UserError(f"{self.path}: knows no run {run}; give the --ledger it was begun with")
        return next((row["records"] for row in rows if row["event"] == "finished"), None)

    def run(self, name: str) -> HoldoutRun:
        """Of a finished run among those that finished before it."""
        entries = self.entries()
        begun = {row["run"]: row for row in entries if row["event"] == "begun"}
        ended = [row["run"] for row in entries if row["event"] == "finished"]
        mine = begun[name]

        def like(other: str, *fields: str) -> bool:
            return all(begun[other][field] == mine[field] for field in fields)

        same = [other for other in ended if like(other, "exam", "model", "method")]
        order = list(begun)
        return HoldoutRun(
            number=same.index(name) + 1,
            abandoned=sum(
                other not in ended and like(other, "exam", "model", "method")
                for other in order[: order.index(name)]
            ),
            other_methods=len(
                {begun[other]["method"] for other in ended if like(other, "exam", "model")}
                - {mine["method"]}
            ),
        )

    @contextmanager
    def _append(self) -> Iterator[tuple[list[dict[str, Any]], Any]]:
        """The entries, and a function that appends one; no other process writes meanwhile."""
        with Journal(self.path) as journal, self.path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            entries = self.entries()
            previous = sha256_json(entries[-1]) if entries else None
            yield entries, lambda row: journal.append(canonical_json({**row, "previous": previous}))
