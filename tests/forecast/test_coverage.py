from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.forecast import Score
from foresight.forecast.coverage import tallies, wilson


def score(kind: str, observed: float | None = None, hit: bool = True, **other: Any) -> Score:
    done: dict[str, Any] = {}
    if observed is not None:
        done = {"observed": observed, "error_in_sd": 1.0, "crps": 0.5, "inside": {"95": hit}}
    return Score(
        **{"name": "a", "run": "r", "metric": "m", "status": "", "predicted": 1.0,
           "extrapolation_ratio": None, "kind": kind, "scale": "log", "sd": 0.1,
           "created_utc": "", "intervals": {}, **done, **other}
    )  # fmt: skip


@given(st.integers(1, 400), st.data())
def test_wilson_solves_its_equation(n: int, data: st.DataObject) -> None:
    """Both ends are the shares from which the observed one is exactly z standard errors away."""
    right = data.draw(st.integers(0, n))
    for end in wilson(right, n):
        assert -1e-12 <= end <= 1 + 1e-12
        error = 1.959963985 * math.sqrt(max(end * (1 - end), 0.0) / n)
        assert abs(right / n - end) == pytest.approx(error, abs=1e-7)


def test_kinds_are_counted_apart() -> None:
    found = tallies(
        [
            score("back-cast", 1.0),
            score("registered", 1.0),
            score("registered", 1.0, hit=False, crps=0.1),
            score("registered"),
            score("stated", 2.0, scale="linear"),
        ]
    )
    assert [one["kind"] for one in found] == ["registered", "stated", "back-cast"]
    ours = found[0]
    assert (ours["predictions"], ours["outcomes"]) == (3, 2)
    assert ours["coverage"]["95"]["inside"] == 1 and ours["coverage"]["95"]["share"] == 0.5
    assert ours["coverage"]["80"] == {"inside": 0, "n": 0, "share": None, "wilson95": None}
    assert ours["mean_crps"] == {"log": 0.3} and found[1]["mean_crps"] == {"linear": 0.5}
