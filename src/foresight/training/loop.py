"""The loop of every training run: resumable bit for bit, logged step by step, killed at will."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

import torch

from foresight import __version__
from foresight.errors import UserError
from foresight.recipe import RunSpec
from foresight.runs import Run, code_sha256, read_jsonl, write_atomic, write_json
from foresight.training.checkpoint import Checkpoint
from foresight.training.interrupt import Interrupt

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


class Stepper(Protocol):
    """What is trained, between two steps: `step` of `steps` are taken."""

    step: int
    steps: int

    def update(self) -> dict[str, Any]:
        """Take one step; its metrics, `step` and `seconds` among them."""

    def save(self, run: Run) -> None: ...

    def resume(self, checkpoint: Checkpoint) -> None: ...


def take_steps(
    stepper: Stepper, run: Run, settings: Settings, on_step: OnStep | None = None
) -> None:
    """All steps that are left, from the newest checkpoint on. A kill costs what came after it."""
    checkpoint = Checkpoint.latest(run.checkpoints)
    if checkpoint:
        stepper.resume(checkpoint)
    _forget_after(run, stepper.step)
    saved = time.monotonic()
    writer = _tensorboard(run) if settings.tensorboard else None
    with run.metrics_path.open("a") as log, Interrupt() as interrupt:
        while stepper.step < stepper.steps:
            row = stepper.update()
            _log(log, row, run)
            if writer:
                for key, value in row.items():
                    if isinstance(value, float) and key != "seconds":
                        writer.add_scalar(key, value, row["step"])
            if on_step:
                on_step(row)
            every = settings.checkpoint_steps
            due = time.monotonic() - saved > settings.checkpoint_seconds
            if interrupt.asked or (stepper.step % every == 0 if every else due):
                os.fsync(log.fileno())
                stepper.save(run)
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


def manifest(spec: RunSpec, hashes: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """What `run.json` says: the spec, what the run was made from, who computes it."""
    return {
        "spec": spec.model_dump(),
        "hashes": {"spec": spec.sha256, **hashes, "code": code_sha256()},
        "versions": {
            "foresight": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "device": _device(),
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    } | more


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


def claim(run: Run, value: dict[str, Any]) -> None:
    """Write the manifest, or check that the one there is of the same run (UserError if not)."""
    if not run.manifest_path.exists():
        write_json(run.manifest_path, value)
        return
    there = run.manifest().get("hashes", {})
    for key, wanted in value["hashes"].items():
        if there.get(key) != wanted:
            raise UserError(
                f"{run.manifest_path}: holds a run with another {key} "
                f"({str(there.get(key))[:12]} there, {wanted[:12]} asked for); "
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
