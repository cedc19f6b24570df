"""One pass over a unit of a corpus: where questions' substrings and runs of words stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from foresight.data.deduplicate import SHINGLE_WORDS
from foresight.evals.contamination.corpora import Piece, Unit
from foresight.evals.contamination.grams import GramIndex, NearIndex, Words
from foresight.evals.contamination.normalise import spaced, squeezed
from foresight.evals.contamination.questions import Plan, draw
from foresight.evals.contamination.scan import Indices, SubstringIndex

BLOCK_BYTES = 4 << 20
"""Documents are scanned together, a byte 0 between them, so that small ones cost no more."""
EXCERPT = 300
AROUND = 40

Found = dict[str, Any]
Place = tuple[int, int, int, str]
"""Document of the unit, first character, character after the last, text with some around it."""


def scan_unit(plan: Plan, unit: Unit) -> Found:
    """What a unit holds of a plan's questions; JSON values only.

    `rows`: lines or rows, `documents` of them with text; `bytes` of text. `substrings`: {number:
    [documents it stands in, first places]}; `grams`: {number: [documents, up to so many as make it
    boilerplate; first place]}; `near`: {question: [documents, largest share, its place]}. Numbers
    are those of `Scanner`.
    """
    return _scanner(plan).unit(unit)


class Scanner:
    """The indexes of a plan. `substrings`: the distinct ones by number; `of`: each question's."""

    def __init__(self, plan: Plan) -> None:
        self.settings = settings = plan.settings
        texts = [one.text for one in plan.questions]
        numbers: dict[str, int] = {}
        self.of = [
            [numbers.setdefault(text, len(numbers)) for text in draw(one, settings)]
            for one in plan.questions
        ]
        self.substrings = list(numbers)
        self._index = SubstringIndex([text.encode() for text in numbers])
        self.grams = GramIndex(texts, settings.ngram) if settings.ngram else None
        self.near = NearIndex(texts, SHINGLE_WORDS, settings.near) if settings.near else None
        reaching = [*self._index.patterns, *(self.grams.texts if self.grams else ())]
        # A near-duplicate is at most as much longer than the question as it differs from it.
        reaching += [text.encode(errors="replace") * 2 for text in texts if self.near]
        self.reach = max(map(len, reaching), default=0)

    def unit(self, unit: Unit) -> Found:
        found = _Unit(self)
        for pieces in _blocks(unit.pieces(self.reach)):
            found.add(pieces)
        return found.to_json()


@lru_cache(maxsize=1)
def _scanner(plan: Plan) -> Scanner:
    """Kept, for a process works on many units of one plan."""
    return Scanner(plan)


def _blocks(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    some: list[Piece] = []
    total = 0
    for piece in pieces:
        some.append(piece)
        total += len(piece.text)
        if total >= BLOCK_BYTES:
            yield some
            some, total = [], 0
    if some:
        yield some


@dataclass
class _Origins:
    """From letters of a piece, symbols left out, back to its characters."""

    piece: Piece

    def __post_init__(self) -> None:
        self._kept = np.flatnonzero(np.frombuffer(spaced(self.piece.text, False), "u1") != ord(" "))

    def place(self, first: int, last: int) -> Place:
        return place(self.piece, int(self._kept[first]), int(self._kept[last]) + 1)


def place(piece: Piece, begin: int, end: int) -> Place:
    """Of the bytes from `begin` to `end` of a piece."""
    text = piece.text
    start = piece.start + len(text[:begin].decode())
    shown = text[max(0, begin - AROUND) : min(end, begin + EXCERPT) + AROUND]
    stop = start + len(text[begin:end].decode())
    return piece.document, start, stop, " ".join(shown.decode(errors="ignore").split())


class _Unit:
    """What has been found in a unit so far."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.rows = self.documents = self.bytes = 0
        self.substrings: dict[int, list[Any]] = {}
        self.grams: dict[int, list[Any]] = {}
        self.near: dict[int, list[Any]] = {}
        self._last: dict[tuple[str, int], int] = {}

    def add(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self.rows = piece.document + 1
            self.documents += bool(piece.text) and piece.start == 0
            self.bytes += len(piece.text)
        joined = b"\0".join(piece.text for piece in pieces)
        self._substrings(pieces, squeezed(joined, self.scanner.settings.fold))
        if self.scanner.grams or self.scanner.near:
            words = Words(spaced(joined, fold=True))
            sizes = np.array([len(piece.text) + 1 for piece in pieces])
            begins = np.cumsum(sizes) - sizes
            if self.scanner.grams:
                self._grams(self.scanner.grams, pieces, words, begins)
            if self.scanner.near:
                self._near(self.scanner.near, pieces, words, begins)

    def _substrings(self, pieces: Sequence[Piece], text: bytes) -> None:
        starts, numbers = self.scanner._index.find(text)
        if not len(starts):
            return
        zeros = np.flatnonzero(np.frombuffer(text, np.uint8) == 0)
        begins = np.concatenate([[0], zeros + 1])
        where = np.searchsorted(begins, starts, "right") - 1
        origins: _Origins | None = None
        for at, number, start in zip(
            where.tolist(), numbers.tolist(), (starts - begins[where]).tolist(), strict=True
        ):
            piece = pieces[at]
            if not self._new("substring", number, piece.document):
                continue
            entry = self.substrings.setdefault(number, [0, []])
            entry[0] += 1
            if len(entry[1]) < self.scanner.settings.places:
                if origins is None or origins.piece is not piece:
                    origins = _Origins(piece)
                size = len(self.scanner._index.patterns[number])
                entry[1].append(origins.place(start, start + size - 1))

    def _grams(
        self, index: GramIndex, pieces: Sequence[Piece], words: Words, begins: Indices
    ) -> None:
        for first, run in zip(*(one.tolist() for one in index.candidates(words)), strict=True):
            known = self.grams.get(run)
            if known and known[0] >= self.scanner.settings.boilerplate:
                continue  # more documents would change nothing
            if index.holds(words, first, run):
                at = _words_place(pieces, words, begins, first, first + index.n - 1)
                entry = self.grams.setdefault(run, [0, at])
                entry[0] += self._new("gram", run, at[0])

    def _near(
        self, index: NearIndex, pieces: Sequence[Piece], words: Words, begins: Indices
    ) -> None:
        for one in index.find(words, begins):
            entry = self.near.setdefault(one.question, [0, 0.0, None])
            entry[0] += self._new("near", one.question, pieces[one.document].document)
            if one.share > entry[1]:
                at = _words_place(pieces, words, begins, one.first, one.last)
                entry[1:] = [one.share, at]

    def _new(self, kind: str, number: int, document: int) -> bool:
        """Whether the document is another than the last in which this was found."""
        before = self._last.get((kind, number))
        self._last[kind, number] = document
        return before != document

    def to_json(self) -> Found:
        names = ("rows", "documents", "bytes", "substrings", "grams", "near")
        return {name: getattr(self, name) for name in names}


def _words_place(
    pieces: Sequence[Piece], words: Words, begins: Indices, first: int, last: int
) -> Place:
    begin, end = int(words.starts[first]), int(words.ends[last])
    at = int(np.searchsorted(begins, begin, "right")) - 1
    return place(pieces[at], begin - int(begins[at]), end - int(begins[at]))
