"""Scores from points; the report's own tables come out of our functions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.evals.exams.percentiles import Percentiles, Row, read_percentiles
from foresight.evals.exams.published import published
from foresight.evals.exams.scoring import Linear, Table

GRE = Linear(method="linear", low=130, high=170, step=1)


def rows(shared_data: Path, name: str) -> list[dict[str, str]]:
    path = shared_data / "evals" / "gpt4_report_tables" / f"{name}.csv"
    return list(csv.DictReader(path.read_text().splitlines()))


def test_gre_of_table_10_gives_table_1(shared_data: Path) -> None:
    shares = {row["name"]: row for row in rows(shared_data, "table10_contamination_details")}
    for exam in ("GRE Quantitative", "GRE Verbal"):
        full = GRE.scaled(float(shares[exam]["gpt4_pct"]), 100)
        clean = GRE.scaled(float(shares[exam]["noncontaminated_pct"]), 100)
        assert f"{min(full, clean):g}/170" == published()[exam].gpt4
    assert [GRE.scaled(share, 1) for share in (0, 0.5, 1)] == [130, 150, 170]


def test_amc_points_of_table_10_give_table_1(shared_data: Path) -> None:
    """25 questions of 6 points."""
    scale = Linear(method="linear", low=0, high=150)
    shares = {row["name"]: float(row["gpt4_pct"]) for row in
              rows(shared_data, "table10_contamination_details")}  # fmt: skip
    for exam in ("AMC 10", "AMC 12"):
        assert f"{scale.scaled(shares[exam], 100):g}/150" == published()[exam].gpt4


def test_the_shipped_table_is_the_report_s(shared_data: Path) -> None:
    found = [vars(row) for row in published().values()]
    assert found == rows(shared_data, "table1_exams") and len(found) == 34


def test_means_of_table_8(shared_data: Path) -> None:
    read = rows(shared_data, "table8_base_vs_rlhf_mcq")
    scale = Linear(method="linear", low=0, high=100, step=0.1)
    for field, mean in (("base_pct", 73.7), ("rlhf_pct", 74.0)):
        values = [float(row[field]) for row in read if row["exam"] != "Average"]
        assert scale.scaled(sum(values), 100 * len(values)) == pytest.approx(mean)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, 10.0]))
def test_more_points_never_score_less(first: float, second: float, step: float) -> None:
    scale = Linear(method="linear", low=0, high=60, step=step)
    low, high = sorted((first, second))
    assert 0 <= scale.scaled(low, 1) <= scale.scaled(high, 1) <= 60


def test_halves_go_up() -> None:
    essay = Linear(method="linear", low=0, high=6, step=0.5)
    assert essay.scaled(3.25, 6) == 3.5 and essay.scaled(3.2, 6) == 3.0
    assert Linear(method="linear", low=0, high=10, step=1).scaled(2.5, 10) == 3


def test_a_chart_is_read_downwards(tmp_path: Path) -> None:
    (tmp_path / "scale.csv").write_text("# official\nraw,scaled\n0,200\n10,400\n20,800\n")
    points, percent = Table(method="table"), Table(method="table", raw="percent")
    for table in (points, percent):
        table.read(tmp_path)
    assert [points.scaled(raw, 20) for raw in (-1, 0, 9.9, 10, 19, 20)] == [
        200, 200, 200, 400, 400, 800,
    ]  # fmt: skip
    assert percent.scaled(2, 20) == 400


def test_percentiles_are_ranges_over_populations(tmp_path: Path) -> None:
    """AMC: the lower of the two minima, the higher of the two maxima (appendix A)."""
    (tmp_path / "p.csv").write_text(
        "score,lower,upper,population,date,source\n"
        "0,0,10,A,fall 2021,x\n60,45,60,A,fall 2021,x\n"
        "0,0,5,B,spring 2021,x\n54,40,50,B,spring 2021,x\n60,50,66,B,spring 2021,x\n"
    )
    found = read_percentiles(tmp_path / "p.csv")
    assert (found.of(60).lower, found.of(60).upper) == (45, 66)
    assert (found.of(57).lower, found.of(57).upper) == (0, 50)
    assert found.of(60).populations == ("A, fall 2021 (x)", "B, spring 2021 (x)")
    below = Percentiles({"P": (Row(3, 30, 40),)}).of(2)
    assert (below.lower, below.upper) == (0, 30)
