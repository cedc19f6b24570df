from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.forecast import Limits, RunTable
from foresight.runs import Run, write_json


def test_runs_become_rows(ladder: Any) -> None:
    runs = [Run(path) for path in sorted((ladder.directory / "ladder").iterdir())]
    table = RunTable.from_runs(runs, "bits_per_byte/code", targets=runs[:1])
    assert len(table.rows) == 12 and len(table.fitted) == 10
    assert table.rows[-1].target
    clipped = [row for row in table.rows if not row.eligible]
    assert [row.reasons for row in clipped] == [("clip_rate",)]
    assert RunTable.from_runs(runs, "losses/mix").rows[0].loss > table.rows[0].loss


def test_limits_decide_eligibility(ladder: Any) -> None:
    runs = [Run(ladder.directory / "ladder" / "r0-s0")]
    strict = Limits(min_steps=301, max_head_share=0.2, max_epochs=0.1, min_copy_gain=0.3)
    (row,) = RunTable.from_runs(runs, "losses/mix", limits=strict).rows
    assert row.reasons == ("too_few_steps", "head_share", "multi_epoch", "no_copy_gain")


def test_run_without_a_finite_loss_or_diagnostics_is_not_eligible(ladder: Any) -> None:
    run = Run(ladder.directory / "ladder" / "r0-s0")
    result = run.result()
    result["losses"]["mix"] = None
    del result["diagnostics"]
    write_json(run.result_path, result)
    (row,) = RunTable.from_runs([run], "losses/mix").rows
    assert row.reasons == ("not_finite", "missing_diagnostic")


def test_unknown_metric_names_file_and_key(ladder: Any) -> None:
    run = Run(ladder.directory / "ladder" / "r0-s0")
    with pytest.raises(UserError, match=r"result\.json: no metric 'losses/cod'"):
        RunTable.from_runs([run], "losses/cod")


def test_csv_with_params_and_tokens_does_not_overflow(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("N,D,Loss,seed,group\n1000000000000,30000000000000,2.5,3,a\n")
    (row,) = RunTable.from_file(path).rows
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
    rows = RunTable.from_file(path).rows
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
        RunTable.from_file(path)
    assert message in str(caught.value) and "runs.csv" in str(caught.value)


def test_other_bad_files(tmp_path: Path) -> None:
    broken = tmp_path / "runs.jsonl"
    broken.write_text('{"C": 1e18, "loss": 3}\n{"C": 1e19,\n')
    with pytest.raises(UserError, match=r"runs\.jsonl, row 2: not valid JSON"):
        RunTable.from_file(broken)
    not_parquet = tmp_path / "runs.parquet"
    not_parquet.write_text("text")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        RunTable.from_file(not_parquet)
    with pytest.raises(UserError, match="no such file"):
        RunTable.from_file(tmp_path / "missing.csv")
    other = tmp_path / "runs.xlsx"
    other.write_text("")
    with pytest.raises(UserError, match="unknown kind"):
        RunTable.from_file(other)
