"""A rating from simulated programming contests (GPT-4 report, appendix A.6).

In a contest of people with known ratings, someone rated r is expected on rank
1 + sum_j 1 / (1 + 10^((r - r_j) / 400)) (Elo; Codeforces calls it the seed). After a contest the
rating moves half of the way to the one whose seed is the geometric mean of seed and rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foresight.errors import UserError
from foresight.evals.interop.lines import read_lines

LOWEST, HIGHEST = -4000.0, 8000.0
_GRID = np.arange(LOWEST, HIGHEST + 1, 4.0)
_SETTLED = 0.01


@dataclass(frozen=True)
class Contest:
    """`problems`: ids of questions. `ratings`, `solved`: of the people who took part."""

    name: str
    problems: tuple[str, ...]
    ratings: tuple[float, ...]
    solved: tuple[int, ...]

    def seed(self, rating: float) -> float:
        """Expected rank, from 1, of someone with this rating."""
        gaps = (rating - np.asarray(self.ratings)) / 400.0
        return 1.0 + float(np.sum(1.0 / (1.0 + 10.0**gaps)))

    def rank(self, solved: int) -> float:
        """Rank of so many solved problems; half of those who are level stand before."""
        others = np.asarray(self.solved)
        return 1.0 + float((others > solved).sum()) + 0.5 * float((others == solved).sum())

    @cached_property
    def _seeds(self) -> NDArray[np.float64]:
        return np.array([self.seed(rating) for rating in _GRID])

    def rating_at(self, seed: float) -> float:
        """The rating whose seed this is, to a hundredth of a point."""
        return float(np.interp(-seed, -self._seeds, _GRID))

    def moved(self, rating: float, rank: float) -> float:
        """Where a contest that ends on this rank moves the rating."""
        seed = float(np.interp(rating, _GRID, self._seeds))
        return (rating + self.rating_at(math.sqrt(seed * rank))) / 2


class Elo(BaseModel):
    """The equilibrium rating, averaged over simulations. A question's share of passed attempts is
    the chance that it is solved in a simulation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["elo"]
    contests: str = "contests.jsonl"
    """JSONL: {name, problems: [ids], ratings: [...], solved: [...]}."""
    simulations: Annotated[int, Field(ge=1)] = 100
    seed: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        return (self.contests,)

    def rating(self, contests: Sequence[Contest], shares: Mapping[str, float]) -> float:
        """Mean over simulations; `shares`: of passed attempts, by question."""
        rng = np.random.default_rng(self.seed)
        found = []
        for _ in range(self.simulations):
            ranks = [
                one.rank(int(sum(rng.random() < shares[name] for name in one.problems)))
                for one in contests
            ]
            found.append(equilibrium(contests, ranks))
        return float(np.mean(found))


def equilibrium(contests: Sequence[Contest], ranks: Sequence[float]) -> float:
    """The rating that taking part in all contests again and again, with these ranks, settles at:
    repeated updates (not the root of their sum, which is what tests compare it with).

    Each round takes the mean of the contests' moves, so that their order does not matter.
    """
    rating = 0.0
    while True:
        moved = [one.moved(rating, rank) for one, rank in zip(contests, ranks, strict=True)]
        before, rating = rating, float(np.mean(moved))
        if abs(rating - before) < _SETTLED:
            return rating


def read_contests(path: Path, known: Sequence[str]) -> tuple[Contest, ...]:
    """Raises UserError naming file, line and field."""
    found = []
    for where, row in read_lines(path):
        try:
            one = Contest(
                str(row["name"]),
                tuple(str(name) for name in row["problems"]),
                tuple(float(rating) for rating in row["ratings"]),
                tuple(int(count) for count in row["solved"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{where}: expected name, problems, ratings, solved ({error!r})"
            ) from None
        unknown = [name for name in one.problems if name not in known]
        if unknown:
            raise UserError(f"{where}, field problems: {unknown[0]!r} is no question of the exam")
        if not one.ratings or len(one.ratings) != len(one.solved):
            raise UserError(f"{where}: {len(one.ratings)} ratings, {len(one.solved)} solved")
        found.append(one)
    if not found:
        raise UserError(f"{path}: has no contests")
    return tuple(found)
