"""Evaluation records in columns: one pass over the JSONL, lines read again only when shown.

A file of 200,000 records has hundreds of megabytes. Kept in memory are what is filtered, sorted
and listed by, and where each line begins; prompts and outputs stay in the mapped file.
"""

from __future__ import annotations

import math
import mmap
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.evals.record import Record
from foresight.report.record_line import FIELDS, Search, margin, parse, spans, target_text

TEXTS = ("task", "item", "model", "group", "reason", "answer", "target")
"""Columns of text, kept as codes into their distinct values."""
NUMBERS = ("sample", "score", "tokens", "weight", "margin")
"""Columns of numbers; nan where a record has none."""
ALL = slice(None)
CELL = 200
"""Characters of an answer or a target that are listed and sorted by; the record has them all."""
PLACE = 5
"""Numbers of a row's place: source, first byte, bytes, and `spans` of the line."""
LISTED = 5
"""Faulty lines that are named; the others are counted."""


@dataclass(frozen=True)
class Column:
    """Text of every row as a code: `values[codes[row]]`; the code -1 is None."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def __getitem__(self, row: int) -> str | None:
        code = self.codes[row]
        return None if code < 0 else self.values[code]

    def code(self, value: str) -> int:
        """-2, which no row has, for a value that does not occur."""
        return self.values.index(value) if value in self.values else -2

    def counts(self, rows: NDArray[np.intp] | slice = ALL) -> list[tuple[str, int]]:
        """Values with their number of these rows, in natural order."""
        codes = self.codes[rows]
        some = np.bincount(codes[codes >= 0], minlength=len(self.values))
        pairs = [(value, int(n)) for value, n in zip(self.values, some, strict=True) if n]
        return sorted(pairs, key=lambda pair: natural(pair[0]))

    def ranks(self) -> NDArray[np.float64]:
        """Place of every row's value in natural order; nan for None."""
        order = sorted(range(len(self.values)), key=lambda code: natural(self.values[code]))
        rank = np.full(len(self.values) + 1, np.nan)
        rank[order] = np.arange(len(order))
        return rank[self.codes]


@dataclass(frozen=True)
class Source:
    """A file's bytes, mapped or held, and the folder that has its pictures. A mapped file may grow
    or be replaced, but must not be cut short in its place."""

    data: bytes | mmap.mmap
    folder: Path | None
    name: str
    argument: int

    def line(self, start: int, length: int) -> bytes:
        return bytes(self.data[start : start + length])


class RecordIndex:
    """Records of one or several files, by row. Row numbers follow files and lines.

    `notes`: what a reader of the table must know about the files (torn or faulty lines, records
    answered twice, fields not known here). Of records with one key in one argument the last
    stands; between arguments both do, and the model's name is followed by the argument's.
    """

    def __init__(
        self, sources: Sequence[Source], progress: Callable[[int], None] = lambda done: None
    ) -> None:
        self.sources = tuple(sources)
        built = _Builder(self.sources, progress)
        keep = np.flatnonzero(np.frombuffer(built.alive, np.bool_))
        self.size = len(keep)
        self.notes = built.notes()
        self._places = np.array(built.places, np.int64).reshape(-1, PLACE)[keep]
        self.texts = {name: built.column(name, keep) for name in TEXTS}
        self.numbers = {
            name: np.array(built.numbers[name], np.float64)[keep] for name in NUMBERS
        }  # fmt: skip
        self._hits: dict[str, NDArray[np.bool_]] = {}
        self._ranks: dict[str, NDArray[np.float64]] = {}

    @classmethod
    def open(
        cls, paths: Sequence[Path], progress: Callable[[int], None] = lambda done: None
    ) -> RecordIndex:
        """Index files or folders. Raises UserError naming the first that holds no record."""
        sources = []
        for argument, path in enumerate(paths):
            for file in record_files(path):
                with file.open("rb") as stream:
                    if stream.seek(0, 2):
                        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                        sources.append(Source(data, file.parent, str(file), argument))
        index = cls(sources, progress)
        if not index.size:
            shown = ", ".join(map(str, paths))
            raise UserError(f"{shown}: no evaluation record; {'; '.join(index.notes) or 'empty'}")
        return index

    @classmethod
    def of(cls, records: Iterable[Record], folder: Path | None = None) -> RecordIndex:
        """Index records in memory; `folder` has their `images/`."""
        data = "".join(record.to_line() + "\n" for record in records)
        return cls([Source(data.encode(), folder, "records", 0)])

    def line(self, row: int) -> bytes:
        source, start, length = map(int, self._places[row, :3])
        return self.sources[source].line(start, length)

    def record(self, row: int) -> dict[str, Any]:
        """The whole record as it stands in its file."""
        return parse(self.line(row))

    def sort_key(self, name: str) -> NDArray[np.float64]:
        """A number per row that sorts as the column does; nan sorts last in either direction."""
        if name in NUMBERS:
            return self.numbers[name]
        if name not in self._ranks:
            self._ranks[name] = self.texts[name].ranks()
        return self._ranks[name]

    def units(self) -> NDArray[np.int64]:
        """A number per row, the same for rows that answer one sample of one item of one task."""
        items, tasks = self.texts["item"], self.texts["task"]
        samples = np.unique(self.numbers["sample"], return_inverse=True)[1].astype(np.int64)
        width = int(samples.max(initial=0)) + 1
        return (tasks.codes.astype(np.int64) * len(items.values) + items.codes) * width + samples

    def matches(self, text: str) -> NDArray[np.bool_]:
        """Which rows have the text in prompt or output; letters match in either case.

        A text that goes on from one just searched (someone is typing) is looked for among its
        hits only.
        """
        if text in self._hits:
            return self._hits[text]
        alike = [known for known in self._hits if known.isascii() == text.isascii()]
        within = [self._hits[known] for known in alike if known in text]
        rows = np.flatnonzero(min(within, key=np.count_nonzero) if within else np.ones(self.size))
        found = np.zeros(self.size, bool)
        search = Search(text)
        for row, (source, start, length, output, end) in zip(
            rows.tolist(), self._places[rows].tolist(), strict=True
        ):
            line = self.sources[source].line(start, length)
            found[row] = search.finds(line, output, end)
        while len(self._hits) >= 8:
            del self._hits[next(iter(self._hits))]
        self._hits[text] = found
        return found


def record_files(path: Path) -> list[Path]:
    """The JSONL file itself, a folder's `records.jsonl`, or all of that name below it.

    Raises UserError if there is none, or it cannot be read.
    """
    if path.is_dir():
        own = path / "records.jsonl"
        found = [own] if own.is_file() else sorted(path.rglob("records.jsonl"))
        if not found:
            raise UserError(f"{path}: no records.jsonl in this folder or below it")
        return found
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a records.jsonl or a folder that has one")
    return [path]


def natural(text: str) -> list[str | int]:
    """Sorts item-2 before item-10, and in either case alike."""
    parts: list[str | int] = [*re.split(r"([0-9]+)", text[:CELL].casefold())]
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts


class _Builder:
    """The pass over the files."""

    def __init__(self, sources: Sequence[Source], progress: Callable[[int], None]) -> None:
        self.sources = sources
        # Arrays, since millions of small objects would be walked by the garbage collector.
        self.places = array("q")
        self.alive = bytearray()
        self.numbers = {name: array("d") for name in NUMBERS}
        self._codes = {name: array("i") for name in TEXTS}
        self._values: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._rows: dict[str, int] = {}
        self._faults: list[str] = []
        self._torn: list[str] = []
        self._unknown: Counter[str] = Counter()
        self._replaced = 0
        self._doubled: set[str] = set()
        done = 0
        for number, source in enumerate(sources):
            for count, (start, line) in enumerate(_lines(source.data), start=1):
                if line.strip():
                    self._take(number, start, line, count)
                if count % 2000 == 0:
                    progress(done + start)
            done += len(source.data)
        progress(done)

    def _take(self, number: int, start: int, line: bytes, count: int) -> None:
        try:
            record = parse(line)
            numbers = {
                "sample": int(record["sample"]),
                "score": math.nan if record["score"] is None else float(record["score"]),
                "tokens": int(record["tokens"]),
                "weight": float(record["weight"]),
                "margin": margin(record),
            }
            if not 0 <= numbers["weight"] < math.inf or math.isinf(numbers["score"]):
                raise ValueError("weight or score is out of range")
        except (ValueError, TypeError, OverflowError) as error:
            data, name = self.sources[number].data, self.sources[number].name
            if start + len(line) == len(data):
                self._torn.append(f"{name}: the last line is torn ({len(line)} bytes), left out")
            else:
                self._faults.append(f"{name}, line {count}: no record ({error}), left out")
            return
        for name, value in numbers.items():
            self.numbers[name].append(value)
        for name in TEXTS:
            text = target_text(record) if name == "target" else record[name]
            self._codes[name].append(-1 if text is None else self._code(name, text))
        if len(record) > len(FIELDS):
            self._unknown.update(name for name in record if name not in FIELDS)
        self._note_key(record["key"], record["model"], number)
        self.places.extend((number, start, len(line), *spans(line, record)))
        self.alive.append(1)

    def _code(self, name: str, text: str) -> int:
        values = self._values[name]
        if name in ("answer", "target") and len(text) > CELL:
            text = text[:CELL] + "…"
        return values.setdefault(text, len(values))

    def _note_key(self, key: str, model: str, number: int) -> None:
        earlier = self._rows.get(key)
        self._rows[key] = len(self.alive)
        if earlier is None:
            return
        source = self.sources[self.places[PLACE * earlier]]
        if source.argument == self.sources[number].argument:
            self.alive[earlier] = 0
            self._replaced += 1
        else:
            self._doubled.add(model)

    def column(self, name: str, keep: NDArray[np.intp]) -> Column:
        codes, values = np.array(self._codes[name], np.int32), tuple(self._values[name])
        if name == "model" and self._doubled:
            # The same questions answered twice under one name: two runs to be compared.
            folders = [source.argument + 1 for source in self.sources]
            labels: dict[str, int] = {}
            for row, code in enumerate(codes.tolist()):
                label = values[code]
                if label in self._doubled:
                    label += f" ({folders[self.places[PLACE * row]]})"
                codes[row] = labels.setdefault(label, len(labels))
            values = tuple(labels)
        return Column(codes[keep], values)

    def notes(self) -> list[str]:
        found = [*self._torn, *self._faults[:LISTED]]
        if len(self._faults) > LISTED:
            found.append(f"{len(self._faults) - LISTED:,} more lines are no records, left out")
        if self._replaced:
            found.append(f"{self._replaced:,} records were written again later: the last stands")
        if self._unknown:
            names = ", ".join(f"{name} ({n:,})" for name, n in sorted(self._unknown.items()))
            found.append(f"fields that this version does not know, shown as they stand: {names}")
        if self._doubled:
            names = ", ".join(sorted(self._doubled))
            found.append(f"{names}: in several arguments; (1), (2) tell which one")
        return found


def _lines(data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of every line, the line break left out."""
    start, size = 0, len(data)
    while start < size:
        end = data.find(b"\n", start)
        end = size if end < 0 else end
        yield start, data[start:end]
        start = end + 1
