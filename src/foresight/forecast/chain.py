"""The hash chain of a folder of registrations: what was written down, in which order.

A registration is FOLDER/NNNN-name.json, canonical up to white space. FOLDER/chain.jsonl has one
line per registration and per sealed outcome, each with the hash of the line before, so that
nothing can be changed, dropped or slipped in between without a break that shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.runs import canonical_json, read_jsonl, sha256_json, write_atomic

GIT_SUFFIX = ".git.json"
"""Ends the file beside a registration that names the commit with it: no registration itself."""


def utc_now(now: datetime | None = None) -> str:
    """A time (default: this moment) as records have it."""
    return (now or datetime.now(UTC)).astimezone(UTC).isoformat()


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """Chain entries in order; empty if nothing was registered. Raises UserError on a bad line."""
    path = folder / "chain.jsonl"
    return read_jsonl(path) if path.exists() else []


def record_files(folder: Path) -> list[Path]:
    """The registrations that lie in a folder, in the chain or not."""
    return sorted(p for p in folder.glob("*.json") if not p.name.endswith(GIT_SUFFIX))


def check_name(name: str) -> None:
    """Raises UserError unless a name is a plain one."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name) or name.endswith(".git"):
        raise UserError(
            f"registration name {name!r}: expected lower-case letters, digits, . _ - "
            f"(and not .git at the end)"
        )


def new_path(folder: Path, name: str, entries: Sequence[Mapping[str, Any]]) -> Path:
    """Where the next registration goes. Raises UserError if its name is taken."""
    listed = [str(entry["file"]) for entry in entries if entry["kind"] == "registration"]
    for file in (*listed, *(path.name for path in record_files(folder))):
        if file[5:] == f"{name}.json":
            raise UserError(f"{folder / file}: already registered")
    return folder / f"{len(listed) + 1:04d}-{name}.json"


def last_registration(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """Hash of the newest registration."""
    hashes = [str(entry["sha256"]) for entry in entries if entry["kind"] == "registration"]
    return hashes[-1] if hashes else None


def record_sha256(record: Mapping[str, Any]) -> str:
    """Hash of the canonical form of everything else in a record."""
    return sha256_json({key: value for key, value in record.items() if key != "sha256"})


def append(
    folder: Path, entries: Sequence[dict[str, Any]], kind: str, file: str, sha256: str
) -> None:
    """Add one entry; `kind` is "registration" or "outcome"."""
    previous = sha256_json(entries[-1]) if entries else None
    entry = {"kind": kind, "file": file, "sha256": sha256, "previous": previous}
    # Rewritten whole and renamed: a torn append would corrupt the line that follows it.
    lines = "".join(canonical_json(item) + "\n" for item in (*entries, entry))
    write_atomic(folder / "chain.jsonl", lines)
