"""The commands as a user types them: results, messages, exit codes, resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

from foresight.experiment import Experiment
from foresight.recipe import Recipe
from foresight.runs import Run
from tests.command import foresight

COMMANDS = [
    "demo", "corpus", "plan", "ladder", "fit", "predict", "train", "verify", "watch", "transfer",
    "sample", "report", "register", "observe", "scoreboard", "trend", "map", "capability",
    "design", "view", "eval", "compare", "export", "import-records", "export-records",
]  # fmt: skip


def _fails(*arguments: object) -> str:
    """The message of a command that must end with exit code 2 and no traceback."""
    done = foresight(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.lstrip().startswith("error: "), done.stderr
    return done.stderr


def test_the_demo_leaves_a_verified_experiment(spine: Path) -> None:
    done = foresight("verify", spine, "--json")
    report = json.loads(done.stdout)
    integrity = [one for one in report["findings"] if one["check"] != "forecast"]
    assert integrity and all(one["ok"] for one in integrity), integrity
    assert done.returncode == (0 if report["holds"] else 1)
    manifest = Run(next((spine / "targets").iterdir())).manifest()
    registered = json.loads(sorted((spine / "registrations").glob("0*.json"))[0].read_text())
    assert registered["created_utc"][:19] <= manifest["created_utc"][:19]


def test_a_folder_of_text_alone_goes_all_the_way(spine_recipe: Path, tmp_path: Path) -> None:
    raw = yaml.safe_load(spine_recipe.read_text())
    raw["corpus"]["mixture"] = {"code": 1.0}
    raw["ladder"] |= {"seeds": [1] * 5, "targets": [6e10]}
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(raw))
    done = foresight("demo", tmp_path / "mine", "--recipe", recipe, "--json")
    assert done.returncode in (0, 1), done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["scores"][0]["status"] == "finished" and outcome["pictures"] is None
    assert "No picture questions were asked" in Path(outcome["page"]).read_text()


def _change_a_digit(path: Path, after: str) -> None:
    """Turn the first digit behind `after` into another one."""
    text = path.read_text()
    start = text.index(after) + len(after)
    place = next(index for index in range(start, len(text)) if text[index].isdigit())
    digit = str((int(text[place]) + 1) % 10)
    path.write_text(text[:place] + digit + text[place + 1 :])


@pytest.mark.parametrize(
    ("pattern", "after"),
    [
        ("registrations/0001-*.json", '"point"'),
        ("recipe.yaml", "matrix_lr"),
        ("ladder/*-s1/metrics.jsonl", '"loss"'),
        ("targets/*/metrics.jsonl", '"loss"'),
        ("targets/*/result.json", '"code"'),
        ("corpus/tokenizer.json", '"vocab"'),
        ("corpus/manifest.json", '"bytes"'),
        ("registrations/chain.jsonl", '"sha256"'),
    ],
)
def test_verify_finds_one_changed_digit(
    spine: Path, tmp_path: Path, pattern: str, after: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(spine, copy)
    changed = sorted(copy.glob(pattern))[0]
    _change_a_digit(changed, after)
    done = foresight("verify", copy, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [one["file"] for one in json.loads(done.stdout)["findings"] if not one["ok"]]
    assert str(changed.relative_to(copy)) in failed, failed


def test_verify_finds_a_flipped_bit_in_a_shard(spine: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(spine, copy)
    path = copy / "corpus" / "code.train.tokens.npy"
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)
    done = foresight("verify", copy, "--json")
    failed = [one["file"] for one in json.loads(done.stdout)["findings"] if not one["ok"]]
    assert done.returncode == 1 and "corpus/code.train.tokens.npy" in failed


def test_a_started_target_cannot_be_registered(spine: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(spine, copy)
    shutil.rmtree(copy / "registrations")
    message = _fails("predict", copy, "--register", "--compute", "6e10")
    assert "already logged a step" in message


def test_an_interrupted_ladder_goes_on_and_gives_the_numbers_of_the_demo(
    spine: Path, spine_recipe: Path, tmp_path: Path
) -> None:
    """Ctrl-C, then ladder, fit, predict --register, report: the demo step by step, bit for bit."""
    directory = tmp_path / "interrupted"
    Experiment.create(directory, str(spine_recipe)).build_corpus()
    command = [sys.executable, "-m", "foresight", "ladder", str(directory)]
    child = subprocess.Popen(
        [*command, "--recipe", str(spine_recipe)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(directory.glob("ladder/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(child.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "interrupted" in errors and "Traceback" not in errors, errors
    assert foresight("ladder", directory, "--recipe", spine_recipe).returncode == 0
    fit = json.loads(foresight("fit", directory, "--json").stdout)
    assert fit == json.loads(foresight("fit", spine, "--json").stdout)
    forecasts = json.loads(foresight("predict", directory, "--register", "--json").stdout)
    registered = sorted((spine / "registrations").glob("0*.json"))
    for forecast, path in zip(forecasts, registered, strict=True):
        expected = json.loads(path.read_text())["forecast"]["point"]
        assert forecast["point"] == pytest.approx(expected, rel=1e-6)
    assert foresight("report", directory).returncode == 0
    assert (directory / "report" / "index.html").exists()


def test_runs_of_other_code_are_refused_without_a_traceback(spine: Path, tmp_path: Path) -> None:
    directory = tmp_path / "other"
    shutil.copytree(spine, directory, ignore=shutil.ignore_patterns("registrations", "targets"))
    for path in (directory / "ladder").iterdir():
        (path / "result.json").unlink()
        _change_a_digit(path / "run.json", '"code": "')
    message = _fails("ladder", directory, "--recipe", directory / "recipe.yaml")
    assert "holds a run with another code" in message


def test_export_writes_a_folder_for_others(spine: Path, tmp_path: Path) -> None:
    run = next((spine / "targets").iterdir())
    done = foresight("export", run, "--to", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["architecture"] in ("LlamaForCausalLM", "Qwen3ForCausalLM")
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert "exists already" in _fails("export", run, "--to", tmp_path / "out")
    assert "no such run directory" in _fails("export", tmp_path / "absent", "--to", tmp_path / "b")


def test_sample_continues_text_after_a_picture(spine: Path, tmp_path: Path) -> None:
    run = next((spine / "targets").iterdir())
    picture = tmp_path / "red.png"
    Pillow.fromarray(np.full((16, 16, 3), (255, 0, 0), np.uint8)).save(picture)
    values: list[dict[str, Any]] = []
    for seed in (1, 1, 2):
        warm = ["--json", "--seed", seed, "--temperature", 1.5]
        done = foresight("sample", run, "A", "--image", picture, *warm)
        assert done.returncode == 0, done.stderr
        values.append(json.loads(done.stdout))
    assert values[0] == values[1] and values[0]["text"] != values[2]["text"]
    assert 0 < values[0]["tokens"] <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_worth_reading(command: str) -> None:
    text = foresight(command, "--help").stdout
    assert len(text) > 200 and "--json" in text


def test_plan_prints_rungs_and_targets() -> None:
    rows = json.loads(foresight("plan", "--json").stdout)
    assert [row["role"] for row in rows] == ["rung"] * 5 + ["target"] * 2
    assert all(row["seconds"] > 0 and row["memory_bytes"] > 0 for row in rows)


def test_bad_input_is_named(spine: Path, spine_recipe: Path, tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.mkdir()
    binary.mkdir()
    (binary / "x.bin").write_bytes(bytes(range(256)) * 10)
    for folder, word in ((empty, "empty"), (binary, "binary")):
        recipe = Recipe.load(spine_recipe)
        corpus = recipe.corpus.model_copy(update={"code": str(folder)})
        path = tmp_path / f"{word}.yaml"
        recipe.model_copy(update={"corpus": corpus}).save(path)
        message = _fails("corpus", tmp_path / f"out-{word}", "--recipe", path)
        assert str(folder) in message.replace("\n", ""), message
    misspelt = tmp_path / "misspelt.yaml"
    misspelt.write_text(spine_recipe.read_text().replace("matrix_lr:", "matrix_rl:"))
    assert "matrix_rl" in _fails("plan", "--recipe", misspelt)
    assert "no such file" in _fails("fit", tmp_path / "nowhere")
    assert "no experiment here" in _fails("fit", tmp_path)
    assert "differs from recipe" in _fails("ladder", spine)
    assert "no registrations" in _fails("verify", tmp_path)
    (tmp_path / "no.png").write_text("no picture")
    run = next((spine / "targets").iterdir())
    assert "no.png: not a readable image" in _fails(
        "sample", run, "x", "--image", tmp_path / "no.png"
    )
    assert "do not fit the context" in _fails("sample", run, "x = 1\n" * 200)
    assert "no such run directory" in _fails("sample", tmp_path / "absent")
    usage = foresight("fit", "--nonsense")
    assert usage.returncode == 2 and "No such option" in usage.stderr


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_shard_stops_the_ladder_with_its_name(
    spine: Path, spine_recipe: Path, tmp_path: Path, damage: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(spine, copy)
    shutil.rmtree(copy / "ladder")
    path = copy / "corpus" / "code.train.tokens.npy"
    raw = path.read_bytes()
    path.write_bytes(raw[:-50] if damage == "truncated" else raw[:-1] + bytes([raw[-1] ^ 4]))
    message = _fails("ladder", copy, "--recipe", spine_recipe)
    assert "code.train.tokens.npy: its bytes are not the ones" in message.replace("\n", "")
