"""A rating from programming contests (GPT-4 report, appendix A.6).

The report simulates each of ten recent contests a hundred times, with ten attempts at a problem,
and after each repeats Elo adjustments until the rating is in equilibrium; the mean over all
simulations is the rating. Here a simulation draws every problem as solved with the share of its
attempts that passed. The opponents are the problems: a participant of rating R is expected to solve
a problem of rating d with probability 1 / (1 + 10^((d - R) / 400)) (Elo 1978), which is what
problems' ratings on Codeforces stand for. The report plays against the participants instead, whose
ratings and results nobody hands out with the problems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]


def expected_solved(rating: float, problems: Sequence[float]) -> float:
    """Problems that a participant of this rating is expected to solve."""
    # 1 / (1 + 10^x) as a hyperbolic tangent, which cannot overflow.
    gaps = (np.asarray(problems, float) - rating) * (np.log(10) / 400)
    return float((0.5 - 0.5 * np.tanh(gaps / 2)).sum())


def equilibrium(problems: Sequence[float], solved: int, lowest: float, highest: float) -> float:
    """The rating that Elo updates R += K (solved - expected(R)) do not change any more, inside
    [lowest, highest]. Where nothing or everything is solved they end at a bound."""

    def change(rating: float) -> float:
        return solved - expected_solved(rating, problems)

    if change(lowest) <= 0:
        return lowest
    return highest if change(highest) >= 0 else float(brentq(change, lowest, highest))


def contest_rating(
    problems: Sequence[float],
    passed: Sequence[float],
    simulations: int,
    seed: int,
    lowest: float = 0.0,
    highest: float = 4000.0,
) -> float:
    """Mean equilibrium rating over simulations of one contest. `passed`: of every problem the
    share of attempts that passed."""
    draws = np.random.default_rng(seed).random((simulations, len(problems)))
    solved = (draws < np.asarray(passed)).sum(axis=1)
    # The equilibrium depends on the number solved alone.
    ratings = {n: equilibrium(problems, n, lowest, highest) for n in set(solved.tolist())}
    return float(np.mean([ratings[n] for n in solved.tolist()]))
