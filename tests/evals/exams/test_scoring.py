"""Scales and scoring methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.evals.exams.scale import Scale, read_scales
from foresight.evals.exams.scoring import (
    Essay,
    Linear,
    Part,
    Raw,
    Table,
    Weighted,
    overall_share,
    rounded,
)

SOURCE = "these tests"
PARTS = {"mc": Part(60.0, 1.0), "frq": Part(36.0, 1.5)}


def shares(**values: float) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in values.items()}


def test_sections_are_weighted_by_points_and_multiplier() -> None:
    found = overall_share(shares(mc=0.5, frq=1.0), PARTS)
    assert found[0] == pytest.approx((30 + 54) / (60 + 54))
    assert Raw(source=SOURCE).score(shares(mc=0.5, frq=1.0), PARTS, {})[0] == found[0]


def test_table_reads_the_rounded_composite() -> None:
    scales = {"": Scale((0, 40, 70, 84, 100), (1, 2, 3, 4, 5))}
    table = Table(source=SOURCE)
    table.check(PARTS, scales)
    score = table.score(shares(mc=0.5, frq=1.0), PARTS, scales)[0]
    assert score == 4.0, "30 + 1.5 * 36 is 84"
    # 83.5 is rounded up to 84; without rounding it is below.
    below = shares(mc=29.5 / 60, frq=1.0)
    assert table.score(below, PARTS, scales)[0] == 4.0
    assert Table(source=SOURCE, raw_step=None).score(below, PARTS, scales)[0] == 3.0


def test_weighted_sums_scaled_sections() -> None:
    """SAT reading and writing: ten times each test score."""
    parts = {"reading": Part(52.0, 10.0), "writing": Part(44.0, 10.0)}
    scales = {"reading": Scale((0, 26, 52), (10, 25, 40)), "writing": Scale((0, 44), (10, 40))}
    weighted = Weighted(source=SOURCE)
    weighted.check(parts, scales)
    assert weighted.score(shares(reading=0.5, writing=1.0), parts, scales)[0] == 650
    with pytest.raises(UserError, match="rows for each section: reading, writing; it has none"):
        weighted.check(parts, {})


def test_essays_are_rounded_to_halves() -> None:
    essay = Essay(top=6, source=SOURCE)
    parts = {"issue": Part(6.0), "argument": Part(6.0)}
    assert essay.score(shares(issue=4 / 6, argument=4.5 / 6), parts, {})[0] == 4.5
    assert essay.score(shares(issue=4 / 6, argument=4 / 6), parts, {})[0] == 4.0


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (Scale((5, 60), (1, 2)), "begins at raw 5"),
        (Scale((0, 115), (1, 2)), "goes up to raw 115, the exam has at most 114 points"),
    ],
)
def test_a_scale_that_does_not_fit_the_points(scale: Scale, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Table(source=SOURCE).check(PARTS, {"": scale})
    with pytest.raises(UserError, match="linear does not use scale"):
        Linear(source=SOURCE, base=0, span=1).check(PARTS, {"": scale})


SCALES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 50)), min_size=1, max_size=12
).map(lambda steps: Scale(
    tuple(float(sum(s for s, _ in steps[:at])) for at in range(len(steps))),
    tuple(float(sum(s for _, s in steps[: at + 1])) for at in range(len(steps))),
))  # fmt: skip


@given(SCALES, st.floats(0, 1), st.floats(0, 1))
def test_more_points_are_never_worth_less(scale: Scale, one: float, other: float) -> None:
    part = {"all": Part(scale.raw[-1] or 1.0)}
    methods = (
        Table(source=SOURCE), Linear(source=SOURCE, base=130, span=40, step=1),
        Essay(source=SOURCE, top=6),
    )  # fmt: skip
    low, high = sorted((one, other))
    for method in methods:
        scores = method.score({"all": np.array([low, high])}, part, {"": scale})
        assert scores[0] <= scores[1]


@given(SCALES)
def test_a_listed_raw_score_gets_its_own_row(scale: Scale) -> None:
    assert scale.at(np.array(scale.raw)).tolist() == list(scale.scaled)
    # Shares that were summed in another way come out a hair lower.
    assert scale.at(np.array(scale.raw) - 1e-12).tolist() == list(scale.scaled)


@given(st.integers(-40, 400), st.sampled_from([0.25, 0.5, 1.0, 10.0]))
def test_halves_are_rounded_up(count: int, step: float) -> None:
    assert rounded(np.array([(count + 0.5) * step]), step)[0] == (count + 1) * step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raw,scaled\n0,1\n5,3\n6,2\n", "line 4, field scaled: 2 after 3"),
        ("raw,scaled\n0,1\n5,3\n5,4\n", "line 4, field raw: 5 after 5"),
        ("raw,scaled\n0,1\n5\n", "line 3: 1 fields under 2 columns"),
        ("raw,scaled\n0,high\n", "line 2, field scaled: .*valid number.*got 'high'"),
        ("raw,scaled\n0,nan\n", "line 2, field scaled: .*finite number, got 'nan'"),
        ("raw,score\n0,1\n", "line 1: no column scaled"),
        ("raw,scaled,grade\n0,1,5\n", "line 2, field grade: unknown"),
        ("raw,scaled\n", "line 1: no rows"),
        ("", "line 1: no column raw"),
    ],
)
def test_bad_scales(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scale.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="scale.csv, " + message):
        read_scales(path)


def test_scales_of_sections(tmp_path: Path) -> None:
    path = tmp_path / "scale.csv"
    path.write_text("section,raw,scaled\na,0,10\n\nb,0,20\na,1,11\n")
    assert read_scales(path) == {"a": Scale((0, 1), (10, 11)), "b": Scale((0,), (20,))}
