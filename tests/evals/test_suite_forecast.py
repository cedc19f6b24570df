"""From rungs to a registered forecast of a suite, its outcome and its figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.evals import suite_forecast
from foresight.evals.suite_forecast import (
    evidence_of,
    is_observed,
    observe_suite,
    register_suite,
    registry_of,
)
from foresight.forecast import verify
from foresight.forecast.registry_audit import _inside
from foresight.inference.language_model import Completion, GenerateRequest
from foresight.report.capability_figure import CapabilityData
from foresight.runs import Run, read_json, write_json
from foresight.worlds.suites import suite

PROBLEMS = suite("programs")[::8]
COMPUTES = (1e11, 5e11, 2e12, 8e12)
TARGET = 3e13


class Learner:
    """Writes the right body with a probability that follows the law in compute and difficulty."""

    def __init__(self, run: Path) -> None:
        self.name = run.name
        self.compute = float(read_json(run / "result.json")["compute_flops"])
        self.problems = {one.parts: (at, one) for at, one in enumerate(PROBLEMS)}

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        answers = []
        for index, request in enumerate(requests):
            at, problem = self.problems[request.prompt]  # type: ignore[index]
            rate = math.exp(-math.exp(at / 10 - 0.5) * (self.compute / 1e12) ** -0.35)
            right = np.random.default_rng(request.sampling.seed).random(request.n) < rate
            text = {True: problem.solution, False: "    return 0\n"}
            made = tuple(Completion(text[bool(hit)], "stop") for hit in right)
            answers.append(made)
            if on_done:
                on_done(index, made)
        return answers

    def score(self, requests: object, on_done: object = None) -> list[tuple[()]]:
        raise AssertionError("programs are sampled")


@pytest.fixture(autouse=True)
def few_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every eighth problem: fits of all take too long for a test."""
    monkeypatch.setattr(suite_forecast, "suite", lambda name: PROBLEMS)


def finished(path: Path, compute: float) -> Run:
    write_json(path / "result.json", {"compute_flops": compute})
    return Run(path)


def test_the_whole_way(tmp_path: Path) -> None:
    rungs = [finished(tmp_path / f"ladder/c{one:.1e}-s1", one) for one in COMPUTES]
    target = Run(tmp_path / "targets" / "c3.0e+13")
    register_suite(tmp_path, "programs", rungs, target, TARGET, Learner)
    before = CapabilityData.read(evidence_of(tmp_path, "programs"))
    names = [one.registration.name for one in before.groups]
    assert names[:2] == ["programs-c3.0e13-all", "programs-c3.0e13-bucket-1"]
    assert {one.observed for one in before.groups} == {None}
    assert not is_observed(tmp_path, "programs")
    finished(target.path, TARGET)
    values = observe_suite(tmp_path, "programs", target, Learner)
    assert list(values) == names and is_observed(tmp_path, "programs")
    found = CapabilityData.read(evidence_of(tmp_path, "programs"))
    assert [one.observed for one in found.groups] == pytest.approx(list(values.values()), rel=1e-5)
    report = verify(registry_of(tmp_path, "programs"))
    # The world keeps to the law, so that nearly every bucket comes out inside.
    assert sum(bool(score.inside and score.inside["95"]) for score in report.scores) >= 6
    assert {finding.check for finding in report.failures} <= {"forecast"}
    # Seen from the ladder's directory a bucket that misses is a remark, an edit is a failure.
    registry = registry_of(tmp_path, "programs")
    assert not _inside(tmp_path, registry).failures
    outcome = next((registry / "outcomes").glob("*.json"))
    outcome.write_text(outcome.read_text().replace('"value": -', '"value": -9'))
    failures = _inside(tmp_path, registry).failures
    assert failures and all(one.file.startswith("suites/programs/registry/") for one in failures)


def test_a_target_that_has_begun_is_refused(tmp_path: Path) -> None:
    rungs = [finished(tmp_path / f"ladder/c{one:.1e}-s1", one) for one in COMPUTES]
    target = Run(tmp_path / "targets" / "c3.0e+13")
    target.path.mkdir(parents=True)
    target.metrics_path.write_text('{"step": 1}\n')
    with pytest.raises(UserError, match="already logged a step"):
        register_suite(tmp_path, "programs", rungs, target, TARGET, Learner)
    assert not list(registry_of(tmp_path, "programs").glob("0*.json"))


def test_killed_between_registration_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs = [finished(tmp_path / f"ladder/c{one:.1e}-s1", one) for one in COMPUTES]
    target = Run(tmp_path / "targets" / "c3.0e+13")
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(suite_forecast, "capability_evidence", killed)
        register_suite(tmp_path, "programs", rungs, target, TARGET, Learner)
    chain = (registry_of(tmp_path, "programs") / "chain.jsonl").read_bytes()
    assert chain and not evidence_of(tmp_path, "programs").exists()
    register_suite(tmp_path, "programs", rungs, target, TARGET, Killed)
    assert (registry_of(tmp_path, "programs") / "chain.jsonl").read_bytes() == chain
    assert evidence_of(tmp_path, "programs").exists()


def killed(*_: object) -> None:
    raise KeyboardInterrupt


class Killed(Learner):
    """Must not be asked: the counts are there."""

    generate = killed  # type: ignore[assignment]
