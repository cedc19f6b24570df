"""Files as users have them: text, YAML, JSON lines, folders, gzip and tar archives."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from foresight.errors import UserError

LFS_POINTER = "version https://git-lfs"
M = TypeVar("M", bound=BaseModel)


def read_text(path: Path) -> str:
    """A text file, which may be gzipped. Raises UserError if it cannot be read, or is no text."""
    try:
        data = path.read_bytes()
        return _decoded(str(path), gzip.decompress(data) if path.suffix == ".gz" else data)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _decoded(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 text ({error})") from None
    if text.startswith(LFS_POINTER):
        raise UserError(f"{name}: a Git LFS pointer, not the data; fetch it with git lfs pull")
    return text


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises UserError."""
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None


def read_rows(path: Path, *fields: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """`rows_of` a .jsonl or .jsonl.gz file.

    Unlike a journal such a file was written in one go: a torn last line is an error, for what it
    lost cannot be known.
    """
    return rows_of(str(path), read_text(path), *fields)


def rows_of(name: str, text: str, *fields: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs of ("NAME, line N", object) of a JSONL text; empty lines are left out. Raises UserError
    naming line and the field that is missing."""
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
            raise UserError(f"{where}: expected an object, found {type(row).__name__}")
        for field in fields:
            if field not in row:
                raise UserError(f"{where}, field {field}: missing; it has {', '.join(row)}")
        yield where, row


def lines_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_csv(path: Path, kind: type[M]) -> Iterator[tuple[str, M]]:
    """Pairs of ("FILE, line N", row) under a header; empty lines are left out. Raises UserError
    naming file, line and column."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    header = [name.strip() for name in next(reader, [])]
    for name, field in kind.model_fields.items():
        if field.is_required() and name not in header:
            raise UserError(f"{path}, line 1: no column {name}; expected {[*kind.model_fields]}")
    for fields in filter(None, reader):
        where = f"{path}, line {reader.line_num}"
        if len(fields) != len(header):
            raise UserError(f"{where}: {len(fields)} fields under {len(header)} columns")
        row = dict(zip(header, (one.strip() for one in fields), strict=True))
        yield where, validated(kind, row, where)


def read_files(path: Path, *patterns: str) -> dict[str, str]:
    """Text of the files at or below `path`, members of tar archives included, whose names (without
    .gz) match a pattern; by name, sorted. Raises UserError if none does."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    found = {name: _decoded(f"{path}, {name}", data) for name, data in _files(path, patterns)}
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


def _members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and wanted(member.name):
                stream = members.extractfile(member)
                assert stream is not None, "a file has content"
                yield Path(member.name).name, stream.read()


def validated(model: type[M], value: Any, where: str) -> M:
    """The model of a value. Raises UserError that begins with `where` and names every field that is
    wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [fault_of(model, one) for one in error.errors()]
        raise UserError(f"{where}, " + "; ".join(faults)) from None


def fault_of(model: type[BaseModel], error: Any) -> str:
    """`field NAME: what is wrong`, from one of the errors of pydantic."""
    name = f"field {'.'.join(map(str, error['loc'])) or '(all)'}"
    if error["type"] == "missing":
        return f"{name}: missing"
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown; fields: {', '.join(model.model_fields)}"
    return f"{name}: {error['msg']}, got {error['input']!r:.80}"
