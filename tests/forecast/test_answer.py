"""The object that `foresight fit --json` prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from foresight.forecast import PowerLaw
from tests.command import foresight

LAW = PowerLaw(1.5 * 1e12**0.2, 0.2, 1.8)


def _csv(path: Path, rungs: int) -> Path:
    rows = [f"{c},{float(LAW(c)):.5f}" for c in np.geomspace(1e10, 1e12, rungs)]
    path.write_text("flops,val_loss\n" + "\n".join(rows) + "\n")
    return path


def test_the_contract(tmp_path: Path) -> None:
    runs = _csv(tmp_path / "runs.csv", 6)
    done = foresight(
        "fit", runs, "--at", 1e13, "--target-params", 1e6, "--target-tokens", 1e7, "--json", "-"
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert set(value) == {
        "verdict", "reasons", "at", "laws", "frontier", "backtest", "provenance",
    }  # fmt: skip
    assert [one["compute_flops"] for one in value["at"]] == [1e13, 6e13]
    first = value["at"][0]
    assert first["loss"] == pytest.approx(float(LAW(1e13)), rel=0.01)
    low, high = first["intervals"]["95"]
    assert low < first["loss"] < high and isinstance(first["calibrated"], bool)
    assert sum(law["weight"] for law in value["laws"]) == pytest.approx(1)
    assert {"ratio", "predicted", "observed", "sd_log"} <= value["backtest"][0].keys()
    again = foresight("fit", runs, "--at", 1e13, "--at", 6e13, "--json")
    assert again.stdout == done.stdout


def test_a_refusal_has_reasons_and_no_numbers(tmp_path: Path) -> None:
    done = foresight("fit", _csv(tmp_path / "runs.csv", 3), "--at", 1e13, "--json")
    assert done.returncode == 3
    value = json.loads(done.stdout)
    assert value["verdict"] == "refused" and "at" not in value
    assert "too_few_rungs" in [reason["code"] for reason in value["reasons"]]


def test_bad_input_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("C,loss\n1e18,-3\n")
    done = foresight("fit", path, "--json")
    assert done.returncode == 2 and "row 1, field loss" in done.stderr and not done.stdout
    assert foresight("fit", path, "--target-params", 1e6).returncode == 2
