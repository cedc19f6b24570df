"""sft, reward, ppo and dpo as a user types them, on a small model of Ledger world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from foresight.data.tokenizer import Tokenizer
from foresight.evals.journal import read_records
from foresight.inference.checkpoints import load_model
from foresight.model.decoder import Decoder
from foresight.posttrain import ledger as chats
from foresight.posttrain.conversations import ChatPrompt, Pair, write_jsonl
from foresight.posttrain.graders import TrainedGrader
from foresight.posttrain.rubric import Answered, read_rubric
from foresight.recipe import Recipe
from foresight.runs import Run, sha256_file, write_json
from foresight.training.checkpoint import Checkpoint
from foresight.worlds import ledger
from tests.command import typed


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment with one run, of random weights."""
    directory = tmp_path_factory.mktemp("experiment")
    texts = [one.text for one in ledger.documents(0, 3000, "train")]
    Tokenizer.train(texts, 640).save(directory / "corpus" / "tokenizer.json")
    spec = Recipe.named("ledger").at(1e10, 0, width=16)
    run, model = Run(directory / "targets" / "base"), Decoder(spec)
    write_json(run.manifest_path, {"spec": spec.model_dump()})
    Checkpoint.write(run.checkpoints, 1, model.named_weights, {})
    return run.path


@pytest.fixture(scope="module")
def files(base: Path) -> dict[str, Path]:
    """Demonstrations, pairs, prompts and a grader."""
    folder = base.parents[1] / "files"
    found = {name: folder / f"{name}.jsonl" for name in ("demonstrations", "pairs", "prompts")}
    write_jsonl(found["demonstrations"], list(chats.demonstrations(0, 300)))
    asked = chats.prompts(1, 120, True)
    pairs = [
        Pair(one.id, one.messages, "Take the hook, then press.", "No.", gap=2) for one in asked
    ]
    write_jsonl(found["pairs"], pairs)
    write_jsonl(
        found["prompts"], [ChatPrompt(one.id, one.messages, one.prompt_set) for one in asked]
    )
    rubric = read_rubric("refusal")
    rows = [
        (one, text)
        for one in asked
        for text in (ledger.refusal(one.meta["query"]), "No.", "Take the hook, then press.")
    ]
    samples = [Answered(one.id, one.prompt_set, one.messages, text) for one, text in rows]
    labels = [chats.class_of(one.meta["query"], text) or "unreadable" for one, text in rows]
    found["grader"] = folder / "grader"
    TrainedGrader.fit(rubric, samples, labels).save(found["grader"])
    return found


def ran(*words: object) -> Any:
    done = typed(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tuned(base: Path, files: dict[str, Path]) -> Path:
    """A run that SFT made."""
    result = ran("sft", base, files["demonstrations"], "--epochs", 6, "--lr", 0.01)
    assert result["demonstrations"] == 300 and result["last"]["loss"] < 2.5
    return base.parents[1] / "posttrain" / "sft"


def test_sft_is_a_run_like_others(tuned: Path, base: Path, files: dict[str, Path]) -> None:
    model, _, name = load_model(tuned)
    assert not torch.equal(model.weight("lm_head"), load_model(base)[0].weight("lm_head"))
    first = (tuned / "result.json").read_text()
    again = typed("sft", base, files["demonstrations"], "--epochs", 6, "--lr", 0.01)
    assert again.returncode == 0 and (tuned / "result.json").read_text() == first, name
    other = typed("sft", base, files["demonstrations"], "--epochs", 2)
    assert other.returncode == 2 and "another settings" in other.stderr
    manifest = Run(tuned).manifest()
    assert manifest["settings"]["epochs"] == 6 and manifest["base"] == str(base)


def test_reward_then_ppo_with_rules(tuned: Path, files: dict[str, Path]) -> None:
    result = ran("reward", tuned, files["pairs"], "--epochs", 4, "--lr", 0.01)
    report = result["report"]
    assert report["accuracy"]["mean"] > 0.95, "steps and refusals are easy to tell apart"
    assert report["ceiling"] == pytest.approx(0.8808, abs=1e-3)
    reward = tuned.parent / "reward"
    kept = Checkpoint.latest(reward / "checkpoints")
    assert kept is not None
    assert result["checkpoint_sha256"] == sha256_file(kept.path / "weights.safetensors")
    assert float(kept.load("weights")["scalar_gain"]) != 1.0, "it is kept normalised"
    words = ("ppo", tuned, files["prompts"], "--reward", reward, "--updates", 3)
    plain = ran(*words, "--out", tuned.parent / "plain")
    assert plain["reward"] == "reward model" and plain["last"]["reward/helpful"] is not None
    drawn = read_records(tuned.parent / "plain" / "rollouts" / "update-000003")
    assert len(drawn) == 128 and "helpful" in drawn[0].details["reward"]
    looked = ran("view", tuned.parent / "plain" / "rollouts", "--html", tuned.parent / "drawn.html")
    assert looked["records"] == 3 * 128 and looked["models"] == [
        "update-000001", "update-000002", "update-000003"
    ]  # fmt: skip
    shown = typed(*words, "--rubric", "refusal", "--grader", files["grader"])
    assert shown.returncode in (0, 2), shown.stderr
    if shown.returncode == 0:
        assert "Composed reward by class" in shown.stdout
        rows = read_records(tuned.parent / "ppo" / "rollouts" / "update-000001")
        assert all(set(row.details["reward"]) == {"helpful", "rules"} for row in rows)
    else:
        assert "prompt set" in shown.stderr


def test_dpo(tuned: Path, files: dict[str, Path]) -> None:
    result = ran("dpo", tuned, files["pairs"], "--epochs", 5, "--lr", 0.003)
    assert result["last"]["accuracy"] > 0.9 and result["last"]["margin"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lr", -1), "field lr"),
        (("--epochs", 0), "field epochs"),
        (("--out", "elsewhere/run"), "beside the run it starts from"),
    ],
)
def test_what_cannot_be(
    base: Path, files: dict[str, Path], words: tuple[object, ...], said: str
) -> None:
    done = typed("sft", base, files["demonstrations"], *words)
    assert done.returncode == 2 and said in " ".join(done.stderr.split())


def test_a_demonstration_too_long_is_named(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    answer = {"role": "assistant", "content": "wash " * 200}
    row = {"id": "tenth", "messages": [{"role": "user", "content": "?"}, answer]}
    path.write_text(json.dumps(row) + "\n")
    done = typed("sft", base, path, "--out", base.parents[1] / "posttrain" / "long")
    assert done.returncode == 2 and "demonstration tenth" in done.stderr


def test_rules_need_a_grader(tuned: Path, files: dict[str, Path]) -> None:
    done = typed("ppo", tuned, files["prompts"], "--reward", tuned, "--rubric", "refusal")
    assert done.returncode == 2
