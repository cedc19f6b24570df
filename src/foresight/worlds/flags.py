"""Flags: pictures of one to four stripes, whose colours are named from the top.

The colours are of uneven frequency (Zipf's law), so that skills come one after the other as a
model grows and not all at once: the smallest rungs of a ladder read some flags, the largest not
yet all. Sequences of two and more colours are held out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foresight.document import Document, Image, Text
from foresight.worlds.drawing import COLOURS, stripes
from foresight.worlds.splits import Split, generator, held_out, pick_weighted, zipf

HELD_OUT_SHARE = 0.2
STRIPE_SHARES = (0.35, 0.3, 0.2, 0.15)
PER_DOCUMENT = 3
QUESTION = "Q: Which stripes?\nA:"
_WEIGHTS = zipf(len(COLOURS))


@dataclass(frozen=True, eq=False)
class Flag:
    """A flag and the names of its stripes from the top."""

    colours: tuple[str, ...]
    image: Image

    @property
    def answer(self) -> str:
        return f" {', '.join(self.colours)}\n"


def split_of(colours: tuple[str, ...]) -> Split:
    """The split of a sequence, for every seed. Single colours are always trained on: held out,
    they would never be named."""
    out = len(colours) > 1 and held_out(f"flag {' '.join(colours)}", HELD_OUT_SHARE)
    return "validation" if out else "train"


def flags(
    rng: np.random.Generator, split: Split, stripe_count: int | None = None
) -> Iterator[Flag]:
    """Flags without end, of so many stripes or of one to four; two neighbours differ."""
    while True:
        drawn = 1 + pick_weighted(rng, range(len(STRIPE_SHARES)), STRIPE_SHARES)
        colours: list[str] = []
        while len(colours) < (stripe_count or drawn):
            colour = pick_weighted(rng, tuple(COLOURS), _WEIGHTS)
            if colours[-1:] != [colour]:
                colours.append(colour)
        if split_of(tuple(colours)) == split:
            yield Flag(tuple(colours), stripes(rng, colours))


def documents(seed: int, count: int, split: Split) -> Iterator[Document]:
    """`count` documents of three flags each; document i depends on (seed, split, i) alone."""
    for index in range(count):
        drawn = flags(generator(seed, f"flags/{split}", index), split)
        parts: list[Text | Image] = []
        keys = []
        for _ in range(PER_DOCUMENT):
            flag = next(drawn)
            parts += [flag.image, Text(QUESTION + flag.answer)]
            keys.append(" ".join(flag.colours))
        yield Document(
            id=f"flags-{split}-{seed}-{index}",
            parts=tuple(parts),
            source="flags",
            group=" + ".join(keys),
        )
