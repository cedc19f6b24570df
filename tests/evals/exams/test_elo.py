"""Ratings: the equilibrium is where expected and actual ranks agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.exams.elo import Contest, Elo, equilibrium, read_contests


def contest(ratings: list[float], solved: list[int] | None = None, problems: int = 4) -> Contest:
    return Contest("c", tuple(f"p{at}" for at in range(problems)), tuple(ratings),
                   tuple(solved or [0] * len(ratings)))  # fmt: skip


@settings(max_examples=30)
@given(st.floats(-500, 3000), st.floats(0.05, 0.95))
def test_one_opponent_has_a_closed_form(opponent: float, chance: float) -> None:
    """Rank 1 + P(opponent wins): r = r_j - 400 log10(P / (1 - P)) (Elo 1978)."""
    one = contest([opponent])
    exact = opponent - 400 * np.log10(chance / (1 - chance))
    assert equilibrium([one], [1 + chance]) == pytest.approx(exact, abs=0.5)


def test_the_equilibrium_is_no_more_moved() -> None:
    """Repeated updates end where every contest's moves cancel: the root of their sum."""
    rng = np.random.default_rng(0)
    contests = [contest(rng.normal(1500, 300, 40).tolist()) for _ in range(10)]
    ranks = rng.uniform(5, 35, 10).tolist()
    rating = equilibrium(contests, ranks)
    pulls = [one.rating_at(np.sqrt(one.seed(rating) * rank)) - rating
             for one, rank in zip(contests, ranks, strict=True)]  # fmt: skip
    assert np.mean(pulls) == pytest.approx(0, abs=0.05)


def test_simulated_contests_recover_a_rating_among_equals() -> None:
    """Everyone solves each of four problems with a chance of one half: rated like the others."""
    rng = np.random.default_rng(1)
    contests = [
        contest(rng.normal(1500, 5, 60).tolist(), rng.binomial(4, 0.5, 60).tolist())
        for _ in range(10)
    ]
    even = Elo(method="elo").rating(contests, {f"p{at}": 0.5 for at in range(4)})
    better = Elo(method="elo").rating(contests, {f"p{at}": 0.9 for at in range(4)})
    worse = Elo(method="elo").rating(contests, {f"p{at}": 0.0 for at in range(4)})
    assert even == pytest.approx(1500, abs=60) and worse < even - 200 and better > even + 200


def test_ranks_count_half_of_those_who_are_level() -> None:
    one = contest([1.0] * 4, [3, 2, 2, 0])
    assert [one.rank(solved) for solved in (4, 3, 2, 1, 0)] == [1, 1.5, 3, 4, 4.5]


def test_bad_contests(tmp_path: Path) -> None:
    path = tmp_path / "contests.jsonl"
    for text, told in (
        ('{"name": "c", "problems": ["x"], "ratings": [1], "solved": [0]}', "'x' is no question"),
        ('{"name": "c", "problems": ["p"], "ratings": [1], "solved": []}', "1 ratings, 0 solved"),
        ('{"name": "c", "problems": ["p"]}', "line 1: expected name, problems"),
        ("", "has no contests"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(UserError, match=told):
            read_contests(path, ["p"])
