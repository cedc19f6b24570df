from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import crps_normal, verify
from foresight.runs import read_json, sha256_json, write_json


@pytest.fixture
def verified(verified_once: Any, tmp_path: Path) -> Any:
    """A copy to tamper with: a finished and sealed target at 10x, a pending one at 30x."""
    shutil.copytree(verified_once.directory, tmp_path / "demo")
    return type(verified_once)(tmp_path / "demo")


def test_untouched_directory_holds(verified: Any) -> None:
    report = verify(verified.directory)
    assert report.holds, report.failures
    finished, pending = report.scores
    assert (finished.status, pending.status) == ("finished", "pending")
    assert finished.error_percent is not None and abs(finished.error_percent) < 2
    assert finished.inside is not None and finished.inside["95"]
    assert finished.crps is not None and 0 < finished.crps < 0.02
    assert report.to_json()["holds"] is True


def change_digit(pattern: str) -> Callable[[Path], None]:
    """Change the first digit after `pattern` in a file."""

    def edit(path: Path) -> None:
        text = path.read_text()
        found = re.search(pattern + r"\D*?\d*\.?\d*(\d)", text)
        assert found is not None, pattern
        at = found.start(1)
        path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])

    return edit


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("recipe.yaml", "width"),
        ("corpus/tokenizer.json", "vocabulary"),
        ("corpus/manifest.json", "code.bin"),
        ("ladder/r1-s0/metrics.jsonl", '"step": 200'),
        ("ladder/r1-s0/result.json", '"compute_flops"'),
        ("ladder/r1-s0/run.json", "created_utc"),
        ("ladder/r2-s2/result.json", "clip_rate"),  # an ineligible run
        ("registrations/0001-x10.json", '"point"'),
        ("registrations/0001-x10.json", '"low"'),
        ("registrations/0002-x30.json", '"created_utc"'),
        ("registrations/chain.jsonl", '"sha256":"'),
        ("targets/x10/metrics.jsonl", '"loss"'),
        ("targets/x10/result.json", '"bits_per_byte"'),
    ],
)
def test_a_changed_digit_is_found_and_named(verified: Any, file: str, pattern: str) -> None:
    change_digit(pattern)(verified.directory / file)
    report = verify(verified.directory)
    assert not report.holds
    assert file in {finding.file for finding in report.failures}


def test_missing_files_and_flipped_bits_are_named(verified: Any) -> None:
    (verified.directory / "corpus" / "code.bin").write_bytes(b"\x01\x02\x07")
    (verified.directory / "ladder" / "r0-s0" / "metrics.jsonl").unlink()
    (verified.directory / "registrations" / "0002-x30.json").write_text("{")
    files = {finding.file for finding in verify(verified.directory).failures}
    assert {
        "corpus/code.bin", "ladder/r0-s0/metrics.jsonl", "registrations/0002-x30.json"
    } <= files  # fmt: skip


def test_a_forged_registration_is_found_by_recomputing(verified: Any) -> None:
    """The forger also renews the registration's hash and the chain: the fit gives him away."""
    path = verified.directory / "registrations" / "0002-x30.json"
    record = read_json(path)
    record["forecast"]["point"] *= 1.01
    record["sha256"] = sha256_json({k: v for k, v in record.items() if k != "sha256"})
    write_json(path, record)
    chain = verified.directory / "registrations" / "chain.jsonl"
    old = re.findall('"sha256":"([0-9a-f]+)"', chain.read_text())[1]
    chain.write_text(chain.read_text().replace(old, record["sha256"]))
    failures = verify(verified.directory).failures
    messages = [f.message for f in failures if f.file == "registrations/0002-x30.json"]
    assert messages == ["recomputed from the rung files, forecast/point differs"]


def test_an_unlisted_registration_is_found(verified: Any) -> None:
    folder = verified.directory / "registrations"
    (folder / "0003-extra.json").write_text((folder / "0002-x30.json").read_text())
    assert [f.file for f in verify(verified.directory).failures] == [
        "registrations/0003-extra.json"
    ]


def test_a_malformed_record_is_a_finding(verified: Any) -> None:
    path = verified.directory / "registrations" / "0001-x10.json"
    record = read_json(path)
    record["rungs"], record["target"] = [{}], {}
    write_json(path, record)
    assert "registrations/0001-x10.json" in {f.file for f in verify(verified.directory).failures}


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_outcome_outside_the_interval_falsifies(ladder: Any, factor: float) -> None:
    ladder.register()
    run = ladder.train("targets/x10", ladder.target().compute_flops, factor=factor)
    ladder.manifest(run, datetime(2026, 1, 3, tzinfo=UTC))
    report = verify(ladder.directory)
    assert not report.holds
    assert [finding.check for finding in report.failures] == ["forecast"]
    assert report.scores[0].inside == {"50": False, "80": False, "95": False}


def test_target_begun_before_the_registration_or_of_other_size(ladder: Any) -> None:
    ladder.register()
    ladder.train("targets/x10", 1.2 * ladder.target().compute_flops)  # dated before
    assert {f.check for f in verify(ladder.directory).failures} == {"order", "target"}


def test_unfinished_target_is_pending(ladder: Any) -> None:
    ladder.register()
    run = ladder.target().run
    ladder.manifest(run, datetime(2026, 1, 3, tzinfo=UTC))
    run.metrics_path.write_text('{"step": 1, "loss": 9.0}\n')
    report = verify(ladder.directory)
    assert report.holds and report.scores[0].status == "pending"


def test_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no registrations"):
        verify(tmp_path)


def test_crps_equals_its_definition() -> None:
    grid = np.linspace(-12, 12, 200_001)
    for mean, sd, observed in ((0.0, 1.0, 0.3), (0.5, 2.0, -3.0)):
        cdf = np.array([0.5 * (1 + math.erf((x - mean) / sd / math.sqrt(2))) for x in grid[::20]])
        square = (cdf - (grid[::20] >= observed)) ** 2
        expected = float(square.sum() * (grid[20] - grid[0]))
        assert crps_normal(mean, sd, observed) == pytest.approx(expected, abs=3e-3)
