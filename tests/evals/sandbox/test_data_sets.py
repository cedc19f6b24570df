"""HumanEval and MBPP: reference solutions pass, broken ones do not."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from foresight.evals.sandbox import Limits, Sandbox, human_eval, mbpp


def rows_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as stream:
        return [json.loads(line) for line in stream]


@pytest.fixture(scope="module")
def humaneval_rows(shared_data: Path) -> list[dict[str, Any]]:
    return rows_of(shared_data / "evals" / "humaneval" / "HumanEval.jsonl.gz")


def statuses(
    sandbox: Sandbox, rows: list[dict[str, Any]], completion: str | None = None
) -> Counter[str]:
    limits = Limits(cpu_seconds=20, wall_seconds=60)
    programs = [
        human_eval(
            row["prompt"], row["canonical_solution"] if completion is None else completion,
            row["test"], row["entry_point"], limits,
        )
        for row in rows
    ]  # fmt: skip
    return Counter(outcome.status for outcome in sandbox.run(programs))


def test_canonical_solutions_pass(sandbox: Sandbox, humaneval_rows: list[dict[str, Any]]) -> None:
    assert statuses(sandbox, humaneval_rows) == {"passed": 164}


@pytest.mark.parametrize(
    "completion", ["    return None\n", "    import sys; sys.exit(0)\n", "    pass\n\nexit()\n"]
)
def test_broken_ones_fail(
    sandbox: Sandbox, humaneval_rows: list[dict[str, Any]], completion: str
) -> None:
    assert statuses(sandbox, humaneval_rows, completion) == {"failed": 164}


def test_mbpp_s_reference_solutions_pass(sandbox: Sandbox, shared_data: Path) -> None:
    """Every eighth, and those whose tests build objects, hand over types or use modules."""
    rows = rows_of(shared_data / "evals" / "mbpp" / "mbpp.jsonl.gz")
    special = {367, 533, 596, 927}
    chosen = [row for row in rows if row["task_id"] % 8 == 1 or row["task_id"] in special]
    limits = Limits(cpu_seconds=20, wall_seconds=60)
    keys = ("code", "test_list", "test_setup_code")
    outcomes = sandbox.run([mbpp(row["code"], *(row[k] for k in keys), limits) for row in chosen])
    failed = {
        row["task_id"]: outcome.stderr
        for row, outcome in zip(chosen, outcomes, strict=True)
        if outcome.status != "passed"
    }
    assert failed == {} and len(chosen) > 120
    broken = sandbox.run([mbpp("exit()", *(row[k] for k in keys), limits) for row in chosen])
    assert {one.status for one in broken} == {"failed"}
