"""Runs of n words of questions, found in a stream: n-gram overlap and near-duplicates.

Words are runs of letters and digits without upper case (GPT-3, appendix C; Llama 2, appendix A.6).
Runs are hashed by polynomial prefix sums over the words' hashes and compared exactly when equal.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foresight.evals.contamination.normalise import spaced
from foresight.evals.contamination.scan import PADDING, HashTable, Indices, every_eight

_BASE = 0x9E3779B97F4A7C15  # odd, hence invertible modulo 2^64
_MIX = tuple(np.uint64(one) for one in (0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_FIRST_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
COMMON = 64
"""Questions that share a shingle, from which on it says nothing about any of them."""
LEAST_SHINGLES = 8
"""Of a question that can be told from others by them: 12 words."""


class Words:
    """The words of text that `spaced` has made: where they begin and end, and hashes of runs."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        inside = np.frombuffer(b" " + text + b" ", np.uint8) > ord(" ")
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        self.starts, self.ends = edges[::2], edges[1::2]
        hashes = self._hashes()
        powers = np.cumprod(np.full(len(hashes), _BASE, np.uint64))
        inverse = np.uint64(pow(_BASE, -1, 1 << 64))
        self._undo = np.cumprod(np.full(len(hashes), inverse, np.uint64))
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes * powers)])

    def _hashes(self) -> NDArray[np.uint64]:
        """Of the first and the last eight bytes and the length of each word; what is equal in
        these is told apart when runs are compared."""
        eight = every_eight(self.text + PADDING)
        sizes = self.ends - self.starts
        mask = _FIRST_BYTES[np.minimum(sizes, 8)]
        hashes = (eight[self.starts] & mask) * np.uint64(_BASE)
        hashes ^= (eight[np.maximum(self.ends - 8, self.starts)] & mask) * _MIX[0]
        hashes ^= sizes.astype(np.uint64) * _MIX[1]
        hashes ^= hashes >> np.uint64(29)
        mixed: NDArray[np.uint64] = hashes * _MIX[0]
        return mixed

    def runs(self, n: int) -> NDArray[np.uint64]:
        """Hash of the n words from each on (fewer than the words by n - 1)."""
        if len(self.starts) < n:
            return np.zeros(0, np.uint64)
        windows = self._sums[n:] - self._sums[:-n]
        mixed: NDArray[np.uint64] = windows * self._undo[: len(windows)] * _MIX[0]
        mixed ^= mixed >> np.uint64(32)
        return mixed

    def run(self, first: int, n: int) -> bytes:
        """The n words from `first` on, a space between each; a byte 0 parts documents."""
        return b" ".join(self.text[self.starts[first] : self.ends[first + n - 1]].split())


class GramIndex:
    """The distinct runs of `n` words of questions. `of`: each question's runs by number."""

    def __init__(self, questions: Sequence[str], n: int) -> None:
        self.n = n
        numbers: dict[bytes, int] = {}
        hashes: list[NDArray[np.uint64]] = []
        self.of: list[Indices] = []
        for question in questions:
            words = Words(spaced(question.encode(errors="replace").replace(b"\0", b" "), True))
            runs, mine, new = words.runs(n), set(), []
            for first in range(len(runs)):
                text = words.run(first, n)
                if text not in numbers:
                    numbers[text] = len(numbers)
                    new.append(first)
                mine.add(numbers[text])
            hashes.append(runs[new])
            self.of.append(np.array(sorted(mine), np.intp))
        self.texts = list(numbers)
        self._table = HashTable(np.concatenate([np.zeros(0, np.uint64), *hashes]))

    def candidates(self, words: Words) -> tuple[Indices, Indices]:
        """(first word, run) of what is probably equal; see `holds`."""
        return self._table.find(words.runs(self.n))

    def holds(self, words: Words, first: int, run: int) -> bool:
        return words.run(first, self.n) == self.texts[run]


class Near(NamedTuple):
    """A question of which `share` of the shingles stand in the document, from a word to another."""

    question: int
    document: int
    share: float
    first: int
    last: int


class NearIndex:
    """Questions of which a large share of the shingles (runs of words) stands together in a
    document, within twice the question's words: containment (Broder 1997), of that stretch. Few
    questions are held against many documents, so that exact shares cost less than signatures of
    all documents would.

    `judged`: questions with enough shingles that are not common to many questions.
    """

    def __init__(self, questions: Sequence[str], n: int, share: float) -> None:
        self.share = share
        self.grams = GramIndex(questions, n)
        sizes = np.array([len(runs) for runs in self.grams.of])
        runs = np.concatenate([np.zeros(0, np.intp), *self.grams.of])
        owners = np.repeat(np.arange(len(questions)), sizes)
        order = np.argsort(runs, kind="stable")
        self._owners = owners[order]
        self._counts = np.bincount(runs, minlength=len(self.grams.texts))
        self._first = np.cumsum(self._counts) - self._counts
        common = np.bincount(owners, weights=self._counts[runs] > COMMON, minlength=len(questions))
        needed = np.array([math.ceil(share * size) for size in sizes])
        self.judged = (sizes >= LEAST_SHINGLES) & (needed > common)
        self._least = np.where(self.judged, needed - common, np.inf)

    def find(self, words: Words, documents: Indices) -> list[Near]:
        """In documents that begin at these bytes of the text."""
        at, run = self.grams.candidates(words)
        document = np.searchsorted(documents, words.starts[at], "right") - 1
        rare = self._counts[run] <= COMMON
        pairs = np.unique(np.stack([document[rare], run[rare]]), axis=1)
        counts = self._counts[pairs[1]]
        rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        owner = self._owners[np.repeat(self._first[pairs[1]], counts) + rank]
        both, shared = np.unique(
            np.stack([np.repeat(pairs[0], counts), owner]), axis=1, return_counts=True
        )
        found = []
        for where, question in both[:, shared >= self._least[both[1]]].T.tolist():
            low, high = np.searchsorted(document, [where, where + 1])
            one = self._exact(words, question, where, at[low:high], run[low:high])
            found += [one] if one.share >= self.share else []
        return found

    def _exact(self, words: Words, question: int, document: int, at: Indices, run: Indices) -> Near:
        """The stretch of twice the question's words with most of its shingles, compared in full."""
        mine = set(self.grams.of[question].tolist())
        reach = 2 * (len(mine) + self.grams.n - 1)
        standing: deque[tuple[int, int]] = deque()
        inside: Counter[int] = Counter()
        best = Near(question, document, 0.0, 0, 0)
        for first, one in zip(at.tolist(), run.tolist(), strict=True):
            if one not in mine or not self.grams.holds(words, first, one):
                continue
            standing.append((first, one))
            inside[one] += 1
            last = first + self.grams.n - 1
            while last - standing[0][0] >= reach:
                inside -= Counter([standing.popleft()[1]])
            if (share := len(inside) / len(mine)) > best.share:
                best = Near(question, document, share, standing[0][0], last)
        return best
