"""Many substrings in a stream, found at a fraction of its positions.

A substring of L bytes covers, wherever it stands, a word of q bytes that begins at a multiple of
s = L - q + 1. So the words at the first s offsets of every substring go into a hash table, and of
the text only every s-th position is looked up (the idea of Karp and Rabin 1987, with the sampling
of q-grams turned from the patterns to the text). What is found there is compared in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Indices = NDArray[np.intp]

PADDING = bytes(16)
"""Follows a text, so that the words at its end can be loaded."""
_LEVELS = ((8, 5), (16, 9), (30, 12), (50, 16))
"""Shortest substring of a level in bytes, and q. Short substrings are few but need a lookup at
every few bytes; a small table for them, which stays in the cache, makes up for it."""
_POSITIONS = 1 << 15
"""Looked up at once: their words stay in the cache."""
_MIX = tuple(np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F))


class HashTable:
    """Which of many 64-bit hashes occur, and where they stand.

    Two steps: a table of bits, addressed by the first bits of a hash, that lets one in `ROOM` or
    fewer pass; then a binary search, which costs a hundred times as much.
    """

    ROOM = 64
    _BIT = np.uint8(1) << np.arange(8, dtype=np.uint8)

    def __init__(self, hashes: Words) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]
        # One more, so that the place after the last can be looked at.
        self._ends = np.append(self._sorted, ~self._sorted[-1:])
        bits = min(max((self.ROOM * len(hashes)).bit_length(), 12), 28)
        self._shift = np.uint64(64 - bits)
        self._occurs: NDArray[np.bool_ | np.uint8] = np.zeros(1 << bits, bool)
        self._occurs[self._sorted >> self._shift] = True
        # What does not fit a cache gains by being smaller, the rest by being looked up at once.
        self._packed = bits > 22
        if self._packed:
            self._occurs = np.packbits(self._occurs, bitorder="little")

    def find(self, hashes: Words) -> tuple[Indices, Indices]:
        """Pairs (index into `hashes`, index into what the table was made of) of equal hashes, in
        the order of the former."""
        # Signed indices are taken as they are; unsigned ones would be converted first.
        address = (hashes >> self._shift).view(np.int64)
        if self._packed:
            some = np.flatnonzero(self._occurs[address >> 3] & self._BIT[address & 7])
        else:
            some = np.flatnonzero(self._occurs[address])
        first = np.searchsorted(self._sorted, hashes[some])
        equal = self._ends[first] == hashes[some]
        some, first = some[equal], first[equal]
        counts = np.searchsorted(self._sorted, hashes[some], "right") - first
        rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(some, counts), self._order[np.repeat(first, counts) + rank]


@dataclass(frozen=True)
class _Level:
    """Substrings of at least `length` bytes: their words of `q` bytes at the first offsets."""

    length: int
    q: int
    table: HashTable
    pattern: Indices
    offset: Indices

    @property
    def stride(self) -> int:
        return self.length - self.q + 1


class SubstringIndex:
    """Finds all occurrences of patterns of at least 8 bytes, none of which holds a byte 0."""

    def __init__(self, patterns: Sequence[bytes]) -> None:
        if any(len(one) < _LEVELS[0][0] or b"\0" in one for one in patterns):
            raise ValueError("patterns have at least 8 bytes, none of them 0")
        self.patterns = tuple(patterns)
        self._lengths = np.array([len(one) for one in patterns], np.intp)
        joined = b"".join(patterns) + PADDING
        starts = np.cumsum(self._lengths) - self._lengths
        eight = every_eight(joined)
        self._first = eight[starts]
        self._last = eight[starts + self._lengths - 8]
        self._levels = [
            _level(joined, starts, chosen, length, q)
            for (length, q), top in zip(_LEVELS, [*_LEVELS[1:], (1 << 62, 0)], strict=True)
            if len(chosen := np.flatnonzero((length <= self._lengths) & (self._lengths < top[0])))
        ]

    def find(self, text: bytes) -> tuple[Indices, Indices]:
        """(start, pattern) of every occurrence, overlapping ones too, sorted."""
        padded = text + PADDING
        found = [
            pair
            for level in self._levels
            for candidates in self._candidates(level, padded, len(text))
            for pair in self._equal(padded, len(text), *candidates)
        ]
        start, pattern = np.array(sorted(found), np.intp).reshape(-1, 2).T
        return start, pattern

    def _equal(
        self, padded: bytes, size: int, start: Indices, pattern: Indices
    ) -> Iterator[tuple[int, int]]:
        """Those candidates that are occurrences."""
        fits = (start >= 0) & (start + self._lengths[pattern] <= size)
        start, pattern = start[fits], pattern[fits]
        # The first and the last eight bytes settle nearly all that share only a word.
        eight = every_eight(padded)
        last = start + self._lengths[pattern] - 8
        same = (eight[start] == self._first[pattern]) & (eight[last] == self._last[pattern])
        for at, number in zip(start[same].tolist(), pattern[same].tolist(), strict=True):
            if padded.startswith(self.patterns[number], at):
                yield at, number

    def _candidates(
        self, level: _Level, padded: bytes, size: int
    ) -> Iterator[tuple[Indices, Indices]]:
        """Starts that a pattern would have (they may lie outside the text), and the pattern."""
        stride, count = level.stride, max(0, (size - level.q) // level.stride + 1)
        for begin in range(0, count, _POSITIONS):
            n = min(_POSITIONS, count - begin)
            at, entry = level.table.find(_hashes(padded, begin * stride, stride, n, level.q))
            if len(at):
                yield (begin + at) * stride - level.offset[entry], level.pattern[entry]


def _level(joined: bytes, starts: Indices, chosen: Indices, length: int, q: int) -> _Level:
    stride = length - q + 1
    offset = np.tile(np.arange(stride), len(chosen))
    pattern = np.repeat(chosen, stride)
    every = _hashes(joined, 0, 1, len(joined) - len(PADDING) - q + 1, q)
    return _Level(length, q, HashTable(every[starts[pattern] + offset]), pattern, offset)


def every_eight(data: bytes) -> Words:
    """Eight bytes at each position, as a view."""
    return _eight(data, 0, 1, len(data) - 7)


def _eight(data: bytes, start: int, stride: int, count: int) -> Words:
    """Eight bytes at each of `count` positions, as a view of `data`."""
    return np.ndarray((count,), "<u8", data, start, (stride,))


def _hashes(data: bytes, start: int, stride: int, count: int, q: int) -> Words:
    """Of the words of `q` bytes, 5 to 16, at `count` positions."""
    hashes = _eight(data, start, stride, count)
    if q < 8:
        hashes = hashes << np.uint64(64 - 8 * q)
    hashes = hashes * _MIX[0]
    if q > 8:
        hashes ^= _eight(data, start + q - 8, stride, count) * _MIX[1]
        hashes ^= hashes >> np.uint64(32)
        hashes *= _MIX[0]
    return hashes
