"""`foresight eval` and `foresight compare` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import typed
from tests.evals.models import Written, unit


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [
        {"question": f"Number {at}?", "choices": ["a", "b", "c"], "target": at % 3}
        for at in range(60)
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("choice_logprob", "choice_generate"):
        raw = {"items": "items.jsonl", "protocol": kind}
        (tmp_path / f"{kind}.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path / "choice_logprob.yaml"


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Model NAME knows the first tenths of the items that it is named after."""
    monkeypatch.chdir(tmp_path)

    def open_model(name: str, keep_end: bool) -> Written:
        share = int(name[1:]) / 10

        def knows(prompt: str) -> str:
            number = int(prompt.rpartition("Number ")[2].split("?")[0])
            right = unit(f"item {number}") < share
            return "ABC"[number % 3] if right else "ABC"[(number + 1) % 3]

        return Written(
            lambda prompt, request: knows(prompt),
            lambda prompt, choice: -0.1 if choice == f" {knows(prompt)}" else -2.0,
            name=name,
        )

    monkeypatch.setattr("foresight.inference.open.open_model", open_model)


def run(*words: object) -> Any:
    done = typed(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eval_and_compare(task: Path, tmp_path: Path) -> None:
    for name in ("m5", "m9"):
        found = run("eval", name, task)
        (one,) = found["tasks"]
        assert one["records"] == 60 and one["score"]["method"] == "wilson"
        assert one["sha256"] in (tmp_path / found["out"] / one["task"] / "task.json").read_text()
    (found,) = run("compare", "runs/evals/m9", "runs/evals/m5")
    assert found["models"] == ["m9", "m5"] and found["difference"]["low"] > 0
    assert found["mcnemar_p"] < 0.001 and found["only_second"] == 0
    shown = typed("compare", "runs/evals/m9", "runs/evals/m5").stdout
    assert "McNemar" in shown and "detectable" in shown
    again = run("compare", "runs/evals/m9/choice_logprob/records.jsonl", "runs/evals/m5")
    assert again == [found]


def test_the_table_shows_score_interval_and_hash(task: Path) -> None:
    done = typed("eval", "m5", task)
    assert done.returncode == 0, done.stderr
    for word in ("choice_logprob", "95 %", "ECE", "SHA-256", "records in runs/evals/m5"):
        assert word in done.stdout


def test_two_ways_of_asking_are_compared(task: Path) -> None:
    written = task.with_name("choice_generate.yaml")
    assert run("eval", "m5", task, written)["warnings"] == []
    (one,) = run("compare", "runs/evals/m5/choice_generate", "runs/evals/m5/choice_logprob")
    assert one["difference"]["mean"] == 0.0
    assert one["remarks"] == ["60 of 60 items were put with another prompt"]
    # Of a part of the items both are asked the same ones.
    run("eval", "m5", task, written, "--limit", 10, "--out", "few")
    (one,) = run("compare", "few/choice_generate", "few/choice_logprob")
    assert one["items"] == 10


def test_limits_and_resume(task: Path) -> None:
    first = run("eval", "m5", task, "--limit", 10, "--out", "out")
    assert first["tasks"][0]["records"] == 10
    assert run("eval", "m5", task, "--out", "out")["tasks"][0]["records"] == 60
    done = typed("eval", "m9", task, "--out", "out")
    assert done.returncode == 2 and "records of another model" in done.stderr


def test_mistakes_are_one_message(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("eval", "m5", task, "--out", "out")
    for words, message in [
        (("eval", "m5", "glue"), "expected SUITE@PATH"),
        (("eval", "m5", task, task), "two tasks have one name"),
        (("eval", "m5", task, "--samples", 2), "would be 2 times the same"),
        (("compare", "out", "nowhere"), "nowhere: cannot be read"),
        (("compare", "out", task.parent / "items.jsonl"), "line 1: not a record"),
    ]:
        done = typed(*words)
        assert done.returncode == 2, done.stdout
        assert message in done.stderr and "Traceback" not in done.stderr
    monkeypatch.undo()
    done = typed("eval", "nowhere", task)
    assert done.returncode == 2 and "api:NAME@URL" in done.stderr


def test_an_interruption_is_130(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_model(name: str, keep_end: bool) -> Written:
        return Written(name=name, stop_after=7)

    monkeypatch.setattr("foresight.inference.open.open_model", open_model)
    done = typed("eval", "m5", task, "--out", "out")
    assert done.returncode == 130 and "call again to go on" in done.stderr
    kept = Path("out/choice_logprob/records.jsonl").read_text()
    assert kept.count("\n") == 7
