"""Tables of other trainers: what is recognised, and what is refused by row."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.forecast import read_table


def test_csv_with_params_and_tokens_does_not_overflow(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("N,D,Loss,seed,group\n1000000000000,30000000000000,2.5,3,a\n")
    (row,) = read_table(path).rows
    assert row.compute_flops == pytest.approx(1.8e26)  # beyond int64
    assert (row.seed, row.group, row.params) == (3, "a", 10**12)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_kinds_of_files_agree(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"runs.{kind}"
    records = [{"C": 1e18, "loss": 3.0, "seed": 0}, {"C": 1e19, "loss": 2.5, "seed": 0}]
    if kind == "csv":
        path.write_text("C,loss,seed\n1e18,3.0,0\n1e19,2.5,0\n")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(record) for record in records))
    else:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(records), path)
    rows = read_table(path).rows
    assert [(row.compute_flops, row.loss) for row in rows] == [(1e18, 3.0), (1e19, 2.5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C,loss\n1e18,3\n1e19,-2\n", "row 2, field loss: '-2'; expected a finite number above 0"),
        ("C,loss\n1e18,nan\n", "row 1, field loss"),
        ("C,loss\nbig,3\n", "row 1, field compute_flops: 'big'"),
        ("C,loss\n1e18,\n", "row 1, field loss: missing"),
        ("N,loss\n1e8,3\n", "field compute_flops: missing; expected a column"),
        ("C,loss\n", "no rows"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_table(path)
    assert message in str(caught.value) and "runs.csv" in str(caught.value)


def test_other_bad_files(tmp_path: Path) -> None:
    broken = tmp_path / "runs.jsonl"
    broken.write_text('{"C": 1e18, "loss": 3}\n{"C": 1e19,\n')
    with pytest.raises(UserError, match=r"runs\.jsonl, row 2: not valid JSON"):
        read_table(broken)
    not_parquet = tmp_path / "runs.parquet"
    not_parquet.write_text("text")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_table(not_parquet)
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "missing.csv")
    other = tmp_path / "runs.xlsx"
    other.write_text("")
    with pytest.raises(UserError, match="unknown kind"):
        read_table(other)


@pytest.mark.parametrize(
    ("header", "row", "compute", "remark"),
    [
        ("Training FLOP,Model Size,loss", "6e18,1e8,3", 6e18, "compute_flops <- Training FLOP"),
        ("throughput/total_gflops,eval/loss", "3e9,3", 3e18, "compute in units of 1e+09 FLOPs"),
        ("PF-days,val_bpb", "2,0.9", 2 * 8.64e19, "loss <- val_bpb"),
        ("num_params;x,tokens,loss", "1e8,1e9,3", None, ""),
        ("parameter_count,total_tokens,final_loss", "1e8,1e9,3", 6e17, "params <- parameter_count"),
    ],
)
def test_names_and_units_met_in_the_wild(
    tmp_path: Path, header: str, row: str, compute: float | None, remark: str
) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f"{header}\n{row}\n")
    if compute is None:
        with pytest.raises(UserError, match="field compute_flops: missing"):
            read_table(path)
        return
    table = read_table(path)
    assert table.rows[0].compute_flops == pytest.approx(compute)
    assert remark in table.remarks[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("C,loss\n1e18,3\n1e18,3\n", "row 2: the same run as row 1"),
        ("C,N,D,loss\n1e18,1e8,1e9,3\n1e20,1e8,1e9,2\n", "row 2, field compute_flops: 1e+20 is"),
        ("C,loss,tokenizer\n1e18,3,a\n1e19,2,b\n", "field tokenizer: runs have 'a' (row 1), 'b'"),
        ("C,perplexity\n1e18,30\n", "field loss: no such column among C, perplexity"),
        ("C,loss\n1e18,3,4\n", "row 1: more values than the header has names"),
        ("C,loss\n1e18,inf\n", "row 1, field loss: 'inf'"),
    ],
)
def test_nonsense_is_named_by_row(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_table(path)
    assert message in str(caught.value)


def test_what_looks_like_nonsense_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("C,loss,seed,tokenizer,group\n1e18,3,0,a,x\n1e18,3,1,a,x\n1e18,3,0,b,y\n")
    assert len(read_table(path).rows) == 3
    path.write_text("C,bits_per_byte,tokenizer\n1e18,1.2,a\n1e19,1.1,b\n")
    assert len(read_table(path).rows) == 2
    path.write_text("C,N,D,loss\n1.5e18,1e8,1e9,3\n")
    assert read_table(path).remarks[-1].endswith("compute is 2.50 times 6 N D")
    path.write_text("C,train,loss\n1e18,9,3\n")
    assert read_table(path, {"loss": "train"}).rows[0].loss == 9
    with pytest.raises(UserError, match="no column 'x'"):
        read_table(path, {"loss": "x"})
