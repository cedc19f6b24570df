"""Keys and values of the positions seen so far, one slot per sequence."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foresight.compute import Shape

Keys = NDArray[np.int64]
"""What stands at each position: a token's id; for a patch a hash of its pixels, negative."""

GROWTH = 64
"""Slots grow by multiples of this many positions."""


class Cache:
    """`keys`, `values` (layers, slots, heads, capacity, head_dim); `held` (slots, context) and
    `length` (slots,): what each slot holds.

    Slots that decode together are kept at the front, so that a view of them needs no copy. A slot
    that is done stays as it is until it is needed: its beginning may serve the next prompt.
    """

    def __init__(self, shape: Shape, slots: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.slots, self.capacity = shape, slots, 0
        self._dtype, self._device = dtype, device
        self.keys = self.values = self._empty(0)
        self.held = np.zeros((slots, shape.context), np.int64)
        self.length = np.zeros(slots, np.int64)

    def _empty(self, capacity: int) -> Tensor:
        s = self.shape
        size = (s.depth, self.slots, s.heads, capacity, s.head_dim)
        # Not `empty`: a row sees the places behind it with weight zero, and 0 times NaN is NaN.
        return torch.zeros(size, dtype=self._dtype, device=self._device)

    @staticmethod
    def bytes_per_position(shape: Shape, dtype: torch.dtype) -> int:
        """Memory of one position of one slot."""
        return 2 * shape.depth * shape.width * dtype.itemsize

    @property
    def bytes(self) -> int:
        """Memory of keys and values as they are now."""
        return self.keys.nbytes + self.values.nbytes

    def reserve(self, length: int) -> None:
        """Make room for `length` positions in every slot."""
        if length <= self.capacity:
            return
        capacity = min(-(-length // GROWTH) * GROWTH, self.shape.context)
        keys, values = self._empty(capacity), self._empty(capacity)
        keys[..., : self.capacity, :] = self.keys
        values[..., : self.capacity, :] = self.values
        self.keys, self.values, self.capacity = keys, values, capacity

    def common(self, keys: Keys) -> NDArray[np.int64]:
        """Length of the longest common beginning of every slot and `keys`, (slots,)."""
        size = len(keys)
        differ = self.held[:, :size] != keys
        first = np.where(differ.any(axis=1), differ.argmax(axis=1), size)
        return np.minimum(first, self.length)

    def put(self, slot: int, start: int, keys: Keys) -> None:
        """Note what the positions from `start` on hold, and that nothing follows them."""
        end = start + len(keys)
        self.held[slot, start:end] = keys
        self.length[slot] = end

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` positions of a slot into another."""
        if source != target:
            for store in (self.keys, self.values):
                store[:, target, :, :length] = store[:, source, :, :length]
            self.held[target, :length] = self.held[source, :length]
        self.length[target] = length

    def swap(self, one: int, other: int) -> None:
        """Exchange two slots."""
        if one == other:
            return
        most = int(max(self.length[one], self.length[other]))
        for store in (self.keys, self.values):
            kept = store[:, one, :, :most].clone()
            store[:, one, :, :most] = store[:, other, :, :most]
            store[:, other, :, :most] = kept
        self.held[[one, other]] = self.held[[other, one]]
        self.length[[one, other]] = self.length[[other, one]]


def common_length(one: Keys, other: Keys) -> int:
    """Length of the longest common beginning."""
    size = min(len(one), len(other))
    differ = np.flatnonzero(one[:size] != other[:size])
    return int(differ[0]) if len(differ) else size
