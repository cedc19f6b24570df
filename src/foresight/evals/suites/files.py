"""Public files as they are handed out: folders, gzip, tar archives."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from foresight.errors import UserError


def read_files(path: Path, *patterns: str) -> dict[str, str]:
    """Text of the files at or below `path`, members of tar archives included, whose names (without
    .gz) match a pattern; by name, sorted. Raises UserError if none does."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    found: dict[str, str] = {}
    for name, data in _files(path, patterns):
        try:
            found[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, {name}: not UTF-8 text ({error})") from None
    if not found:
        raise UserError(f"{path}: holds no file {' or '.join(patterns)}")
    return dict(sorted(found.items()))


def _files(path: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    def wanted(name: str) -> bool:
        return any(fnmatch(Path(name).name, pattern) for pattern in patterns)

    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if not file.is_file():
            continue
        try:
            if ".tar" in file.suffixes:
                yield from _members(file, wanted)
                continue
            name = file.name.removesuffix(".gz")
            if wanted(name):
                data = file.read_bytes()
                yield name, gzip.decompress(data) if file.suffix == ".gz" else data
        except (OSError, tarfile.TarError, EOFError) as error:
            raise UserError(f"{file}: cannot be read ({error})") from None


def _members(archive: Path, wanted: Any) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and wanted(member.name):
                stream = members.extractfile(member)
                assert stream is not None, "a file has content"
                yield Path(member.name).name, stream.read()


def rows_of(name: str, text: str, *fields: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs of (where, object) of a JSONL text. Raises UserError naming file, line and the field
    that is missing."""
    # Not splitlines: JSON strings may hold U+2028 and other signs that it takes for line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not valid JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object")
        for field in fields:
            if field not in row:
                raise UserError(f"{where}, field {field}: missing; it has {', '.join(row)}")
        yield where, row
