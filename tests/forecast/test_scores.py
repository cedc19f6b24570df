"""Reading scores: columns, scales, standard errors, refusals by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.forecast import read_scores
from foresight.forecast.scores import binomial_stderr


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    return path


def test_columns_and_scales(tmp_path: Path) -> None:
    table = read_scores(
        written(tmp_path, "model,N,logodds,logodds_stderr,family\na,1e8,-0.5,0.1,x\na,1e9,0,,x\n"),
        "logodds",
    )
    assert table.scale == "params" and table.metric == "logodds"
    assert [row.value for row in table.rows] == [-0.5, 0.0]
    assert [row.stderr for row in table.rows] == [0.1, None]
    assert [row.run for row in table.rows] == ["a:1", "a:2"]
    assert {row.group for row in table.rows} == {"x"}


@pytest.mark.parametrize(
    ("header", "row", "scale"),
    [
        ("C,acc", "2e18,.5", 2e18),
        ("FLOPs (1E21),acc", "2,.5", 2e21),
        ("N,D,acc", "1e8,1e9,.5", 6e17),
    ],
)
def test_compute(tmp_path: Path, header: str, row: str, scale: float) -> None:
    table = read_scores(written(tmp_path, f"{header}\n{row}\n"))
    assert table.rows[0].scale == pytest.approx(scale) and table.scale == "compute_flops"


def test_chosen_columns_and_left_out_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "C,width,acc,err\n1e9,64,.5,.1\n2e9,128,,\n")
    table = read_scores(path, "acc", {"scale": "width", "stderr": "err"})
    assert (table.scale, len(table.rows)) == ("width", 1)
    assert (table.rows[0].scale, table.rows[0].stderr) == (64.0, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C,acc\n1e9,nan\n", "row 1, field acc: 'nan'; expected a finite number"),
        ("C,acc\n0,.5\n", "row 1, field compute_flops: '0'; expected a finite number above 0"),
        ("C,acc\n1e9,\n", "field acc: no row has a value"),
        (
            "C,points\n1e9,5\n",
            "field metric: no such column among C, points; expected one of score",
        ),
        ("name,acc\nx,.5\n", "field scale: missing"),
    ],
)
def test_nonsense_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_scores(written(tmp_path, text))


def test_binomial_errors() -> None:
    assert binomial_stderr("here", 0.5, 100) == pytest.approx(0.05)
    assert binomial_stderr("here", 0.0, 100) > 0.0
    with pytest.raises(UserError, match="a share from 0 to 1"):
        binomial_stderr("here", 62.0, 100)
    with pytest.raises(UserError, match="at least 1"):
        binomial_stderr("here", 0.5, 0)
