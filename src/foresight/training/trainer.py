"""One training run in one run directory: resumable bit for bit, logged step by step."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch import Tensor

from foresight import __version__
from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.errors import UserError
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe, RunSpec
from foresight.runs import (
    Run,
    code_sha256,
    locked,
    read_jsonl,
    sha256_file,
    write_atomic,
    write_json,
)
from foresight.training.checkpoint import Checkpoint, restore
from foresight.training.evaluate import evaluate
from foresight.training.interrupt import Interrupt
from foresight.training.optimizer import Optimizer, schedule

# Positions per forward and backward pass: activations of more would leave the L2 cache.
_MICRO_TOKENS = 2048

OnStep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Settings:
    """How a run is carried out, nothing that changes what it computes on one device."""

    checkpoint_seconds: float = 60.0
    """Wall time between checkpoints: what a kill can cost."""
    checkpoint_steps: int | None = None
    """Checkpoint every so many steps instead."""
    keep_weights: bool = True
    """Keep the last checkpoint once the run is finished."""
    validation_rows: int | None = None
    """Evaluate on at most so many held-out rows per source (sweeps); None: all of them."""
    tensorboard: bool = False
    """Write scalars for TensorBoard beside `metrics.jsonl` (needs the package)."""


class RowSource(Protocol):
    """Where batches come from: a `Loader`, or random ids when only speed matters."""

    def rows(self, start: int, count: int) -> Batch: ...


class Trainer:
    """State of a run between two steps: weights, optimiser state and the number of the step."""

    def __init__(self, spec: RunSpec, loader: RowSource) -> None:
        self.spec = spec
        self.model = Decoder(spec)
        self.step = 0
        self._loader = loader
        self.weights = {name: self.model.weight(name) for name in self.model.rules}
        self.optimizer = Optimizer(spec, self.model.rules, self.weights)

    def update(self) -> dict[str, Any]:
        """Take one step; returns its metrics. Raises UserError if the loss is not finite."""
        spec, started = self.spec, time.perf_counter()
        first = self.step * spec.batch_rows
        batch = self._loader.rows(first, spec.batch_rows)
        loss = self._backward(batch)
        norm = self.optimizer.clip()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"step {self.step}: loss {loss}, gradient norm {norm}; the batch is rows "
                f"{first} to {first + spec.batch_rows - 1} of data seed {spec.seed}. The run "
                f"stopped before this update and its last checkpoint is intact; lower the "
                f"learning rates of the recipe"
            )
        share = schedule(spec, self.step)
        self.optimizer.step(self.step, share)
        self.step += 1
        return {
            "step": self.step,
            "tokens": self.step * spec.batch_tokens,
            "loss": loss,
            "lr_share": share,
            "grad_norm": norm,
            "clipped": norm > spec.clip,
            "patches": len(batch.patches),
            "seconds": time.perf_counter() - started,
        }

    def _backward(self, batch: Batch) -> float:
        """Mean weighted nats of a batch, its gradient left in the weights."""
        for weight in self.weights.values():
            weight.grad = None
        scale = 1.0 / float(batch.weights.sum())
        rows = max(1, _MICRO_TOKENS // self.spec.shape.context)
        total = 0.0
        for start in range(0, self.spec.batch_rows, rows):
            loss, _ = self.model(self.model.inputs(batch.part(start, start + rows)))
            (loss * scale).backward()
            total += loss.item()
        return total * scale

    def save(self, run: Run) -> None:
        Checkpoint.write(run.checkpoints, self.step, self.weights, self.optimizer.state)

    def resume(self, checkpoint: Checkpoint) -> None:
        restore(self.weights, checkpoint.load("weights"), checkpoint.path)
        restore(self.optimizer.state, checkpoint.load("optimizer"), checkpoint.path)
        self.step = checkpoint.step


def train(
    run: Run,
    recipe: Recipe,
    spec: RunSpec,
    corpus: Corpus,
    settings: Settings | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Carry out `spec` in `run` (or go on where it was killed) and return its result.

    Calls `on_step` with the metrics of every step. Raises UserError if the directory holds
    another run, is in use, or the loss is not finite.
    """
    settings = settings or Settings()
    with locked(run.path):
        manifest = _manifest(recipe, spec, corpus)
        _claim(run, manifest)
        if run.finished:
            return run.result()
        loader = corpus.loader_for(spec)
        trainer = Trainer(spec, loader)
        checkpoint = Checkpoint.latest(run.checkpoints)
        if checkpoint:
            trainer.resume(checkpoint)
        _forget_after(run, trainer.step)
        _steps(trainer, run, settings, on_step)
        return _finish(trainer, run, corpus, settings, spec.tokens / loader.positions)


def _steps(trainer: Trainer, run: Run, settings: Settings, on_step: OnStep | None) -> None:
    spec = trainer.spec
    saved = time.monotonic()
    writer = _tensorboard(run) if settings.tensorboard else None
    with run.metrics_path.open("a") as log, Interrupt() as interrupt:
        while trainer.step < spec.steps:
            row = trainer.update()
            _log(log, row, run)
            if writer:
                for key in ("loss", "grad_norm", "lr_share"):
                    writer.add_scalar(key, row[key], row["step"])
            if on_step:
                on_step(row)
            every = settings.checkpoint_steps
            due = time.monotonic() - saved > settings.checkpoint_seconds
            if interrupt.asked or (trainer.step % every == 0 if every else due):
                os.fsync(log.fileno())
                trainer.save(run)
                saved = time.monotonic()
            if interrupt.asked:
                raise KeyboardInterrupt


def _log(log: IO[str], row: dict[str, Any], run: Run) -> None:
    try:
        log.write(json.dumps(row) + "\n")
        log.flush()
    except OSError as error:
        raise UserError(
            f"{run.metrics_path}: cannot be written ({error.strerror}); the run resumes from its "
            f"last checkpoint once there is room"
        ) from None


def _finish(
    trainer: Trainer, run: Run, corpus: Corpus, settings: Settings, epochs: float
) -> dict[str, Any]:
    spec = trainer.spec
    rows = run.metrics()
    held_out = corpus.validation_loaders(spec.shape.context)
    if settings.validation_rows:
        most = settings.validation_rows
        held_out = {name: (one, min(rows, most)) for name, (one, rows) in held_out.items()}
    losses = evaluate(trainer.model, held_out, corpus.tokenizer.token_bytes)
    # Programs and pictures are shorter than a row: only real text shows the gain.
    copy_gain = losses["code"].copy_gain if "code" in losses else None
    shares = {name: spec.mixture[name] / sum(spec.mixture.values()) for name in losses}
    patches = sum(row["patches"] for row in rows)
    result = {
        "run": run.path.name,
        "compute_flops": spec.tokens * spec.shape.flops_per_token(patches / spec.tokens),
        "params": spec.shape.params,
        "active_params": spec.shape.active_params,
        "tokens": spec.tokens,
        "steps": spec.steps,
        "seed": spec.seed,
        "losses": {name: one.nats for name, one in losses.items()}
        | {"mix": sum(shares[name] * one.nats for name, one in losses.items())},
        "bits_per_byte": {name: one.bits_per_byte for name, one in losses.items()},
        "validation": {name: asdict(one) for name, one in losses.items()},
        "diagnostics": _diagnostics(trainer, rows, copy_gain) | {"epochs": epochs},
        "seconds": sum(row["seconds"] for row in rows),
    }
    if settings.keep_weights:
        trainer.save(run)
        final = Checkpoint.latest(run.checkpoints)
        assert final is not None
        result["checkpoint_sha256"] = sha256_file(final.path / "weights.safetensors")
    else:
        for checkpoint in Checkpoint.all(run.checkpoints):
            checkpoint.delete()
    result["metrics_sha256"] = sha256_file(run.metrics_path)
    write_json(run.result_path, result)
    return result


def _diagnostics(
    trainer: Trainer, rows: list[dict[str, Any]], copy_gain: float | None
) -> dict[str, Any]:
    """What eligibility for a fit is decided on, before any residual is seen."""
    spec = trainer.spec
    settled = rows[spec.warmup_steps :]
    return {
        "clip_rate": sum(row["clipped"] for row in settled) / max(1, len(settled)),
        "head_share": spec.shape.head_share,
        "copy_gain": copy_gain,
        "final_train_loss": sum(row["loss"] for row in rows[-20:]) / len(rows[-20:]),
    }


def _manifest(recipe: Recipe, spec: RunSpec, corpus: Corpus) -> dict[str, Any]:
    return {
        "spec": spec.model_dump(),
        "hashes": {
            "spec": spec.sha256,
            "recipe": recipe.sha256,
            "data": corpus.sha256,
            "tokenizer": corpus.tokenizer_sha256,
            "code": code_sha256(),
        },
        "versions": {
            "foresight": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "device": _device(),
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _device() -> dict[str, Any]:
    """What the run computes on, as far as the system tells."""
    described = Path("/proc/cpuinfo")
    names = (
        re.findall(r"model name\s*:\s*(.+)", described.read_text()) if described.exists() else []
    )
    return {
        "kind": "cpu",
        "machine": platform.machine(),
        "model": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _claim(run: Run, manifest: dict[str, Any]) -> None:
    """Write the manifest, or check that the one there is of the same run."""
    if not run.manifest_path.exists():
        write_json(run.manifest_path, manifest)
        return
    there = run.manifest().get("hashes", {})
    for key, value in manifest["hashes"].items():
        if there.get(key) != value:
            raise UserError(
                f"{run.manifest_path}: holds a run with another {key} "
                f"({str(there.get(key))[:12]} there, {value[:12]} asked for); "
                f"use another directory, or delete this one to start over"
            )


def _forget_after(run: Run, step: int) -> None:
    """Drop logged steps that the checkpoint does not contain: they will be taken again."""
    if run.metrics_path.exists():
        kept = [row for row in read_jsonl(run.metrics_path) if row["step"] <= step]
        write_atomic(run.metrics_path, "".join(json.dumps(row) + "\n" for row in kept))


def _tensorboard(run: Run) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard needs the package: pip install tensorboard") from None
    return SummaryWriter(str(run.path / "tensorboard"))


def model_of(run: Run) -> tuple[Decoder, RunSpec]:
    """The newest weights of a run. Raises UserError if it has no complete checkpoint."""
    spec = RunSpec.model_validate(run.manifest()["spec"])
    checkpoint = Checkpoint.latest(run.checkpoints)
    if checkpoint is None:
        raise UserError(f"{run.checkpoints}: no complete checkpoint; train the run first")
    model = Decoder(spec)
    weights: dict[str, Tensor] = {name: model.weight(name).data for name in model.rules}
    restore(weights, checkpoint.load("weights"), checkpoint.path)
    return model, spec
