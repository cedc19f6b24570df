from __future__ import annotations

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
