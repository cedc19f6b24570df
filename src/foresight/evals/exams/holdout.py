"""The holdout half is run once per model and method, and the run is on record."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.exams.examination import Paper
from foresight.evals.interop.lines import read_lines
from foresight.evals.journal import Journal
from foresight.runs import locked, read_json, sha256_text, write_json

_FIELDS = {"exam", "arm", "model", "run", "method"}


@dataclass(frozen=True)
class HoldoutRun:
    """`number`: which run of this model by this method it is, from 1; `methods`: how many methods
    this model's holdout was run with so far."""

    number: int
    methods: int

    @property
    def mark(self) -> str:
        """What tables write behind the score; nothing for a first run by a first method."""
        told = [f"run {self.number} of this holdout"] if self.number > 1 else []
        told += [f"method {self.methods}"] if self.methods > 1 else []
        return "; ".join(told)


def open_holdout(sheet: Paper, model: str, out_dir: Path, ledger: Path) -> HoldoutRun:
    """Enter a run in the ledger before the first question is asked; one that is taken up again
    (same `out_dir`) stays the run that it was.

    Every line of the ledger carries the hash of the line before. Raises UserError naming the line
    of a ledger that was edited.
    """
    with locked(ledger.parent, wait=True):
        lines = _lines(ledger)
        token = _token(out_dir)
        same = {"exam": sheet.exam.name, "arm": sheet.name, "model": model}
        known = [one for one in lines if {name: one[name] for name in same} == same]
        if token not in [one["run"] for one in known]:
            entry = same | {
                "exam_sha256": sheet.exam.sha256,
                "method": sheet.method,
                "run": token,
                "begun_utc": datetime.now(UTC).isoformat(),
                "previous": _hash(lines[-1]) if lines else "",
            }
            with Journal(ledger) as journal:
                journal.append(json.dumps(entry, sort_keys=True))
            known.append(entry)
        at = [one["run"] for one in known].index(token)
        alike = [one for one in known[: at + 1] if one["method"] == known[at]["method"]]
        return HoldoutRun(len(alike), len({one["method"] for one in known[: at + 1]}))


def _token(out_dir: Path) -> str:
    """Names the run whose records a directory holds."""
    path = out_dir / "holdout.json"
    if not path.exists():
        out_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, {"run": uuid.uuid4().hex})
    return str(read_json(path)["run"])


def _lines(ledger: Path) -> list[dict[str, str]]:
    if not ledger.exists():
        return []
    found: list[dict[str, str]] = []
    for where, line in read_lines(ledger):
        previous = _hash(found[-1]) if found else ""
        if line.get("previous") != previous or not set(line) >= _FIELDS:
            raise UserError(f"{where}: the ledger of holdout runs was edited before this line")
        found.append(line)
    return found


def _hash(line: dict[str, str]) -> str:
    return sha256_text(json.dumps(line, sort_keys=True))
