"""One pass over a unit of a corpus: where questions' substrings and runs of words stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

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
    return scanner_of(plan).unit(unit)


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
        self.index = SubstringIndex([text.encode() for text in numbers])
        self.grams = GramIndex(texts, settings.ngram) if settings.ngram else None
        self.near = NearIndex(texts, SHINGLE_WORDS, settings.near) if settings.near else None
        reaching = [*self.index.patterns, *(self.grams.texts if self.grams else ())]
        # A near-duplicate has up to twice the words, which may be longer ones.
        reaching += [text.encode(errors="replace") * 4 for text in texts if self.near]
        self.reach = max(map(len, reaching), default=0)

    def unit(self, unit: Unit) -> Found:
        found = _Unit(self)
        for pieces in _blocks(unit.pieces(self.reach)):
            found.add(pieces)
        return found.to_json()


@lru_cache(maxsize=1)
def scanner_of(plan: Plan) -> Scanner:
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


class _Locator:
    """From bytes of a piece, or from letters of what is left of it, to characters of the document.

    Places are mostly asked for in order, so that counting goes on from the last.
    """

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self._byte, self._character = 0, piece.start

    @cached_property
    def _kept(self) -> Indices:
        return np.flatnonzero(np.frombuffer(spaced(self.piece.text, False), np.uint8) != ord(" "))

    def letters(self, begin: int, end: int) -> Place:
        return self.bytes(int(self._kept[begin]), int(self._kept[end - 1]) + 1)

    def bytes(self, begin: int, end: int) -> Place:
        text = self.piece.text
        if begin < self._byte:
            self._byte, self._character = 0, self.piece.start
        self._character += len(text[self._byte : begin].decode())
        self._byte = begin
        stop = self._character + len(text[begin:end].decode())
        shown = text[max(0, begin - AROUND) : min(end, begin + EXCERPT) + AROUND]
        excerpt = " ".join(shown.decode(errors="ignore").split())
        return self.piece.document, self._character, stop, excerpt


class _Block(NamedTuple):
    """Pieces, the byte that each begins with in the block, and the words of all."""

    pieces: Sequence[Piece]
    begins: Indices
    words: Words


class _Unit:
    """What has been found in a unit so far."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.rows = self.documents = self.bytes = 0
        self.substrings: dict[int, list[Any]] = {}
        self.grams: dict[int, list[Any]] = {}
        self.near: dict[int, list[Any]] = {}
        self._last: dict[tuple[str, int], int] = {}
        self._locator = _Locator(Piece(0, 0, b""))

    def add(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            self.rows = piece.document + 1
            self.documents += bool(piece.text) and piece.start == 0
            self.bytes += len(piece.text)
        joined = b"\0".join(piece.text for piece in pieces)
        self._substrings(pieces, squeezed(joined, self.scanner.settings.fold))
        if self.scanner.grams or self.scanner.near:
            sizes = np.array([len(piece.text) + 1 for piece in pieces])
            block = _Block(pieces, np.cumsum(sizes) - sizes, Words(spaced(joined, fold=True)))
            if self.scanner.grams:
                self._grams(self.scanner.grams, block)
            if self.scanner.near:
                self._near(self.scanner.near, block)

    def _substrings(self, pieces: Sequence[Piece], text: bytes) -> None:
        starts, numbers = self.scanner.index.find(text)
        if not len(starts):
            return
        zeros = np.flatnonzero(np.frombuffer(text, np.uint8) == 0)
        begins = np.concatenate([[0], zeros + 1])
        where = np.searchsorted(begins, starts, "right") - 1
        for at, number, start in zip(
            where.tolist(), numbers.tolist(), (starts - begins[where]).tolist(), strict=True
        ):
            piece = pieces[at]
            if not self._new("substring", number, piece.document):
                continue
            entry = self.substrings.setdefault(number, [0, []])
            entry[0] += 1
            if len(entry[1]) < self.scanner.settings.places:
                size = len(self.scanner.index.patterns[number])
                entry[1].append(self._locate(piece).letters(start, start + size))

    def _grams(self, index: GramIndex, block: _Block) -> None:
        candidates = (one.tolist() for one in index.candidates(block.words))
        for first, run in zip(*candidates, strict=True):
            known = self.grams.get(run)
            if known and known[0] >= self.scanner.settings.boilerplate:
                continue  # more documents would change nothing
            if index.holds(block.words, first, run):
                place = self._words_place(block, first, first + index.n - 1)
                entry = self.grams.setdefault(run, [0, place])
                entry[0] += self._new("gram", run, place[0])

    def _near(self, index: NearIndex, block: _Block) -> None:
        for one in index.find(block.words, block.begins):
            entry = self.near.setdefault(one.question, [0, 0.0, None])
            entry[0] += self._new("near", one.question, block.pieces[one.document].document)
            if one.share > entry[1]:
                entry[1:] = [one.share, self._words_place(block, one.first, one.last)]

    def _locate(self, piece: Piece) -> _Locator:
        if self._locator.piece is not piece:
            self._locator = _Locator(piece)
        return self._locator

    def _words_place(self, block: _Block, first: int, last: int) -> Place:
        begin, end = int(block.words.starts[first]), int(block.words.ends[last])
        at = int(np.searchsorted(block.begins, begin, "right")) - 1
        offset = int(block.begins[at])
        return self._locate(block.pieces[at]).bytes(begin - offset, end - offset)

    def _new(self, kind: str, number: int, document: int) -> bool:
        """Whether the document is another than the last in which this was found."""
        before = self._last.get((kind, number))
        self._last[kind, number] = document
        return before != document

    def to_json(self) -> Found:
        names = ("rows", "documents", "bytes", "substrings", "grams", "near")
        return {name: getattr(self, name) for name in names}
