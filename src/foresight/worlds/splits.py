"""Seeds and held-out sets that all worlds share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

Split = Literal["train", "validation"]
Choice = TypeVar("Choice")


def hash64(text: str) -> int:
    """64-bit hash of a string, the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def held_out(key: str, share: float) -> bool:
    """Whether `key` belongs to the held-out `share` (0 to 1) of all keys.

    A pure function of the key: no seed moves a combination from validation into training.
    """
    return hash64(key) < share * 2.0**64


def generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """The random generator of item `index` of a stream, independent of how many items are drawn."""
    return np.random.Generator(np.random.PCG64([seed, hash64(stream), index]))


def pick(rng: np.random.Generator, options: Sequence[Choice]) -> Choice:
    """One of `options`, uniformly (unlike `rng.choice` it makes no array of them)."""
    return options[int(rng.integers(len(options)))]


def pick_weighted(
    rng: np.random.Generator, options: Sequence[Choice], weights: Sequence[float]
) -> Choice:
    """One of `options`, with chances in proportion to the weights."""
    bounds = np.cumsum(weights)
    return options[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]


def zipf(count: int) -> tuple[float, ...]:
    """Weights of ranks, the most frequent first: 1 / (1 + rank), rank from 1."""
    return tuple(1 / (2 + at) for at in range(count))
