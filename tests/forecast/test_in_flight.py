from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import seal_outcome, verify
from foresight.forecast.in_flight import register_in_flight
from foresight.runs import Run, read_json, sha256_json, write_json
from tests.command import foresight


def keep(run: Run, share: float) -> str:
    """Cut a finished run back to its first part; returns what was cut off."""
    text = run.metrics_path.read_text().splitlines(keepends=True)
    count = int(share * len(text))
    run.metrics_path.write_text("".join(text[:count]))
    return "".join(text[count:])


@pytest.fixture
def flying(ladder: Any) -> Any:
    """A registered target that has logged 40 % of its steps, 0.3 % above what the law says."""
    ladder.register()
    run = ladder.train("targets/x10", ladder.target().compute_flops, factor=1.003)
    ladder.manifest(run, datetime(2026, 1, 3, tzinfo=UTC))
    ladder.result = run.result_path.read_text()
    run.result_path.unlink()
    ladder.rest = keep(run, 0.4)
    ladder.run = run
    return ladder


def land(flying: Any) -> None:
    with flying.run.metrics_path.open("a") as stream:
        stream.write(flying.rest)
    flying.run.result_path.write_text(flying.result)
    seal_outcome(flying.directory, flying.run)


def test_in_flight_is_chained_verified_and_scored_apart(flying: Any) -> None:
    record = register_in_flight(flying.directory, flying.run)
    forecast = record["forecast"]
    assert forecast["label"] == "in flight" and 0.35 <= forecast["fraction"] <= 0.4
    narrow, wide = (np.log(high / low) for low, high in
                    (forecast["intervals"]["95"], forecast["before"][1:]))  # fmt: skip
    assert narrow < wide
    report = verify(flying.directory)
    assert report.holds, report.failures
    assert [score.kind for score in report.scores] == ["registered", "in-flight"]
    assert report.scores[1].status == "pending"
    land(flying)
    report = verify(flying.directory)
    assert report.holds, report.failures
    score = report.scores[1]
    assert score.status == "finished" and score.error_percent is not None
    assert abs(score.error_percent) < 1 and score.inside is not None and score.inside["95"]
    assert score.name == "x10-40"
    assert {t["kind"]: t["outcomes"] for t in report.to_json()["totals"]} == {
        "registered": 1, "in-flight": 1,
    }  # fmt: skip


@pytest.mark.parametrize("what", ["forecast", "log", "record and chain"])
def test_an_edit_is_found(flying: Any, what: str) -> None:
    register_in_flight(flying.directory, flying.run)
    path = flying.directory / "registrations" / "in_flight" / "x10-40.json"
    if what == "log":
        text = flying.run.metrics_path.read_text()
        flying.run.metrics_path.write_text(re.sub(r'"loss": \d', '"loss": 9', text, count=1))
    else:
        record = read_json(path)
        record["forecast"]["point"] *= 1.001
        if what == "record and chain":
            old = record.pop("sha256")
            record["sha256"] = sha256_json(record)
            chain = flying.directory / "registrations" / "chain.jsonl"
            chain.write_text(chain.read_text().replace(old, record["sha256"]))
        write_json(path, record)
    report = verify(flying.directory)
    assert [f.file for f in report.failures] == ["registrations/in_flight/x10-40.json"]


def test_too_early_too_late_twice_or_unregistered_is_refused(flying: Any) -> None:
    directory, run = flying.directory, flying.run
    register_in_flight(directory, run)
    with pytest.raises(UserError, match="already registered"):
        register_in_flight(directory, run)
    flying.rest = keep(run, 0.2) + flying.rest
    with pytest.raises(UserError, match="first is made after 10 %"):
        register_in_flight(directory, run)
    with pytest.raises(UserError, match="no registration in"):
        register_in_flight(directory, Run(directory / "ladder" / "r0-s0"))
    with run.metrics_path.open("a") as stream:
        stream.write(flying.rest)
    with pytest.raises(UserError, match="at its end"):
        register_in_flight(directory, run)
    run.result_path.write_text(flying.result)
    with pytest.raises(UserError, match="finished"):
        register_in_flight(directory, run)


def test_a_run_off_its_curve_is_not_forecast(flying: Any) -> None:
    text = flying.run.metrics_path.read_text().splitlines()
    rows = [json.loads(line) for line in text]
    for row in rows[len(rows) // 2 :]:
        row["loss"] *= 1.3
    flying.run.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"no forecast in flight at 40% of the run: .*shape"):
        register_in_flight(flying.directory, flying.run)


def test_watch_command_on_a_run_directory(flying: Any, tmp_path: Path) -> None:
    plot = tmp_path / "live.svg"
    done = foresight("watch", flying.run.path, "--register", "--plot", plot, "--json")
    assert done.returncode == 0, done.stderr
    look = json.loads(done.stdout)
    assert look["state"] == "running" and look["total"] == 300 and look["alarms"] == []
    assert look["reforecast"]["label"] == "in flight" and "<svg" in plot.read_text()
    assert (flying.directory / "registrations" / "in_flight" / "x10-40.json").exists()
    rung = flying.directory / "ladder" / "r0-s0" / "metrics.jsonl"
    rung.write_text(re.sub(r'"loss": \d', '"loss": 7', rung.read_text(), count=1))
    done = foresight("watch", flying.run.path)
    assert done.returncode == 2 and "changed since 0001-x10.json" in done.stderr.replace("\n", "")
