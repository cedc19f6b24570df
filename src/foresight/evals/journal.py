"""Record files: append-only while a run lasts, sorted when it is over, readable at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.record import Reason, Record
from foresight.runs import read_json, write_atomic, write_json

SYNC_EVERY = 64
"""Lines that a power cut may cost, unless told otherwise. A killed process costs none: each line is
one write."""


class Journal(AbstractContextManager["Journal"]):
    """A JSONL file that is appended to. What a killed writer left unfinished is cut off first."""

    def __init__(self, path: Path, sync_every: int = SYNC_EVERY) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Unbuffered: a line is with the system as soon as it is written.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from None
        whole = _whole_bytes(path)
        if whole < path.stat().st_size:
            self._file.truncate(whole)
        self._unsynced, self._sync_every = 0, sync_every

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def append(self, line: str) -> None:
        # Half a surrogate pair, which an endpoint can send, fits no file.
        self._file.write(line.encode(errors="replace") + b"\n")
        self._unsynced += 1
        if self._unsynced >= self._sync_every:
            os.fsync(self._file.fileno())
            self._unsynced = 0


def now() -> str:
    """When a line was written: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _whole_bytes(path: Path) -> int:
    """Length of the file up to its last line break."""
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def read_lines(path: Path) -> Iterator[tuple[str, Record]]:
    """Lines of a record file and what they say; a torn last line is left out.

    Raises UserError naming file and line of what is no record.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    with stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                line = raw[:-1].decode()
                yield line, record_of(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}, line {number}: not a record ({error!r})") from None


def record_of(value: Mapping[str, Any]) -> Record:
    """A record from its JSON object. Raises TypeError or ValueError if it is none."""
    lists = {name: tuple(value[name]) for name in ("choices", "choice_logprobs") if name in value}
    score = value["score"]
    if score is not None and not 0.0 <= float(score) <= 1.0:
        raise ValueError(f"score {score} is not in [0, 1]")
    return Record(**{**value, **lists, "reason": Reason(value["reason"])})


def read_records(path: Path) -> list[Record]:
    """Records of a file, or of the `records.jsonl` of a directory; of two with one key the later.

    Raises UserError naming file and line of what is no record.
    """
    if path.is_dir():
        path /= "records.jsonl"
    return list({record.key: record for _, record in read_lines(path)}.values())


def write_sorted(path: Path, places: Mapping[str, int]) -> None:
    """Put the lines in the order of `places` (by key), the later of two with one key; lines of
    other keys come last, as they stood. The file is whole at every moment."""
    lines = {record.key: line for line, record in read_lines(path)}
    ordered = sorted(lines, key=lambda key: places.get(key, len(places)))
    text = "".join(lines[key] + "\n" for key in ordered).encode()
    if text != path.read_bytes():
        write_atomic(path, text)


def claim(path: Path, value: Mapping[str, Any], kept: Mapping[str, str]) -> None:
    """Write down whose results a directory holds, or refuse it.

    `kept`: fields that must be what they were, and what the directory holds where they are not.
    """
    if not path.exists():
        return write_json(path, value)
    held = read_json(path)
    for field, what in kept.items():
        if not isinstance(held, dict) or held.get(field) != value[field]:
            raise UserError(
                f"{path.parent}: holds {what} (its {field} differs); give another --out, or "
                f"remove the directory"
            )


def record_files(path: Path) -> list[Path]:
    """A record file, or every `records.jsonl` at or below a directory that has any record. Raises
    UserError if there is none."""
    files = sorted(path.rglob("records.jsonl")) if path.is_dir() else [path]
    found = [file for file in files if not file.exists() or file.stat().st_size]
    if not found:
        raise UserError(f"{path}: holds no records; expected what `foresight eval` writes")
    return found


def record_sets(path: Path) -> dict[str, list[Record]]:
    """Records by task, of all `record_files`. Raises UserError if a task's are of two models."""
    sets: dict[str, list[Record]] = {}
    for file in record_files(path):
        for record in read_records(file):
            sets.setdefault(record.task, []).append(record)
    for task, records in sets.items():
        models = sorted({record.model for record in records})
        if len(models) > 1:
            raise UserError(f"{path}: records of {task} are of models {', '.join(models)}")
    return sets


def paired_sets(first: Path, second: Path) -> list[tuple[list[Record], list[Record]]]:
    """Record sets of the same tasks at two paths. One set each: a pair even if the tasks have other
    names (two ways of asking). Raises UserError as `record_sets`, or if no task is in both."""
    sets = record_sets(first), record_sets(second)
    if all(len(one) == 1 for one in sets):
        return [(next(iter(sets[0].values())), next(iter(sets[1].values())))]
    pairs = [(rows, sets[1][name]) for name, rows in sets[0].items() if name in sets[1]]
    if not pairs:
        raise UserError(
            f"{first} has tasks {', '.join(sets[0])}; {second} has {', '.join(sets[1])}: none in "
            f"common"
        )
    return pairs
