"""`foresight rubric check` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foresight.posttrain.graders import TrainedGrader
from tests.command import typed
from tests.evals.models import Written
from tests.posttrain.rubrics import raw, rubric, write
from tests.posttrain.test_graders import _known, _taught


def _gold(path: Path) -> Path:
    samples, labels = _taught()
    rows = [
        {"id": at, "set": one.prompt_set, "response": one.response,
         "messages": [{"role": "user", "content": one.messages[0].text}],
         "class": label, "propositions": {"sorry": label == "good", "harm": label == "bad"}}
        for at, (one, label) in enumerate(zip(samples, labels, strict=True))
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_rubric_is_shown(tmp_path: Path) -> None:
    done = typed("rubric", "check", "refusal")
    assert done.returncode == 0, done.stderr
    assert "desired_refusal > undesired_refusal = safe_non_refusal > disallowed" in done.stdout
    assert "every combination of 3 propositions is in one class" in done.stdout
    value = json.loads(typed("rubric", "check", "refusal", "--json").stdout)
    assert value["sets"]["disallowed"]["unreadable"] == -1 and value["graders"] == {}


def test_a_trained_grader_against_gold(tmp_path: Path) -> None:
    file = write(tmp_path / "r.yaml", raw())
    TrainedGrader.fit(rubric(), *_taught(1)).save(tmp_path / "grader")
    arguments = ("--gold", _gold(tmp_path / "gold.jsonl"), "--model", tmp_path / "grader")
    done = typed("rubric", "check", file, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Grader: trained" in done.stdout and "accuracy 1.000 [0.9" in done.stdout
    value = json.loads(typed("rubric", "check", file, *arguments, "--json").stdout)
    assert value["gold"] == {"good": 30, "plain": 30, "bad": 30}
    assert value["graders"]["trained"]["table"][0] == [30, 0, 0, 0]


@pytest.mark.parametrize("name", ["run", "api:small@http://localhost/v1"])
def test_a_language_model_against_gold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = Written(lambda prompt, request: "yes" if "yes or no" in prompt else "B", _known)
    monkeypatch.setattr("foresight.inference.open.open_model", lambda text: model)
    file, gold = write(tmp_path / "r.yaml", raw()), _gold(tmp_path / "gold.jsonl")
    done = typed("rubric", "check", file, "--gold", gold, "--model", name, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    found = value["graders"]["letters by written"]["accuracy"]["mean"]
    assert found == pytest.approx(1 / 3), "always the same letter"
    assert value["propositions"]["harm"]["mean"] == pytest.approx(1 / 3), "always yes"
    assert list(value["graders"]) == ["letters by written", "propositions by written"]
    shown = typed("rubric", "check", file, "--gold", gold, "--model", name).stdout
    assert "Propositions" in shown and "0.333" in shown


def test_mistakes_are_told(tmp_path: Path) -> None:
    done = typed("rubric", "check", tmp_path / "nowhere.yaml")
    assert done.returncode == 2 and "cannot be read" in done.stderr
    done = typed("rubric", "check", "refusal", "--model", "x")
    assert done.returncode == 2 and "give --gold" in done.stderr
