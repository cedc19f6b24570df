"""Batches: pieces of documents packed into rows, in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foresight.data.shards import Shard
from foresight.data.tokenizer import IMG, IMG_BREAK, IMG_END, PAD
from foresight.errors import UserError

# Pieces packed together: large enough to fill rows well, small enough to plan in milliseconds.
_BLOCK_PIECES = 2048


@dataclass(frozen=True)
class Batch:
    """Rows of packed pieces, all arrays (rows, T) unless said.

    inputs int64 ids; targets int64; weights float32 (0 where nothing is predicted);
    positions int64, restarting with every piece; segments int64, the piece a position
    belongs to (unique in a row); patches (m, 3 * patch**2) uint8 in reading order of the
    patch marks in `inputs`; sources (rows, T) int64, index of the source of each position.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    patches: NDArray[np.uint8]
    sources: NDArray[np.int64]

    def part(self, start: int, stop: int) -> Batch:
        """Rows `start` to `stop` with the patches that belong to them."""
        return self.rows(np.arange(start, min(stop, len(self.inputs))))

    def rows(self, chosen: NDArray[np.int64]) -> Batch:
        """Some rows, in the order asked for, with the patches that belong to them."""
        patches = self.patches
        if len(patches):
            counts = (self.inputs == IMG).sum(axis=1)
            ends = np.cumsum(counts)
            own = [np.arange(ends[row] - counts[row], ends[row]) for row in chosen.tolist()]
            patches = patches[np.concatenate([np.zeros(0, np.int64), *own])]
        return Batch(
            inputs=self.inputs[chosen],
            targets=self.targets[chosen],
            weights=self.weights[chosen],
            positions=self.positions[chosen],
            segments=self.segments[chosen],
            patches=patches,
            sources=self.sources[chosen],
        )


def cut_pieces(shard: Shard, context: int) -> NDArray[np.int64]:
    """Pieces of at most context + 1 tokens of every document, (n, 3): start, end, patch start.

    Neighbouring pieces share one token, so that every token of a document but its first is
    a target exactly once. How a document is cut depends on nothing but itself, and no cut
    falls inside an image. Raises UserError if an image alone exceeds the context.
    """
    marks = np.isin(shard.tokens, (IMG, IMG_BREAK, IMG_END))
    seen = np.concatenate([[0], np.cumsum(np.asarray(shard.tokens) == IMG)])
    pieces = []
    for first, end in zip(shard.offsets[:-1].tolist(), shard.offsets[1:].tolist(), strict=True):
        start = first
        while end - start > 1:
            stop = min(start + context + 1, end)
            if stop < end and marks[stop - 1] and shard.tokens[stop - 1] != IMG_END:
                stop -= 1
                while stop > start and marks[stop - 1] and shard.tokens[stop - 1] != IMG_END:
                    stop -= 1
                if stop - start < 2:
                    raise UserError(
                        f"an image of more than {context} positions does not fit the context; "
                        f"use smaller images or a larger `context`"
                    )
            pieces.append((start, stop, int(seen[start])))
            start = stop - 1 if stop < end else end
    return np.array(pieces, np.int64).reshape(-1, 3)


def pack(lengths: NDArray[np.int64], context: int) -> list[list[int]]:
    """Best-fit packing of pieces of `lengths` positions into rows of `context`."""
    rows: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(context + 1)]
    for piece in np.argsort(-lengths, kind="stable").tolist():
        need = int(lengths[piece])
        room = next((room for room in range(need, context) if by_room[room]), None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, context
        else:
            row = by_room[room].pop()
        rows[row].append(piece)
        by_room[room - need].append(row)
    return rows


class Loader:
    """Rows of a mixture of sources; row i is a pure function of (shards, mixture, seed, i).

    Pieces of a source are shuffled once by the seed; sources are merged so that every
    prefix holds them in the proportions of `mixture` (by predicted positions); a run of
    any size therefore sees a prefix of one and the same sequence. State to resume: the
    number of rows already consumed.
    """

    def __init__(
        self, shards: Mapping[str, Shard], mixture: Mapping[str, float], context: int, seed: int
    ) -> None:
        self.names = sorted(shards)
        self.context = context
        self._shards = [shards[name] for name in self.names]
        self._shares = np.array([mixture[name] for name in self.names], float)
        self._seed = seed
        self._pieces = []
        for index, shard in enumerate(self._shards):
            pieces = cut_pieces(shard, context)
            order = np.random.default_rng([seed, index]).permutation(len(pieces))
            self._pieces.append(pieces[order])
        self._rows: list[NDArray[np.int64]] = []
        self._blocks = 0

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """(n, 5): source, start, end, patch start, index of the piece within its source."""
        ends, tables = [], []
        for index, pieces in enumerate(self._pieces):
            if self._shares[index] <= 0:
                continue
            positions = pieces[:, 1] - pieces[:, 0] - 1
            # A piece is due when its source's share of the stream reaches its last position.
            ends.append(np.cumsum(positions) / self._shares[index])
            column = np.full((len(pieces), 1), index)
            tables.append(np.hstack([column, pieces, np.arange(len(pieces))[:, None]]))
        due = np.concatenate(ends)
        # Past the point where the first source is used up, the proportions cannot hold.
        usable = min(end[-1] for end in ends)
        order = np.argsort(due, kind="stable")
        table: NDArray[np.int64] = np.concatenate(tables)[order[due[order] <= usable]]
        return table

    @property
    def positions(self) -> int:
        """Predicted positions until the first source is used up once."""
        table = self._order
        return int((table[:, 2] - table[:, 1] - 1).sum())

    def count(self) -> int:
        """Rows that one pass over the data gives."""
        while self._extend():
            pass
        return len(self._rows)

    def _extend(self) -> bool:
        """Pack the next block of pieces into rows; False when the data is used up."""
        start = self._blocks * _BLOCK_PIECES
        block = self._order[start : start + _BLOCK_PIECES]
        if not len(block):
            return False
        rows = pack(block[:, 2] - block[:, 1] - 1, self.context)
        shuffled = np.random.default_rng([self._seed, 1 << 20, self._blocks]).permutation(len(rows))
        self._rows += [block[np.array(rows[index])] for index in shuffled]
        self._blocks += 1
        return True

    def rows(self, start: int, count: int) -> Batch:
        """Rows `start` to `start + count`. Raises UserError when one pass over the data is over."""
        while len(self._rows) < start + count:
            if not self._extend():
                raise UserError(
                    f"the corpus holds {len(self._rows)} rows of {self.context} positions in the "
                    f"recipe's proportions, row {start + count} was asked for; "
                    f"use a larger corpus or a smaller run"
                )
        return self._assemble(self._rows[start : start + count])

    def _assemble(self, rows: list[NDArray[np.int64]]) -> Batch:
        shape = (len(rows), self.context)
        inputs = np.full(shape, PAD, np.int64)
        targets = np.full(shape, PAD, np.int64)
        weights = np.zeros(shape, np.float32)
        positions = np.zeros(shape, np.int64)
        segments = np.full(shape, -1, np.int64)
        sources = np.full(shape, -1, np.int64)
        patches = [np.zeros((0, self._shards[0].patches.shape[1]), np.uint8)]
        for line, row in enumerate(rows):
            at = 0
            for number, (source, start, end, first_patch, _) in enumerate(row.tolist()):
                shard = self._shards[source]
                here = slice(at, at + end - start - 1)
                tokens = np.asarray(shard.tokens[start:end], np.int64)
                inputs[line, here] = tokens[:-1]
                targets[line, here] = tokens[1:]
                weights[line, here] = shard.weights[start + 1 : end]
                positions[line, here] = np.arange(end - start - 1)
                segments[line, here] = number
                sources[line, here] = source
                pictured = int((tokens[:-1] == IMG).sum())
                if pictured:
                    patches.append(shard.patches[first_patch : first_patch + pictured])
                at += end - start - 1
        return Batch(
            inputs, targets, weights, positions, segments, np.concatenate(patches), sources
        )
