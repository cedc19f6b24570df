"""Training corpora as streams of documents, cut into units that are scanned one by one.

A corpus is a text file (one document), JSONL, Parquet, any of the first two compressed, a folder of
such files, one of our corpora (an experiment, its `corpus` folder, or one of its runs), or standard
input. No more than a unit's document, or a piece of a long one, is in memory.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from pydantic_core import from_json

from foresight.data.sources import files_below
from foresight.errors import UserError
from foresight.evals.contamination.normalise import spaced, without_zero
from foresight.runs import read_json

Kind = Literal["text", "jsonl", "parquet", "shard"]
UNIT_BYTES = 64 << 20
PIECE_BYTES = 4 << 20
"""A longer document is scanned in pieces that overlap."""
_BUFFER_BYTES = 1 << 20
STDIN = "-"
_COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_KINDS: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class Piece(NamedTuple):
    """Text of a document, or a piece of it: the document's number in its unit, the character of
    the document that the piece begins with, and valid UTF-8 without a byte 0."""

    document: int
    start: int
    text: bytes


@dataclass(frozen=True)
class Unit:
    """A part of a corpus. `files`: text files, a document each; else one file, of which the bytes,
    row groups or documents from `start` to `stop` are meant (all if `stop` is -1). `field`: the
    JSON field ("meta.text" looks inside "meta") or column with the text. `bytes`: on disk."""

    kind: Kind
    files: tuple[str, ...]
    field: str = ""
    start: int = 0
    stop: int = -1
    bytes: int = 0

    def pieces(self, reach: int) -> Iterator[Piece]:
        """The unit's documents, empty ones too. Two pieces of a long one overlap by `reach`
        letters (unless `PIECE_BYTES` hold fewer) and begin and end between words, if any do.

        Raises UserError naming file, line and field of what is no document.
        """
        for number, content in enumerate(_READERS[self.kind](self)):
            if isinstance(content, bytes) and len(content) <= PIECE_BYTES:
                yield Piece(number, 0, without_zero(content))
                continue
            chunks = _chunks(io.BytesIO(content), "") if isinstance(content, bytes) else content
            yield from _pieces(number, chunks, reach)


def _pieces(document: int, chunks: Iterator[bytes], reach: int) -> Iterator[Piece]:
    start, held, chunk = 0, b"", next(chunks, b"")
    while following := next(chunks, b""):
        # A character that is cut waits for the rest of it.
        whole = _character(chunk, len(chunk) - 1) if chunk[-1] > 127 else len(chunk)
        text = held + without_zero(_valid(chunk[:whole]))
        end, again = _cut(text, reach)
        yield Piece(document, start, text[:end])
        start += _characters(text[:again])
        held, chunk = text[again:], chunk[whole:] + following
    yield Piece(document, start, held + without_zero(_valid(chunk)))


def _valid(text: bytes) -> bytes:
    """The text, if it is UTF-8, and with replacement characters if not."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode(errors="replace").encode()
    return text


def _characters(text: bytes) -> int:
    """How many there are in valid UTF-8: bytes that go on with one are left out."""
    return int(np.count_nonzero(np.frombuffer(text, np.int8) >= -64))


def _cut(text: bytes, reach: int) -> tuple[int, int]:
    """Where a piece ends, and where the next begins so that `reach` letters of it come again: at
    the end and the beginning of words, unless none of either is near."""
    size = 64 * reach
    while True:
        begin = _character(text, max(0, len(text) - size))
        letters = spaced(text[begin:], False)
        end = letters.rfind(b" ") + 1 or len(letters)
        kept = np.flatnonzero(np.frombuffer(letters[:end], np.uint8) != ord(" "))
        first = int(kept[-reach]) if len(kept) >= reach else 0
        if word := letters.rfind(b" ", 0, first) + 1:
            return begin + end, begin + word
        if begin == 0 or size > PIECE_BYTES:
            break
        size *= 8
    enough = len(kept) >= reach or len(text) <= PIECE_BYTES
    return begin + end, _character(text, begin + first) if enough else begin + end


def _character(text: bytes, at: int) -> int:
    """Where the character begins that a byte belongs to."""
    while 0 < at < len(text) and text[at] & 0xC0 == 0x80:
        at -= 1
    return at


def units_of(paths: Iterable[str], field: str, kind: Kind | None) -> list[Unit]:
    """The units of corpora, in a fixed order. `kind`: of files whose names do not tell it.

    Raises UserError if one is missing or holds nothing that can be read.
    """
    found = [unit for path in paths for unit in _units_of(path, field, kind)]
    if not found:
        raise UserError("the corpus holds no files")
    return found


def _units_of(path: str, field: str, kind: Kind | None) -> Iterator[Unit]:
    if path == STDIN:
        yield Unit(kind or "text", (STDIN,), field)
        return
    corpus = _own_corpus(Path(path))
    if corpus is not None:
        yield from _shard_units(corpus)
        return
    texts: list[tuple[str, int]] = []
    for file in files_below(Path(path)) if Path(path).is_dir() else [Path(path)]:
        try:
            size = file.stat().st_size
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from None
        kept = file.with_suffix("") if file.suffix in _COMPRESSED else file
        whole = Unit(_KINDS.get(kept.suffix, kind or "text"), (str(file),), field, bytes=size)
        if whole.kind == "text":
            texts.append((str(file), size))
        elif whole.kind == "parquet":
            yield from _parquet_units(whole)
        elif file is not kept:
            yield whole
        else:
            for start in range(0, size, UNIT_BYTES):
                stop = min(size, start + UNIT_BYTES)
                yield replace(whole, start=start, stop=stop, bytes=stop - start)
    yield from _text_units(texts)


def _text_units(texts: list[tuple[str, int]]) -> Iterator[Unit]:
    """Small files together, large ones alone."""
    some: list[str] = []
    total = 0
    for name, size in texts:
        if some and total + size > UNIT_BYTES:
            yield Unit("text", tuple(some), bytes=total)
            some, total = [], 0
        some.append(name)
        total += size
    if some:
        yield Unit("text", tuple(some), bytes=total)


def _parquet_units(whole: Unit) -> Iterator[Unit]:
    file = _parquet_file(whole)
    try:
        start, total = 0, 0
        for group in range(file.metadata.num_row_groups):
            total += file.metadata.row_group(group).total_byte_size
            if total >= UNIT_BYTES or group == file.metadata.num_row_groups - 1:
                yield replace(whole, start=start, stop=group + 1, bytes=total)
                start, total = group + 1, 0
    finally:
        file.close()


def _own_corpus(path: Path) -> Path | None:
    """The corpus folder of an experiment, of a run in it, or the folder itself; None if it is
    something else. Raises UserError if a run was trained on another corpus than lies there."""
    if (path / "run.json").exists():
        from foresight.data.corpus import Corpus

        corpus = path.resolve().parents[1] / "corpus"
        if Corpus(corpus).sha256 != read_json(path / "run.json")["hashes"]["data"]:
            raise UserError(f"{path}: was trained on another corpus than {corpus} (hashes differ)")
        return corpus
    for place in (path, path / "corpus"):
        if (place / "manifest.json").exists() and (place / "tokenizer.json").exists():
            return place
    return None


def _shard_units(directory: Path) -> Iterator[Unit]:
    """What is trained on; held-out documents are left out."""
    from foresight.data.corpus import Corpus
    from foresight.data.shards import Shard

    for name in Corpus(directory).names:
        offsets = Shard.open(directory, f"{name}.train").offsets
        start = 0
        for document in range(1, len(offsets)):
            tokens = int(offsets[document] - offsets[start])
            if tokens >= UNIT_BYTES // 4 or document == len(offsets) - 1:
                shard = (str(directory / f"{name}.train"),)
                yield Unit("shard", shard, start=start, stop=document, bytes=2 * tokens)
                start = document


def _text(unit: Unit) -> Iterator[Iterator[bytes]]:
    for name in unit.files:
        with _opened(name) as stream:
            yield _chunks(stream, name)


def _chunks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read(PIECE_BYTES):
            yield chunk
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error})") from None


def _jsonl(unit: Unit) -> Iterator[bytes]:
    """A document per line that begins in the unit; an empty line is an empty document."""
    (name,) = unit.files
    path = unit.field.split(".")
    with _opened(name) as stream:
        at = unit.start
        if at:
            # A line that begins with the unit is its own; the rest of one before is not.
            stream.seek(at - 1)
            at += len(stream.readline()) - 1
        for number, line in enumerate(_lines(stream, name)):
            if unit.stop >= 0 and at >= unit.stop:
                return
            at += len(line)
            try:
                text = _field(_parsed(line), path) if line.strip() else ""
            except ValueError as error:
                where = f"{name}, line {_lines_before(unit) + number + 1}"
                raise UserError(f"{where}: {error}") from None
            yield text.encode(errors="replace")


def _parsed(line: bytes) -> Any:
    """pydantic's parser is three times as fast; Python's takes escapes that are no characters,
    and says more of what is wrong."""
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line.decode())


def _lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        yield from stream
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error})") from None


def _field(row: Any, path: list[str]) -> str:
    """Raises ValueError saying what is missing."""
    value = row
    for name in path:
        if not isinstance(value, dict) or name not in value:
            has = f"; it has {', '.join(row)}" if isinstance(row, dict) else ""
            raise ValueError(f"field {'.'.join(path)} is missing{has} (name it with --field)")
        value = value[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"field {'.'.join(path)}: {json.dumps(value)[:60]}; expected a text")
    return value


def _lines_before(unit: Unit) -> int:
    """Lines that begin before the unit: counted only to name one that is wrong."""
    with _opened(unit.files[0]) as stream:
        left, lines, last = unit.start, 0, b"\n"
        while left > 0 and (chunk := stream.read(min(left, PIECE_BYTES))):
            lines, left, last = lines + chunk.count(b"\n"), left - len(chunk), chunk[-1:]
        return lines + (last != b"\n")


def _parquet(unit: Unit) -> Iterator[bytes]:
    import pyarrow

    file = _parquet_file(unit)
    try:
        for batch in file.iter_batches(
            256, row_groups=list(range(unit.start, unit.stop)), columns=[unit.field],
            use_threads=False,
        ):  # fmt: skip
            # Bytes of the column as they lie there: as values they would be copied and decoded.
            column = batch.column(0).cast(pyarrow.large_binary()).fill_null(b"")
            _, offsets, data = column.buffers()
            ends = np.frombuffer(offsets, np.int64)[column.offset :][: len(column) + 1].tolist()
            view = memoryview(data or b"")
            for begin, end in pairwise(ends):
                text = bytes(view[begin:end])
                yield text if text.isascii() else _valid(text)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{unit.files[0]}: cannot be read ({error})") from None
    finally:
        file.close()


def _parquet_file(unit: Unit) -> Any:
    import pyarrow
    import pyarrow.parquet

    (name,) = unit.files
    try:
        file = pyarrow.parquet.ParquetFile(name)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{name}: not a readable Parquet file ({error})") from None
    names = file.schema_arrow.names
    if unit.field not in names:
        raise UserError(f"{name}: no column {unit.field}; it has {', '.join(names)} (use --field)")
    kind = file.schema_arrow.field(unit.field).type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise UserError(f"{name}: column {unit.field} holds {kind}, not text")
    return file


def _shard(unit: Unit) -> Iterator[bytes]:
    from foresight.data.corpus import Corpus
    from foresight.data.shards import Shard

    path = Path(unit.files[0])
    shard, tokenizer = Shard.open(path.parent, path.name), Corpus(path.parent).tokenizer
    for document in range(unit.start, unit.stop):
        ids = shard.tokens[shard.offsets[document] : shard.offsets[document + 1]]
        yield tokenizer.decode(ids.tolist()).encode()


_READERS: dict[Kind, Any] = {"text": _text, "jsonl": _jsonl, "parquet": _parquet, "shard": _shard}


def _opened(name: str) -> BinaryIO:
    """Bytes of a file, decompressed, or of standard input."""
    try:
        if name == STDIN:
            return open(0, "rb", closefd=False)
        codec = _COMPRESSED.get(Path(name).suffix)
        if codec is None:
            return open(name, "rb", buffering=_BUFFER_BYTES)
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(name, compression=codec), _BUFFER_BYTES)
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error})") from None
