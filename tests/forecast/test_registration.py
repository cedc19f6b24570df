from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.forecast import Registration, seal_outcome
from foresight.forecast.chain import record_sha256
from foresight.runs import Run, read_json, sha256_file, write_json


def test_registration_says_everything(ladder: Any) -> None:
    record = ladder.register().record
    again = Registration.load(ladder.directory / "registrations" / "0001-x10.json")
    assert again.record == record and again.sha256 == record_sha256(again.record)
    assert record["target"]["run"] == "targets/x10" and record["target"]["params"] == 10_000
    assert len(record["rungs"]) == 10 and record["hashes"] == ladder.hashes()
    assert [(r["run"], r["reasons"]) for r in record["ineligible"]] == [
        ("ladder/r2-s2", ["clip_rate"])
    ]
    rung = record["rungs"][0]
    assert rung["files"]["metrics.jsonl"] == sha256_file(
        ladder.directory / rung["run"] / "metrics.jsonl"
    )
    low, high = record["forecast"]["intervals"]["95"]
    assert record["falsification"]["below"] == low and record["falsification"]["above"] == high
    assert low < record["forecast"]["point"] < high
    assert record["forecast"]["verdict"] == "forecast"
    assert len(record["curve"]["loss"]) == 20


def test_registrations_are_chained(ladder: Any) -> None:
    first, second = ladder.register("a", 3.0), ladder.register("b", 30.0)
    assert second.path.name == "0002-b.json"
    assert first.record["previous"] is None and second.record["previous"] == first.sha256
    lines = (ladder.directory / "registrations" / "chain.jsonl").read_text().splitlines()
    assert [json.loads(line)["sha256"] for line in lines] == [first.sha256, second.sha256]


def test_a_directory_can_be_moved_and_gives_the_same_bytes(ladder: Any, tmp_path: Path) -> None:
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.copytree(ladder.directory, moved)
    there = type(ladder)(moved).register()
    assert there.path.read_bytes() == ladder.register().path.read_bytes()


def test_started_target_is_refused(ladder: Any) -> None:
    ladder.train("targets/x10", ladder.target().compute_flops)
    with pytest.raises(UserError, match="already logged a step"):
        ladder.register()


def test_planned_target_is_not_refused(ladder: Any) -> None:
    write_json(ladder.target().run.manifest_path, {"spec": {}})
    assert ladder.register().name == "x10"


def test_taken_and_odd_names_are_refused(ladder: Any) -> None:
    ladder.register("a")
    with pytest.raises(UserError, match="already registered"):
        ladder.register("a", 30.0)
    with pytest.raises(UserError, match="registration name"):
        ladder.register("../a")


def test_refused_forecast_cannot_be_registered(ladder: Any) -> None:
    with pytest.raises(UserError, match="ratio_too_large"):
        ladder.register("far", 1e5)
    assert not list((ladder.directory / "registrations").glob("*.json"))


def test_rungs_must_share_recipe_and_files_must_be_theirs(ladder: Any) -> None:
    recipe = ladder.directory / "recipe.yaml"
    before = recipe.read_text()
    recipe.write_text(before.replace("64", "65"))
    with pytest.raises(UserError, match=r"recipe\.yaml: changed since"):
        ladder.register()
    recipe.write_text(before)
    odd = Run(ladder.directory / "ladder" / "r1-s0")
    manifest = read_json(odd.manifest_path)
    manifest["hashes"]["code"] = "0" * 64
    write_json(odd.manifest_path, manifest)
    with pytest.raises(UserError, match=r"r1-s0/run\.json: hashes/code differs"):
        ladder.register()
    del manifest["hashes"]["code"]
    write_json(odd.manifest_path, manifest)
    with pytest.raises(UserError, match="field hashes/code is missing"):
        ladder.register()


def test_only_registered_finished_targets_are_sealed_and_once(ladder: Any) -> None:
    ladder.register()
    with pytest.raises(UserError, match="no registration"):
        seal_outcome(ladder.directory, ladder.target(30.0).run)
    with pytest.raises(UserError, match="cannot be read"):
        seal_outcome(ladder.directory, ladder.target().run)
    run = ladder.train("targets/x10", ladder.target().compute_flops, hour=23)
    seal_outcome(ladder.directory, run)
    with pytest.raises(UserError, match="already sealed"):
        seal_outcome(ladder.directory, run)


def test_not_a_registration(tmp_path: Path) -> None:
    path = tmp_path / "0001-a.json"
    write_json(path, {"name": "a"})
    with pytest.raises(UserError, match="field 'metric' is missing"):
        Registration.load(path)
