"""Bets and their outcomes: what happened is not what was wise.

A bet pays `win` in `chance` of ten cases and costs `lose` in the others; it is good if its
expected value is positive. The outcome is drawn by those odds, so that in most documents a good
bet was won and a bad one lost: a reader who looks at the outcome alone is mostly right. After the
idea of "hindsight neglect" (McKenzie et al. 2023, "Inverse scaling: when bigger isn't better").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from foresight.document import Document, Text
from foresight.worlds.splits import Split, generator, held_out, pick

HELD_OUT_SHARE = 0.25
PER_DOCUMENT = 3
MARGIN = 8
"""Least expected value, in tenths: no bet is a matter of taste."""
NAMES = ("Ann", "Ben", "Eve", "Kim", "Max", "Sam", "Tom", "Zoe")


@dataclass(frozen=True)
class Bet:
    """A bet and whether it was won; `chance` in tenths."""

    name: str
    chance: int
    win: int
    lose: int
    won: bool

    @property
    def expected_tenths(self) -> int:
        """Expected value in tenths."""
        return self.chance * self.win - (10 - self.chance) * self.lose

    @property
    def good(self) -> bool:
        return self.expected_tenths > 0

    @property
    def question(self) -> str:
        outcome = f"wins {self.win}" if self.won else f"loses {self.lose}"
        return (
            f"Bet: win {self.win} in {self.chance} of 10, else lose {self.lose}. "
            f"{self.name} {outcome}. Good bet?"
        )

    @property
    def answer(self) -> str:
        return " yes" if self.good else " no"


def bets(rng: np.random.Generator, split: Split) -> Iterator[Bet]:
    """Bets without end; the triples (chance, win, lose) of a split are its own."""
    while True:
        chance = int(rng.integers(1, 10))
        win, lose = rng.integers(2, 6, size=2).tolist()
        bet = Bet(
            pick(rng, NAMES), int(chance), int(win), int(lose), bool(rng.random() < chance / 10)
        )
        out = held_out(f"bet {chance} {win} {lose}", HELD_OUT_SHARE)
        if abs(bet.expected_tenths) >= MARGIN and out == (split == "validation"):
            yield bet


def documents(seed: int, count: int, split: Split) -> Iterator[Document]:
    """`count` documents of three answered bets each; document i depends on (seed, split, i)."""
    for index in range(count):
        drawn = bets(generator(seed, f"bets/{split}", index), split)
        lines = [f"{bet.question}{bet.answer}\n" for bet in islice(drawn, PER_DOCUMENT)]
        yield Document(
            id=f"bets-{split}-{seed}-{index}",
            parts=(Text("".join(lines)),),
            source="bets",
            group=split,
        )
