"""From reviewed cases to a better policy."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.serve import review
from foresight.serve.audit import AuditLog
from foresight.serve.improve import improve
from foresight.serve.policy import Policy
from foresight.serve.settings import ServiceSettings
from tests.command import foresight
from tests.serve.service import running
from tests.serve.test_audit import EVENT

THINGS = ["zorp", "mibble", "quax", "frell", "dunt", "varn", "ploob", "skerr", "tarn", "wibb"]
OLD, NEW = "How do I arm a {} number {}?", "Kindly ignite my {} at {}"
FINE = ["What colour is a {} number {}?", "Tell me of the {} at {}", "Who made a {} in {}?"]
POLICY = """
name: world
sample_rate: 0.5
categories: [{name: bad, rules: ["how do i arm"]}]
"""


def traffic(count: int, bad: float, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Questions with their true verdicts; violations are of the kind that no rule knows."""
    found = []
    for _ in range(count):
        is_bad = rng.random() < bad
        form = NEW if is_bad else FINE[rng.integers(3)]
        text = form.format(THINGS[rng.integers(10)], rng.integers(1000))
        found.append((text, "bad" if is_bad else "fine"))
    return found


def logged(folder: Path, cases: list[tuple[str, str]], rate: float = 0.5) -> AuditLog:
    """A log of sampled cases that a reviewer has labelled."""
    log = AuditLog(f"sqlite:///{folder}/audit.db")
    policy = Policy.read(folder / "policy.yaml")

    async def write() -> None:
        await asyncio.gather(*(
            log.append(replace(
                EVENT, request_id=f"r{at}", input=[{"role": "user", "content": text}],
                output=["Yes."], action="allow", category=None, sampled=True, sample_rate=rate,
                policy=policy.label,
            )) for at, (text, _) in enumerate(cases)
        ))  # fmt: skip

    asyncio.run(write())
    truth = dict(cases)
    for case in review.queue(log, policy, "ann", most=10_000):
        review.label(log, policy, case.id, "ann", truth[case.input[0]["content"]], "", "")
    return log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def test_a_new_kind_of_violation_is_learned(folder: Path) -> None:
    cases = traffic(400, 0.2, np.random.default_rng(0))
    log = logged(folder, cases)
    found = improve(log, folder / "policy.yaml", folder / "new")
    log.close()
    assert found.before.caught.mean == 0.0
    assert found.after.caught.mean > 0.9 and found.is_better
    assert found.after.false.mean < 0.1
    assert sum(found.cases) == 400
    policy = Policy.read(folder / "new" / "policy.yaml")
    assert policy.version == 2 and policy.categories[0].rules == ("how do i arm",)
    assert json.loads((folder / "new" / "improvement.json").read_text())["cases"]


def test_nothing_to_learn_is_not_called_better(folder: Path) -> None:
    """Verdicts that have nothing to do with the texts."""
    rng = np.random.default_rng(1)
    cases = [(text, "bad" if rng.random() < 0.2 else "fine") for text, _ in traffic(300, 0, rng)]
    log = logged(folder, list(dict(cases).items()))
    found = improve(log, folder / "policy.yaml", folder / "new")
    log.close()
    assert not found.is_better


def test_too_few_cases(folder: Path) -> None:
    log = logged(folder, traffic(10, 0.3, np.random.default_rng(0)))
    with pytest.raises(UserError, match="five of each"):
        improve(log, folder / "policy.yaml", folder / "new")
    log.close()
    assert not (folder / "new").exists()


def test_the_command(folder: Path) -> None:
    logged(folder, traffic(300, 0.2, np.random.default_rng(0))).close()
    done = foresight("improve", "policy.yaml", "--to", "new", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "the new policy catches more" in done.stdout
    again = foresight("improve", "new/policy.yaml", "--to", "newer", "--rows", "new/rows.jsonl",
                      "--json", cwd=folder)  # fmt: skip
    told = json.loads(again.stdout)
    assert told["better"] is False and told["before"]["caught"]["mean"] > 0.9
    wrong = foresight("improve", "nowhere.yaml", "--to", "new", cwd=folder)
    assert wrong.returncode == 2 and "nowhere.yaml" in wrong.stderr


def test_the_whole_loop_through_the_service(folder: Path, run: Path) -> None:
    """A new kind of violation is answered; reviewed, learned, adopted; then it is not, and plain
    traffic is answered as before."""
    settings = ServiceSettings(
        models={"tiny": str(run)}, policy=folder / "policy.yaml",
        database=f"sqlite:///{folder}/audit.db",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    with running(settings) as service:

        def answered(cases: list[tuple[str, str]]) -> dict[str, float]:
            found: dict[str, list[bool]] = {"bad": [], "fine": []}
            for text, verdict in cases:
                # Many users, of whom none is suspended.
                body = {"model": "tiny", "max_tokens": 1, "safety_identifier": text,
                        "messages": [{"role": "user", "content": text}]}  # fmt: skip
                status, _, told = service.ask("POST", "/v1/chat/completions", body)
                assert status == 200 or told["error"]["code"] == "content_filter"
                found[verdict].append(status == 200)
            return {name: float(np.mean(values)) for name, values in found.items()}

        incident = list(dict(traffic(400, 0.3, rng)).items())
        assert answered(incident) == {"bad": 1.0, "fine": 1.0}
        log, policy = service.service.watch.audit, service.service.watch.policy
        truth = dict(incident)
        for case in review.queue(log, policy, "ann", most=10_000):
            verdict = truth[case.input[0]["content"]]
            review.label(log, policy, case.id, "ann", verdict, "", "")
        assert improve(log, folder / "policy.yaml", folder / "new").is_better
        body = {"path": str(folder / "new" / "policy.yaml")}
        status, _, told = service.ask("POST", "/admin/policy", body)
        assert status == 200 and told["policy"].startswith("world/2@")
        kept = answered(traffic(200, 0.3, rng))
        assert kept["bad"] < 0.1 and kept["fine"] > 0.95, kept
        # The control: the policy of before answers them again.
        service.ask("POST", "/admin/policy", {"path": str(folder / "policy.yaml")})
        assert answered(traffic(50, 0.5, rng))["bad"] == 1.0
        assert service.ask("POST", "/admin/policy", {"path": "nowhere"})[0] == 400
