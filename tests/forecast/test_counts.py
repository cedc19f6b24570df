"""Tables of counts: what is recognised, and what is refused by row."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import digamma

from foresight.errors import UserError
from foresight.forecast import read_counts
from foresight.forecast.counts import ModelCounts, log_pass_rate

HEADER = "problem,compute,passes,samples\n"
GOOD = "a,1e18,0,10\na,1e19,3,10\na,1e20,7,10\nb,1e18,1,10\nb,1e20,9,10\n"


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_kinds_of_files_agree(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"counts.{kind}"
    lines = [line.split(",") for line in GOOD.splitlines()]
    records = [
        {"problem": p, "compute": float(c), "passes": int(x), "samples": int(n)}
        for p, c, x, n in lines
    ]
    if kind == "csv":
        path.write_text(HEADER + GOOD)
    elif kind == "tsv":
        path.write_text((HEADER + GOOD).replace(",", "\t"))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(record) for record in records))
    else:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(records), path)
    counts = read_counts(path)
    assert counts.problems == ("a", "b") and list(counts.compute) == [1e18, 1e19, 1e20]
    assert counts.passes.tolist() == [[0, 3, 7], [1, 0, 9]]
    assert counts.samples.tolist() == [[10, 10, 10], [10, 0, 10]]
    assert not counts.assign_samples.any()


def test_names_and_units_met_in_the_wild(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(
        "task_id,Model,params,tokens,n,num_correct\n"
        "HumanEval/0,small,1e8,2e9,20,0\nHumanEval/0,mid,1e9,2e10,20,4\n"
        "HumanEval/0,large,1e10,2e11,20,20\n"
    )
    counts = read_counts(path)
    assert counts.models == ("small", "mid", "large")  # by compute, not by name
    assert counts.compute == pytest.approx([1.2e18, 1.2e20, 1.2e22])
    assert "samples <- n" in counts.remarks[0]
    path.write_text("item,zflops,trials,successes\na,1,5,1\na,2,5,1\na,3,5,1\n")
    assert read_counts(path).compute == pytest.approx([1e21, 2e21, 3e21])


def test_marked_rows_assign_only(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    rows = "".join(f"a,1e{e},{e - 17},10,0\na,1e{e},2,4,1\n" for e in (18, 19, 20))
    path.write_text(HEADER.replace("samples", "samples,assign") + rows)
    counts = read_counts(path)
    assert counts.passes.tolist() == [[1, 2, 3]]
    assert counts.assign_passes.tolist() == [[2, 2, 2]]
    assert counts.with_all_samples().samples.tolist() == [[14, 14, 14]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a,1e18,11,10\n", "row 1, field passes: 11 of 10 samples"),
        (HEADER + "a,1e18,0,0\n", "row 1, field samples: 0; expected at least 1"),
        (HEADER + "a,1e18,1.5,10\n", "row 1, field passes: '1.5'; expected a whole number"),
        (HEADER + "a,1e18,nan,10\n", "row 1, field passes: 'nan'; expected a finite number"),
        (HEADER + "a,1e18,-1,10\n", "row 1, field passes: '-1'"),
        (HEADER + "a,1e18,1,inf\n", "row 1, field samples: 'inf'"),
        (HEADER + "a,1e18,,10\n", "row 1, field passes: missing"),
        (HEADER + ",1e18,1,10\n", "row 1, field problem: missing"),
        (HEADER + "a,0,1,10\n", "row 1, field compute_flops: '0'"),
        (HEADER + GOOD + "a,1e18,1,10\n", "row 6: problem 'a' and model '1e+18 FLOPs' again"),
        (HEADER + "a,1e18,1,10\na,1e19,1,10\n", "field compute_flops: 2 models; expected at least"),
        (HEADER, "no rows"),
        ("problem,compute,passes\na,1e18,1\n", "field samples: no such column among problem"),
        ("problem,passes,samples\na,1,2\n", "field compute_flops: missing"),
        (
            "problem,model,compute,passes,samples\na,x,1e18,1,2\nb,x,1e19,1,2\n",
            "row 2, field compute_flops: 1e+19 for model 'x', but 1e+18 in row 1",
        ),
        (
            "problem,compute,passes,samples,assign\na,1e18,1,2,maybe\n",
            "row 1, field assign: 'maybe'; expected true or false",
        ),
        (
            "problem,C,params,tokens,passes,samples\na,1e20,1e8,1e9,1,2\n",
            "row 1, field compute_flops: 1e+20 is",
        ),
    ],
)
def test_nonsense_is_named_by_row(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_counts(path)
    assert message in str(caught.value) and "counts.csv" in str(caught.value)


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text(HEADER + GOOD)
    other.write_text(HEADER + "".join(reversed(GOOD.splitlines(keepends=True))))
    a, b = read_counts(one), read_counts(other)
    assert (a.problems, a.models) == (b.problems, b.models)
    assert (a.passes == b.passes).all() and (a.samples == b.samples).all()


@given(st.integers(1, 400), st.data())
def test_log_pass_rates_are_digammas(samples: int, data: st.DataObject) -> None:
    """Of Jeffreys' posterior Beta(passes + 1/2, samples - passes + 1/2); finite at 0."""
    passes = data.draw(st.integers(0, samples))
    expected = digamma(passes + 0.5) - digamma(samples + 1)
    assert float(log_pass_rate(passes, samples)) == pytest.approx(expected, rel=1e-9)


def test_results_of_models_are_written_and_read_again(tmp_path: Path) -> None:
    models = [
        ModelCounts(f"m{i}", 10.0**i, {"a": (i, 9), "b \u00e9": (2, 4 + i)}) for i in range(1, 4)
    ]
    (tmp_path / "c.jsonl").write_text("".join(one.lines for one in models))
    read = read_counts(tmp_path / "c.jsonl")
    assert (read.problems, read.models) == (("a", "b \u00e9"), ("m1", "m2", "m3"))
    assert read.passes.tolist() == [[1, 2, 3], [2, 2, 2]]
    assert read.samples.tolist() == [[9, 9, 9], [5, 6, 7]]
    (tmp_path / "d.jsonl").write_text("".join(
        one.lines for one in (*models, ModelCounts("x", 5.0, {"a": (0, 1)}))
    ))  # fmt: skip
    assert read_counts(tmp_path / "d.jsonl").samples[1].tolist() == [0, 5, 6, 7]
    with pytest.raises(UserError, match="expected at least 4"):
        read_counts(tmp_path / "c.jsonl", min_models=4)
