"""Where documents come from: Python on this machine, folders, JSONL, Parquet, the hub.

Every source yields `Document`s; newlines become "\\n" and nothing else is changed. Files
that hold no text are left out and counted by reason in `skipped`, if one is passed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from foresight.document import Document, Image, Text
from foresight.errors import UserError

# Written by programs, not people: tables that would fill a split with numbers.
# Said in a comment or by gencodec; docstrings also speak of what others generate (`ast`).
_GENERATED = re.compile(
    r"^#.*(auto-?generated|generated (by|from|and used))|generated from .* with gencodec",
    re.IGNORECASE | re.MULTILINE,
)
_GENERATED_FILES = frozenset({"pydoc_data/topics.py"})
# Not Python, or Python that is wrong on purpose.
_NOT_PYTHON = re.compile(r"lib2to3/tests/data/|(^|/)(badsyntax_|bad_coding|bad_getattr)")
TEST_PACKAGE = "test"


def standard_library(
    skipped: Counter[str] | None = None, *, tests: bool = False
) -> Iterator[Document]:
    """Source files of the running interpreter's standard library, grouped by top-level package.

    Without `site-packages`, generated tables and broken test data. CPython's own tests, the
    group `test`, are 58 % of the bytes and one package, so they could only be trained on: with
    them the held-out packages are another kind of text than most of the training text.
    """
    root = Path(sysconfig.get_path("stdlib"))
    never = () if tests else (TEST_PACKAGE,)
    for document in _python_files(root, "code", skipped):
        if document.group not in never:
            yield document


def installed_packages(skipped: Counter[str] | None = None) -> Iterator[Document]:
    """Source files of every Python package in site-packages, grouped by top-level package."""
    for root in sorted({Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}):
        if root.is_dir():
            yield from _python_files(root, "code", skipped)


def folder(
    path: Path, source: str = "text", skipped: Counter[str] | None = None
) -> Iterator[Document]:
    """Every text file below `path`, grouped by folder.

    A file's group is the outermost folder around it that holds at most a thirtieth of all
    bytes, so that any validation share can be met by whole groups; failing that, it is
    alone. Hidden files and folders are left out. Raises UserError if the folder is missing or,
    at the end, if no file in it held text.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    return _folder(path, source, Counter() if skipped is None else skipped)


def jsonl(path: Path, field: str = "text", source: str = "text") -> Iterator[Document]:
    """One document per line: `field` is a string or a list of content parts.

    A list is in OpenAI form, `[{"type": "text", "text": ...}, {"type": "image", "path":
    ...}]`, with image paths relative to the file. Each document is its own group. Raises
    UserError naming file and line for a line that does not parse, a missing field or an
    unreadable image.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return _not_empty(_jsonl(path, field, source), path)


def parquet(path: Path, column: str = "text", source: str = "text") -> Iterator[Document]:
    """One document per row of a string column; nulls and empty strings are left out.

    Each document is its own group. Raises UserError if the file is missing or no Parquet,
    or if the column is missing or holds no strings.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    module: Any = importlib.import_module("pyarrow.parquet")
    arrow: Any = importlib.import_module("pyarrow")
    try:
        table = module.ParquetFile(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    names = table.schema_arrow.names
    if column not in names:
        raise UserError(f"{path}: no column '{column}' (it has {', '.join(names)})")
    kind = table.schema_arrow.field(column).type
    if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
        raise UserError(f"{path}: column '{column}' holds {kind}, not text")
    rows = (
        value
        for batch in table.iter_batches(columns=[column])
        for value in batch.column(0).to_pylist()
    )
    return _not_empty(_rows(rows, path.name, source), path)


def hub(
    name: str,
    config: str | None = None,
    split: str = "train",
    column: str = "text",
    source: str = "text",
) -> Iterator[Document]:
    """Stream a text column of a Hugging Face hub data set (extra `hf`; needs a network).

    Raises UserError if `datasets` is not installed, the data set cannot be opened, or the
    column is missing.
    """
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f"hub data set '{name}': the package `datasets` is missing; "
            "install it with `pip install 'foresight[hf]'`"
        ) from None
    try:
        rows = datasets.load_dataset(name, config, split=split, streaming=True)
    except (OSError, ValueError) as error:
        raise UserError(f"hub data set '{name}': cannot be opened ({error})") from None
    return _rows(_column(rows, name, column), name, source)


def size_bytes(document: Document) -> int:
    """Bytes of a document: its text as UTF-8 and its pictures as pixels."""
    pixels = sum(part.pixels.nbytes for part in document.parts if isinstance(part, Image))
    return len(document.text.encode()) + pixels


def split(
    documents: Iterable[Document],
    validation_share: float,
    seed: int,
    never: tuple[str, ...] = (TEST_PACKAGE,),
) -> tuple[list[Document], list[Document]]:
    """Split into (train, validation) by whole group, about `validation_share` of the bytes.

    Groups are visited in the order of a hash of seed and name, and taken while they fit;
    a group of more than a third of the validation bytes is passed over, so that no package
    is the validation set, unless less than half the bytes were found without such groups.
    If no group fits, the smallest is taken. Groups in
    `never` stay in training. Raises UserError for a share outside (0, 1), or if there are
    fewer than two groups to choose from.
    """
    if not 0 < validation_share < 1:
        raise UserError(f"validation_share must lie between 0 and 1, got {validation_share}")
    everything = list(documents)
    sizes: defaultdict[str, int] = defaultdict(int)
    for document in everything:
        sizes[document.group] += size_bytes(document)
    eligible = sorted((g for g in sizes if g not in never), key=lambda g: _order(seed, g))
    if len(sizes) < 2 or not eligible:
        raise UserError(
            f"cannot hold out a whole group for validation: the {len(everything)} documents "
            f"have {len(sizes)} group(s), {len(eligible)} of them may be validation"
        )
    chosen = _fill(eligible, sizes, validation_share * sum(sizes.values()))
    train = [document for document in everything if document.group not in chosen]
    return train, [document for document in everything if document.group in chosen]


def _fill(groups: list[str], sizes: dict[str, int], target_bytes: float) -> set[str]:
    chosen: set[str] = set()
    total = 0
    # Few large groups may leave the share far from met: then one of them may be all of it.
    for largest in (target_bytes / 3, target_bytes):
        if total >= target_bytes / 2:
            break
        for group in groups:
            size = sizes[group]
            if group not in chosen and size <= largest and total + size <= 1.02 * target_bytes:
                chosen.add(group)
                total += size
    return chosen or {min(groups, key=lambda group: sizes[group])}


def _order(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()


def files_below(root: Path, never: tuple[str, ...] = ("__pycache__",)) -> Iterator[Path]:
    """Files below `root` in a fixed order, without hidden ones and caches."""
    for base, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in never
        )
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(base, name)


def _read_text(path: Path) -> tuple[str, str]:
    """The text of a file and "", or "" and the reason why it has none."""
    try:
        data = path.read_bytes()
    except OSError:
        return "", "unreadable"
    if b"\0" in data:
        return "", "binary"
    try:
        text = clean(data.decode())
    except UnicodeDecodeError:
        return "", "not UTF-8"
    return (text, "") if text.strip() else ("", "empty")


def clean(text: str) -> str:
    """Newlines of every system become "\\n"."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _python_files(root: Path, source: str, skipped: Counter[str] | None) -> Iterator[Document]:
    skipped = Counter() if skipped is None else skipped
    for path in files_below(root, never=("__pycache__", "site-packages")):
        if path.suffix != ".py":
            continue
        name = path.relative_to(root).as_posix()
        if _NOT_PYTHON.search(name):
            skipped["test data"] += 1
            continue
        text, reason = _read_text(path)
        if not reason and (name in _GENERATED_FILES or _GENERATED.search(text[:500])):
            reason = "generated"
        if reason:
            skipped[reason] += 1
            continue
        group = name.split("/")[0].removesuffix(".py")
        yield Document(id=name, parts=(Text(text),), source=source, group=group)


def _folder(path: Path, source: str, skipped: Counter[str]) -> Iterator[Document]:
    before = skipped.copy()
    files = [file.relative_to(path) for file in files_below(path)]
    groups = _folder_groups(path, files)
    found = False
    for file in files:
        text, reason = _read_text(path / file)
        if reason:
            skipped[reason] += 1
        else:
            found = True
            yield Document(file.as_posix(), (Text(text),), source, group=groups[file])
    if not found:
        seen = skipped - before
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(seen.items()))
        raise UserError(
            f"{path}: no readable text, the folder is empty or binary "
            f"({seen.total()} files seen{': ' + reasons if reasons else ''})"
        )


def _folder_groups(root: Path, files: list[Path]) -> dict[Path, str]:
    sizes: Counter[Path] = Counter()
    for file in files:
        size = (root / file).lstat().st_size
        for folder_around in file.parents:
            sizes[folder_around] += size
    largest = sizes[Path()] / 30
    groups = {}
    for file in files:
        outermost_first = [*reversed(file.parents)]
        small = [around for around in outermost_first if sizes[around] <= largest]
        groups[file] = (small[0] if small else file).as_posix()
    return groups


def _not_empty(documents: Iterator[Document], path: Path) -> Iterator[Document]:
    found = False
    for document in documents:
        found = True
        yield document
    if not found:
        raise UserError(f"{path}: holds no document with text")


def _jsonl(path: Path, field: str, source: str) -> Iterator[Document]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise UserError(f"{where}: not valid JSON ({error})") from None
            if not isinstance(row, dict) or field not in row:
                raise UserError(f"{where}: field '{field}' is missing")
            parts = _parts(row[field], where, field, path.parent)
            if parts:
                name = f"{path.name}:{number}"
                yield Document(name, parts, source, group=name)


def _parts(value: Any, where: str, field: str, base: Path) -> tuple[Text | Image, ...]:
    """Content parts of one line; none if they hold neither text nor picture."""
    if isinstance(value, str):
        return (Text(clean(value)),) if value.strip() else ()
    if not isinstance(value, list):
        raise UserError(f"{where}: field '{field}' is neither text nor a list of parts")
    parts: list[Text | Image] = []
    for part in value:
        match part:
            case {"type": "text", "text": str(text)}:
                if text:
                    parts.append(Text(clean(text)))
            case {"type": "image", "path": str(name)}:
                parts.append(_image(base / name, where))
            case _:
                raise UserError(
                    f"{where}: field '{field}' has a part that is neither "
                    '{"type": "text", "text": ...} nor {"type": "image", "path": ...}'
                )
    return tuple(parts)


def _image(path: Path, where: str) -> Image:
    try:
        return Image.from_file(path)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _column(rows: Iterable[dict[str, Any]], name: str, column: str) -> Iterator[Any]:
    for row in rows:
        if column not in row:
            raise UserError(
                f"hub data set '{name}': no column '{column}' (it has {', '.join(row)})"
            )
        yield row[column]


def _rows(values: Iterable[Any], name: str, source: str) -> Iterator[Document]:
    for number, value in enumerate(values, start=1):
        if isinstance(value, str) and value.strip():
            row = f"{name}:{number}"
            yield Document(row, (Text(clean(value)),), source, group=row)
