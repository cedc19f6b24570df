"""A run can be killed at any moment and ends with the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from foresight.data.corpus import Corpus
from foresight.errors import UserError
from foresight.recipe import Recipe, RunSpec
from foresight.runs import Run, locked
from foresight.training import loop
from foresight.training import trainer as trainer_module
from foresight.training.checkpoint import Checkpoint
from foresight.training.loop import Settings
from foresight.training.trainer import Trainer, model_of, train

# What a step logs besides its wall time.
LOGGED = ("step", "loss", "grad_norm", "lr_share", "tokens", "patches", "clipped")
KILLS = int(os.environ.get("FORESIGHT_KILLS", "4"))
"""`make conformance` kills twenty times."""


def _spec(recipe: Recipe, steps: int = 60, seed: int = 7) -> RunSpec:
    return recipe.at(4e9, seed).model_copy(update={"steps": steps, "warmup_steps": 10})


def _weights(run: Run) -> bytes:
    checkpoint = Checkpoint.latest(run.checkpoints)
    assert checkpoint is not None
    return (checkpoint.path / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(recipe: Recipe, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("runs") / "undisturbed")
    train(run, recipe, _spec(recipe), corpus)
    return run


def test_the_loss_falls_and_the_result_says_so(undisturbed: Run, recipe: Recipe) -> None:
    rows, result = undisturbed.metrics(), undisturbed.result()
    assert [row["step"] for row in rows] == list(range(1, 61))
    assert rows[0]["loss"] == pytest.approx(6.24, abs=0.02), "the head starts at zero: log 512"
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert set(result["losses"]) == {"code", "programs", "pictures", "mix"}
    spec = _spec(recipe)
    assert result["tokens"] == spec.tokens
    assert result["compute_flops"] >= spec.tokens * spec.shape.flops_per_token()
    assert undisturbed.manifest()["hashes"]["recipe"] == recipe.sha256


def test_the_same_seed_gives_the_same_bits(
    undisturbed: Run, recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    train(Run(tmp_path / "again"), recipe, _spec(recipe), corpus)
    train(Run(tmp_path / "other"), recipe, _spec(recipe, seed=8), corpus)
    assert _weights(Run(tmp_path / "again")) == _weights(undisturbed)
    assert _weights(Run(tmp_path / "other")) != _weights(undisturbed)


def test_a_finished_run_is_not_repeated(undisturbed: Run, recipe: Recipe, corpus: Corpus) -> None:
    before = undisturbed.result_path.stat().st_mtime_ns
    train(undisturbed, recipe, _spec(recipe), corpus)
    assert undisturbed.result_path.stat().st_mtime_ns == before


_CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from foresight.data.corpus import Corpus
from foresight.recipe import Recipe, RunSpec
from foresight.runs import Run
from foresight.training.loop import Settings
from foresight.training.trainer import train
directory, corpus, spec = map(Path, sys.argv[1:])
recipe = Recipe.load(corpus.parent / "recipe.yaml")
train(Run(directory), recipe, RunSpec.model_validate_json(spec.read_text()), Corpus(corpus),
      Settings(checkpoint_steps=5))
"""


def _child(run: Run, recipe: Recipe, spec: RunSpec, corpus: Corpus) -> subprocess.Popen[bytes]:
    recipe.save(corpus.directory.parent / "recipe.yaml")
    spec_path = run.path.parent / "spec.json"
    spec_path.parent.mkdir(exist_ok=True)
    spec_path.write_text(spec.model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(run.path), str(corpus.directory), str(spec_path)],
        stderr=subprocess.PIPE,
    )


def test_kill_9_again_and_again_ends_with_the_same_bits(
    recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    """Killed at random moments, among them inside checkpoint writes; counted are kills that hit."""
    spec = _spec(recipe, steps=125 * KILLS).model_copy(update={"batch_rows": 1})
    calm, run = Run(tmp_path / "calm"), Run(tmp_path / "killed" / "run")
    train(calm, recipe, spec, corpus)
    chance, kills, restarts = random.Random(0), 0, 0
    while kills < KILLS:
        child = _child(run, recipe, spec, corpus)
        seen = _steps(run)
        while _steps(run) == seen and child.poll() is None:
            time.sleep(0.02)  # wait for the first new step: imports take longer than steps
        time.sleep(chance.uniform(0.0, 0.35))
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait()
        restarts += 1
        assert not run.finished, f"the run ended after {kills} kills: make it longer"
        assert restarts < 2 * KILLS
    child = _child(run, recipe, spec, corpus)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors.decode()
    assert _weights(run) == _weights(calm)
    for mine, theirs in zip(run.metrics(), calm.metrics(), strict=True):
        assert [mine[key] for key in LOGGED] == [theirs[key] for key in LOGGED]
    assert run.result()["losses"] == calm.result()["losses"]


def _steps(run: Run) -> int:
    return run.metrics_path.read_bytes().count(b"\n") if run.metrics_path.exists() else 0


def test_a_forgotten_optimizer_would_be_noticed(
    undisturbed: Run,
    recipe: Recipe,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control of the test above: resuming the weights alone does not give the same bits."""
    run = Run(tmp_path / "run")
    _interrupt_at(30, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(run, recipe, _spec(recipe), corpus)
    monkeypatch.undo()

    def forget(self: Trainer, checkpoint: Checkpoint) -> None:
        trainer_module.restore(self.weights, checkpoint.load("weights"), checkpoint.path)
        self.step = checkpoint.step

    monkeypatch.setattr(Trainer, "resume", forget)
    train(run, recipe, _spec(recipe), corpus)
    assert _weights(run) != _weights(undisturbed)


def _interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Trainer.update

    def raising(self: Trainer) -> dict[str, object]:
        if self.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self)

    monkeypatch.setattr(Trainer, "update", raising)


def test_ctrl_c_loses_no_step(
    undisturbed: Run,
    recipe: Recipe,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(tmp_path / "run")
    _interrupt_at(33, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(run, recipe, _spec(recipe), corpus)
    checkpoint = Checkpoint.latest(run.checkpoints)
    assert checkpoint is not None and checkpoint.step == 34, "the step under way was finished"
    monkeypatch.undo()
    train(run, recipe, _spec(recipe), corpus)
    assert _weights(run) == _weights(undisturbed)


def test_a_loss_that_is_not_finite_names_step_and_batch(
    recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    spec = _spec(recipe)
    loader = corpus.train_loader(spec.mixture, spec.shape.context, spec.seed)
    state = Trainer(spec, loader)
    for _ in range(3):
        state.update()
    with torch.no_grad():
        state.weights["lm_head"][70, 0] = torch.nan
    with pytest.raises(UserError, match=rf"step 3: loss nan.*rows {3 * spec.batch_rows} to"):
        state.update()


def test_another_run_in_the_directory_is_refused(
    undisturbed: Run, recipe: Recipe, corpus: Corpus
) -> None:
    with pytest.raises(UserError, match=r"run\.json: holds a run with another spec"):
        train(undisturbed, recipe, _spec(recipe, seed=9), corpus)


def test_a_directory_in_use_is_refused(recipe: Recipe, corpus: Corpus, tmp_path: Path) -> None:
    run = Run(tmp_path / "busy")
    with locked(run.path), pytest.raises(UserError, match=rf"in use .*pid {os.getpid()}"):
        train(run, recipe, _spec(recipe), corpus)


def test_a_run_larger_than_the_corpus_is_refused_before_it_starts(
    recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    run = Run(tmp_path / "large")
    with pytest.raises(UserError, match=r"holds .* reads"):
        train(run, recipe, _spec(recipe, steps=10**6), corpus)
    assert not run.started


def test_a_full_disk_is_named_and_the_run_resumes(
    undisturbed: Run,
    recipe: Recipe,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel's own ENOSPC, from /dev/full, at step 40."""
    run = Run(tmp_path / "full")
    log = loop._log

    def full(stream, row, run):  # type: ignore[no-untyped-def]
        if row["step"] == 40:
            nowhere = open("/dev/full", "w")  # noqa: SIM115 - closing it fails as well
            try:
                log(nowhere, row, run)
            finally:
                with suppress(OSError):
                    nowhere.close()
        return log(stream, row, run)

    monkeypatch.setattr(loop, "_log", full)
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written \(No space left"):
        train(run, recipe, _spec(recipe), corpus, Settings(checkpoint_steps=16))
    monkeypatch.undo()
    train(run, recipe, _spec(recipe), corpus)
    assert _weights(run) == _weights(undisturbed)


def test_a_trained_model_comes_back(undisturbed: Run) -> None:
    model, spec = model_of(undisturbed)
    assert spec.seed == 7 and model.weight("lm_head").abs().sum() > 0
    with pytest.raises(UserError, match="no complete checkpoint"):
        model_of(_copy_without_checkpoints(undisturbed))


def _copy_without_checkpoints(run: Run) -> Run:
    other = Run(run.path.parent / "bare")
    other.path.mkdir(exist_ok=True)
    other.manifest_path.write_text(json.dumps(run.manifest()))
    return other
