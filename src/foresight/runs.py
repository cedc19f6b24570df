"""The run directory on disk: names, atomic writes, hashes, the lock, the metrics log."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError


def canonical_json(value: Any) -> str:
    """One spelling per value (sorted keys, no spaces, no NaN): equal values hash equally."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_json(value: Any) -> str:
    return sha256_text(canonical_json(value))


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes. Raises UserError if the file is missing."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def code_sha256() -> str:
    """Hash of every source file of this package: which program made a file."""
    root = Path(__file__).parent
    parts = [
        f"{path.relative_to(root).as_posix()} {sha256_file(path)}"
        for path in sorted(root.rglob("*.py"))
    ]
    return sha256_text("\n".join(parts))


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing: temporary file, fsync, rename."""
    payload = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError naming the file, and the line if it does not parse."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read complete lines of a JSONL log; a torn last line (a killed writer) is dropped.

    Raises UserError naming file and line if any other line does not parse.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    rows = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}, line {number}: not valid JSON ({error})") from None
    return rows


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory for one process. Raises UserError if another process has it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise UserError(f"{directory}: in use by another process (pid {holder})") from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


@dataclass(frozen=True)
class Run:
    """A run directory: `run.json`, `metrics.jsonl`, `checkpoints/`, `result.json`.

    `run.json` holds the resolved spec and the hashes of code, data and tokenizer;
    `result.json` exists only once the run is finished.
    """

    path: Path

    @property
    def manifest_path(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def result_path(self) -> Path:
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        return self.result_path.exists()

    @property
    def started(self) -> bool:
        """True once a step has been logged: from then on nothing about it can be registered."""
        return self.metrics_path.exists() and self.metrics_path.stat().st_size > 0

    def manifest(self) -> dict[str, Any]:
        value = read_json(self.manifest_path)
        if not isinstance(value, dict) or "spec" not in value:
            raise UserError(f"{self.manifest_path}: not a run manifest (field 'spec' is missing)")
        return value

    def result(self) -> dict[str, Any]:
        value = read_json(self.result_path)
        if not isinstance(value, dict) or "compute_flops" not in value:
            raise UserError(
                f"{self.result_path}: not a run result (field 'compute_flops' is missing)"
            )
        return value

    def metrics(self) -> list[dict[str, Any]]:
        return read_jsonl(self.metrics_path)
