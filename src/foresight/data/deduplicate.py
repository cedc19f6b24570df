"""Exact and near-duplicate removal, inside each side and across the train/validation split.

Near-duplicates: MinHash over 5-word shingles (Broder 1997, "On the resemblance and
containment of documents"), banded into a locality-sensitive index, every candidate pair
verified by its true Jaccard similarity. Long passages that two documents share although
they differ as wholes: runs of identical lines, by rolling hash (the idea of exact-substring
matching in Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better").
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foresight.data.sources import size_bytes
from foresight.document import Document, Image, Text

Side = Literal["train", "validation"]
Kind = Literal["exact", "near", "shared run"]
Hashes = NDArray[np.uint64]

SHINGLE_WORDS = 5
# 25 bands of 5 rows find a pair of Jaccard 0.7 with 99.0 %, of 0.8 with 99.997 %. Pairs below
# the threshold that collide too cost one comparison each.
BANDS = 25
ROWS = 5
_BLOCK = 2048  # shingles hashed at once: 125 x 2048 x 8 bytes fit the cache
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, hence invertible modulo 2^64


@dataclass(frozen=True)
class Removal:
    """A document that was left out, and the kept document it repeats."""

    id: str
    side: Side
    kind: Kind
    kept_id: str
    kept_side: Side
    similarity: float
    bytes: int


@dataclass(frozen=True)
class DuplicateReport:
    """What `deduplicate` removed; `documents` is the number it was given."""

    documents: int
    removals: tuple[Removal, ...]

    @property
    def bytes_removed(self) -> int:
        return sum(removal.bytes for removal in self.removals)

    @property
    def counts(self) -> dict[str, int]:
        """Removals by kind and sides, such as `{"train near validation": 3}`."""
        return dict(Counter(f"{r.side} {r.kind} {r.kept_side}" for r in self.removals))

    def examples(self, count: int) -> tuple[Removal, ...]:
        """The `count` largest removals."""
        return tuple(sorted(self.removals, key=lambda r: (-r.bytes, r.id))[:count])


def deduplicate(
    train: Sequence[Document],
    validation: Sequence[Document],
    similarity: float = 0.7,
    run_lines: int = 50,
    seed: int = 0,
) -> tuple[list[Document], list[Document], DuplicateReport]:
    """Remove repetitions: (train, validation, report), each side in its old order.

    Kept documents are walked through, validation first. A document goes if it equals a kept
    one up to white space, if its shingles' Jaccard similarity with a kept one reaches
    `similarity`, or, in training, if it shares a run of `run_lines` non-blank lines with a
    kept validation document. Documents with pictures are only compared exactly. Every kept
    document's shingles are held in memory: about the size of the text.
    """
    kept_so_far = _KeptDocuments(similarity, run_lines, seed)
    removals: list[Removal] = []
    kept: dict[Side, list[Document]] = {"train": [], "validation": []}
    sides: tuple[tuple[Side, Sequence[Document]], ...] = (
        ("validation", validation),
        ("train", train),
    )
    for side, documents in sides:
        for document in documents:
            match = kept_so_far.match_or_add(document, side)
            if match is None:
                kept[side].append(document)
            else:
                removals.append(_removal(document, side, match))
    report = DuplicateReport(len(train) + len(validation), tuple(removals))
    return kept["train"], kept["validation"], report


@dataclass(frozen=True)
class _Kept:
    id: str
    side: Side


@dataclass(frozen=True)
class _Match:
    kind: Kind
    kept: _Kept
    similarity: float


class _KeptDocuments:
    """The three indexes of kept documents."""

    def __init__(self, similarity: float, run_lines: int, seed: int) -> None:
        self.exact: dict[bytes, _Kept] = {}
        self.near = _NearIndex(similarity, seed)
        self.runs = _RunIndex(run_lines)
        self.shingler = _Shingler()

    def match_or_add(self, document: Document, side: Side) -> _Match | None:
        """What the document repeats; if nothing, it is kept from now on."""
        me = _Kept(document.id, side)
        key = _exact_key(document)
        if key in self.exact:
            return _Match("exact", self.exact[key], 1.0)
        if _is_text(document):
            shingles = self.shingler(document.text)
            bands = self.near.bands(shingles)
            match = self.near.match(shingles, bands)
            if match is None and side == "train":
                match = self.runs.match(document.text)
            if match is not None:
                return match
            self.near.add(shingles, bands, me)
            if side == "validation":
                self.runs.add(document.text, me)
        self.exact[key] = me
        return None


def _removal(document: Document, side: Side, match: _Match) -> Removal:
    return Removal(
        id=document.id,
        side=side,
        kind=match.kind,
        kept_id=match.kept.id,
        kept_side=match.kept.side,
        similarity=round(match.similarity, 4),
        bytes=size_bytes(document),
    )


def _is_text(document: Document) -> bool:
    return not any(isinstance(part, Image) for part in document.parts)


def _exact_key(document: Document) -> bytes:
    """Hash of text with white space normalised, and of pictures, part by part."""
    digest = hashlib.blake2b(digest_size=16)
    if _is_text(document):
        digest.update(" ".join(document.text.split()).encode())
        return digest.digest()
    for part in document.parts:
        if isinstance(part, Image):
            digest.update(b"\0" + repr(part.pixels.shape).encode() + part.pixels.tobytes())
        elif isinstance(part, Text):
            digest.update(b"\1" + " ".join(part.text.split()).encode())
    return digest.digest()


class _HashCache(dict[str, int]):
    """64-bit hashes of strings, each computed once, the same in every process."""

    def __missing__(self, text: str) -> int:
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        self[text] = value
        return value

    def of(self, texts: Sequence[str]) -> Hashes:
        return np.fromiter(map(self.__getitem__, texts), dtype=np.uint64, count=len(texts))


class _Shingler:
    """Sorted distinct hashes of all runs of five words; of the whole text if it is shorter."""

    def __init__(self) -> None:
        self.cache = _HashCache()

    def __call__(self, text: str) -> Hashes:
        words = self.cache.of(text.split())
        count = max(1, len(words) - SHINGLE_WORDS + 1)
        total = np.zeros(count, dtype=np.uint64)
        for offset in range(min(SHINGLE_WORDS, len(words))):
            total = total * _BASE + words[offset : offset + count]
        # The sum is linear in the words; this mixing (splitmix64) makes its bits independent.
        total = (total ^ (total >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        total = (total ^ (total >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.unique(total ^ (total >> np.uint64(31)))


def jaccard(first: Hashes, second: Hashes) -> float:
    """Size of the intersection of two sets of distinct hashes over the size of their union."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


class _NearIndex:
    """Kept documents by bands of their MinHash signature."""

    def __init__(self, similarity: float, seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        top = np.iinfo(np.uint64).max
        count = BANDS * ROWS
        self.factors = rng.integers(0, top, size=(count, 1), dtype=np.uint64) | np.uint64(1)
        self.shifts = rng.integers(0, top, size=(count, 1), dtype=np.uint64)
        self.similarity = similarity
        self.buckets: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
        self.shingles: list[Hashes] = []
        self.kept: list[_Kept] = []

    def bands(self, shingles: Hashes) -> list[tuple[int, bytes]]:
        """Where a document is filed: the bands of its signature, numbered."""
        signature = self.signature(shingles)
        return [(band, signature[band].tobytes()) for band in range(BANDS)]

    def match(self, shingles: Hashes, bands: list[tuple[int, bytes]]) -> _Match | None:
        """The most similar kept document (the earliest of equals), if it reaches the threshold."""
        candidates = {number for band in bands for number in self.buckets.get(band, ())}
        if not candidates:
            return None
        best, minus_number = max(
            (jaccard(shingles, self.shingles[number]), -number) for number in candidates
        )
        if best < self.similarity:
            return None
        return _Match("near", self.kept[-minus_number], best)

    def add(self, shingles: Hashes, bands: list[tuple[int, bytes]], me: _Kept) -> None:
        for band in bands:
            self.buckets[band].append(len(self.kept))
        self.shingles.append(shingles)
        self.kept.append(me)

    def signature(self, shingles: Hashes) -> Hashes:
        """Minimum of each of 125 hash functions over the shingles, (BANDS, ROWS)."""
        least = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, dtype=np.uint64)
        for start in range(0, len(shingles), _BLOCK):
            hashed = shingles[start : start + _BLOCK] * self.factors
            hashed += self.shifts
            np.minimum(least, hashed.min(axis=1), out=least)
        return least.reshape(BANDS, ROWS)


class _RunIndex:
    """Runs of `lines` identical non-blank lines in kept validation documents."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.cache = _HashCache()
        self.found: dict[int, _Kept] = {}

    def add(self, text: str, me: _Kept) -> None:
        for run in self._runs(text):
            self.found.setdefault(run, me)

    def match(self, text: str) -> _Match | None:
        for run in self._runs(text):
            if run in self.found:
                return _Match("shared run", self.found[run], 1.0)
        return None

    def _runs(self, text: str) -> list[int]:
        """Rolling hash of each window, from prefix sums of hash * base^position mod 2^64."""
        stripped = (line.strip() for line in text.split("\n"))
        hashes = self.cache.of([line for line in stripped if line])
        if len(hashes) < self.lines:
            return []
        powers = np.cumprod(np.full(len(hashes), _BASE, dtype=np.uint64))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes * powers)])
        windows = sums[self.lines :] - sums[: -self.lines]
        # Shift every window to the same power: multiply by the inverse of its first.
        inverse = np.uint64(pow(int(_BASE), -1, 2**64))
        undo = np.cumprod(np.full(len(windows), inverse, dtype=np.uint64))
        result: list[int] = (windows * undo).tolist()
        return result
