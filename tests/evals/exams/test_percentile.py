"""Percentile ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.exams.percentile import Percentiles, Range, read_percentiles, widest

HEAD = "score,lower,upper,population,date,source\n"


def read(tmp_path: Path, *rows: str) -> tuple[Percentiles, ...]:
    path = tmp_path / "percentiles.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return read_percentiles(path)


def test_a_score_that_many_share_has_a_range(tmp_path: Path) -> None:
    """AP Art History: 14 % get a 5, so it is the 86th to the 100th percentile."""
    (found,) = read(tmp_path, "4,66,86,all,2022,AP", "5,86,100,all,2022,AP")
    best = found.at(5)
    assert best == Range(86, 100, "all", "2022", "AP")
    assert found.at(4.5) == Range(66, 100, "all", "2022", "AP"), "between rows: over both"
    assert found.at(3.9) is None and found.at(5.1) is None


def test_two_distributions_of_the_amc(tmp_path: Path) -> None:
    """The minimum of the minima to the maximum of the maxima."""
    found = read(tmp_path, "30,6,10,AMC 10 A,2021,MAA", "30,8,12,AMC 10 B,2021,MAA")
    assert len(found) == 2
    ranges = [one for one in (table.at(30) for table in found) if one]
    assert widest(ranges) == Range(6, 12, "AMC 10 A; AMC 10 B", "2021", "MAA")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["5,86,101,all,2022,AP"], "line 2, field upper: .*less than or equal to 100, got '101'"),
        (["5,-1,100,all,2022,AP"], "line 2, field lower: .*greater than or equal to 0, got '-1'"),
        (["5,90,80,all,2022,AP"], "line 2: lower 90 is above upper 80"),
        (["5,86,100,,2022,AP"], "line 2, field population: String should have at least 1"),
        (["5,86,100,all,,AP"], "line 2, field date: String should have at least 1"),
        (["5,86,100,all,2022,"], "line 2, field source: String should have at least 1"),
        (["5,86,100,all,2022,AP", "4,66,86,all,2022,AP"], "line 3, field score: 4 after 5"),
        (["4,66,86,all,2022,AP", "5,60,100,all,2022,AP"], "line 3: percentiles fall"),
        ([], "line 1: no rows"),
    ],
)
def test_bad_percentiles(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(UserError, match="percentiles.csv, " + message):
        read(tmp_path, *rows)
