"""One training run in one run directory: resumable bit for bit, logged step by step."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any, Protocol

from foresight.data.corpus import Corpus
from foresight.data.loader import Batch
from foresight.errors import UserError
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe, RunSpec
from foresight.runs import Run, locked, sha256_file, write_json
from foresight.training.checkpoint import Checkpoint, restore
from foresight.training.evaluate import evaluate
from foresight.training.loop import OnStep, Settings, claim, manifest, take_steps
from foresight.training.optimizer import Optimizer, schedule

# Positions per forward and backward pass: activations of more would leave the L2 cache.
_MICRO_TOKENS = 2048


class RowSource(Protocol):
    """Where batches come from: a `Loader`, or random ids when only speed matters."""

    def rows(self, start: int, count: int) -> Batch: ...


class Trainer:
    """State of a run between two steps: weights, optimiser state and the number of the step."""

    def __init__(self, spec: RunSpec, loader: RowSource) -> None:
        self.spec = spec
        self.model = Decoder(spec)
        self.step, self.steps = 0, spec.steps
        self._loader = loader
        self.weights = self.model.named_weights
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
        claim(run, _manifest(recipe, spec, corpus))
        if run.finished:
            return run.result()
        loader = corpus.loader_for(spec)
        trainer = Trainer(spec, loader)
        take_steps(trainer, run, settings, on_step)
        return _finish(trainer, run, corpus, settings, spec.tokens / loader.positions)


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
    return manifest(
        spec,
        {"recipe": recipe.sha256, "data": corpus.sha256, "tokenizer": corpus.tokenizer_sha256},
    )


def model_of(run: Run) -> tuple[Decoder, RunSpec]:
    """The newest weights of a run. Raises UserError if it has no complete checkpoint."""
    spec = RunSpec.model_validate(run.manifest()["spec"])
    checkpoint = Checkpoint.latest(run.checkpoints)
    if checkpoint is None:
        raise UserError(f"{run.checkpoints}: no complete checkpoint; train the run first")
    model = Decoder(spec)
    weights = {name: weight.data for name, weight in model.named_weights.items()}
    restore(weights, checkpoint.load("weights"), checkpoint.path)
    return model, spec
