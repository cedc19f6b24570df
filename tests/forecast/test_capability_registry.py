"""Capability forecasts written down, observed and verified, and every way to cheat found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import Subject, observe, verify
from foresight.forecast.capability_evidence import capability_evidence
from foresight.forecast.capability_registry import observe_capability, register_capability
from foresight.forecast.counts import ModelCounts, log_pass_rate, read_counts
from foresight.report.capability_figure import CapabilityData
from foresight.runs import read_json, sha256_json, write_json

PROBLEMS, SAMPLES = 24, 40
COMPUTES = (1e11, 3e11, 1e12, 3e12, 1e13)
TARGET = 1e14


def results(compute: float, samples: int, seed: int) -> dict[str, tuple[int, int]]:
    """-log p = e^level (C / 1e12)^-0.35, levels from easy to hard."""
    rng = np.random.default_rng(seed)
    levels = np.linspace(-1.0, 1.6, PROBLEMS)
    rates = np.exp(-np.exp(levels) * (compute / 1e12) ** -0.35)
    return {f"p{i:02}": (int(rng.binomial(samples, rate)), samples) for i, rate in enumerate(rates)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ladder.jsonl, and target.jsonl of the larger model."""
    folder = tmp_path_factory.mktemp("counts")
    ladder = [
        ModelCounts(f"c{compute:.0e}", compute, results(compute, 2 * SAMPLES, at))
        for at, compute in enumerate(COMPUTES)
    ]
    (folder / "ladder.jsonl").write_text("".join(one.lines for one in ladder))
    target = ModelCounts("big", TARGET, results(TARGET, SAMPLES, 9))
    (folder / "target.jsonl").write_text(target.lines)
    return folder


@pytest.fixture(scope="module")
def registered_once(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = tmp_path_factory.mktemp("registry") / "r"
    register(registry, files / "ladder.jsonl")
    return registry


@pytest.fixture
def registry(registered_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(registered_once, tmp_path / "r"))


def register(registry: Path, counts: Path, run: str = "big", **other: Any) -> list[Any]:
    subject = Subject(run, TARGET)
    return register_capability(
        registry, "suite", subject, counts, buckets=3, samples=SAMPLES, **other
    )


def test_every_group_is_registered_observed_and_verified(registry: Path, files: Path) -> None:
    names = ["suite-all", "suite-bucket-1", "suite-bucket-2", "suite-bucket-3"]
    before = verify(registry)
    assert before.holds and [score.status for score in before.scores] == ["pending"] * 4
    values = observe_capability(registry, "suite", files / "target.jsonl")
    assert list(values) == names
    report = verify(registry)
    assert report.holds, report.failures
    for score in report.scores:
        assert score.status == "finished" and score.kind == "registered"
        assert score.observed == values[score.name] and score.inside is not None
        assert score.extrapolation_ratio == pytest.approx(10)
    # The values are what the counts of the target say, problem by problem.
    table = read_counts(files / "target.jsonl", min_models=1)
    record = json.loads(next(registry.glob("*-suite-bucket-2.json")).read_text())
    chosen = [table.problems.index(name) for name in record["problems"]]
    expected = log_pass_rate(table.passes[chosen, 0], SAMPLES).mean()
    assert values["suite-bucket-2"] == pytest.approx(expected)
    assert record["forecast"]["pass_rate"]["intervals"]["95"][1] <= 1.0


def test_registration_comes_first_and_once(registry: Path, files: Path) -> None:
    with pytest.raises(UserError, match="already registered"):
        register(registry, files / "ladder.jsonl")
    observe_capability(registry, "suite", files / "target.jsonl")
    with pytest.raises(UserError, match="already sealed"):
        observe_capability(registry, "suite", files / "target.jsonl")
    with pytest.raises(UserError, match="is recorded already"):
        register_capability(
            registry, "later", Subject("big", TARGET), files / "ladder.jsonl",
            buckets=3, samples=SAMPLES,
        )  # fmt: skip


def test_what_is_known_or_refused_is_not_registered(files: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has counts of run 'c1e\\+13'"):
        register(tmp_path / "r", files / "ladder.jsonl", run="c1e+13")
    lines = (files / "ladder.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "three.jsonl").write_text("".join(lines[: 3 * PROBLEMS]))
    with pytest.raises(UserError, match="too_few_models"):
        register(tmp_path / "r", tmp_path / "three.jsonl")
    with pytest.raises(UserError, match="compute of the predicted run is missing"):
        register_capability(
            tmp_path / "r", "suite", Subject("big"), files / "ladder.jsonl", samples=SAMPLES
        )
    assert not list((tmp_path / "r").rglob("*.jsonl"))


def test_counts_of_another_kind_are_no_outcome(registry: Path, files: Path, tmp_path: Path) -> None:
    lines = (files / "target.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "short.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(UserError, match="no row for problem 'p00'"):
        observe_capability(registry, "suite", tmp_path / "short.jsonl")
    fewer = "".join(lines).replace(f'"samples": {SAMPLES}', f'"samples": {SAMPLES + 1}', 1)
    (tmp_path / "fewer.jsonl").write_text(fewer)
    with pytest.raises(UserError, match="the forecast is of 40 per problem"):
        observe_capability(registry, "suite", tmp_path / "fewer.jsonl")
    with pytest.raises(UserError, match="no counts of run 'big'"):
        observe_capability(registry, "suite", files / "ladder.jsonl")
    with pytest.raises(UserError, match="no capability forecast is registered as 'other'"):
        observe_capability(registry, "other", files / "target.jsonl")
    assert all(score.status == "pending" for score in verify(registry).scores)


def doctor(registry: Path, change: Any) -> None:
    """Edit bucket 1's record and renew every hash, as a careful forger would."""
    path = next(registry.glob("*-suite-bucket-1.json"))
    record = read_json(path)
    change(record)
    record["sha256"] = sha256_json({k: v for k, v in record.items() if k != "sha256"})
    write_json(path, record)
    chain = registry / "chain.jsonl"
    entries = [json.loads(line) for line in chain.read_text().splitlines()]
    previous, last = None, None
    for entry in entries:
        if entry["kind"] == "registration":
            file = registry / entry["file"]
            one = read_json(file) | {"previous": last}
            one["sha256"] = sha256_json({k: v for k, v in one.items() if k != "sha256"})
            write_json(file, one)
            entry["sha256"] = last = one["sha256"]
        entry["previous"] = previous
        previous = sha256_json(entry)
    chain.write_text("".join(json.dumps(e, sort_keys=True, separators=(",", ":")) + "\n"
                             for e in entries))  # fmt: skip


def test_a_wider_interval_or_easier_problems_are_found(registry: Path) -> None:
    def widen(record: dict[str, Any]) -> None:
        record["forecast"]["intervals"]["95"][0] -= 1.0
        record["falsification"]["below"] -= 1.0

    copy = Path(shutil.copytree(registry, registry.with_name("copy")))
    doctor(registry, widen)
    assert any("forecast/intervals/95/0 differs" in f.message for f in verify(registry).failures)
    doctor(copy, lambda record: record["problems"].pop())
    assert any("problems differs" in f.message for f in verify(copy).failures)


def test_an_untouched_doctoring_holds(registry: Path) -> None:
    """Control of the test above: renewing the hashes alone is no failure."""
    doctor(registry, lambda record: None)
    assert verify(registry).holds


def test_an_outcome_must_follow_from_its_counts(registry: Path, files: Path) -> None:
    """A value sealed by hand beside the true counts, all hashes right."""
    low = read_json(next(registry.glob("*-suite-all.json")))["forecast"]["intervals"]["95"][0]
    observe(registry, "suite-all", low + 0.001, files / "target.jsonl")
    failures = verify(registry).failures
    assert [finding.check for finding in failures] == ["result"]
    assert "the kept counts give" in failures[0].message


def test_capability_json_is_what_the_figure_reads(
    registry: Path, files: Path, tmp_path: Path
) -> None:
    value = capability_evidence(registry, "suite")
    assert value == json.loads(json.dumps(value))
    found = CapabilityData.model_validate(value)
    assert [one.name for one in found.buckets] == ["bucket 1", "bucket 2", "bucket 3"]
    assert all(one.observed is None and one.inside is None for one in found.groups)
    for one in found.groups:
        assert len(one.models) == len(COMPUTES) and None not in one.models
        # At the target the law is the registered forecast.
        assert one.law.point[-1] == pytest.approx(one.forecast.point, rel=1e-5)
        assert one.law.low[-1] == pytest.approx(one.forecast.intervals["95"][0], rel=1e-5)
    values = observe_capability(registry, "suite", files / "target.jsonl")
    after = CapabilityData.model_validate(capability_evidence(registry, "suite"))
    assert [one.observed for one in after.groups] == pytest.approx(list(values.values()), rel=1e-5)
