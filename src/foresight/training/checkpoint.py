"""Checkpoints: written whole or not at all, hashed, never pickled."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from foresight.errors import UserError
from foresight.runs import read_json, sha256_file, write_atomic, write_json

_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """`weights.safetensors`, `optimizer.safetensors` and `complete.json`, which is written last.

    A directory without `complete.json` is the rest of a killed writer and is ignored.
    """

    path: Path

    @property
    def step(self) -> int:
        """Updates applied so far."""
        return int(self.path.name.removeprefix("step-"))

    @property
    def mark(self) -> Path:
        return self.path / "complete.json"

    @classmethod
    def all(cls, directory: Path) -> list[Checkpoint]:
        """Complete checkpoints, oldest first."""
        found = [cls(path) for path in sorted(directory.glob("step-*"))]
        return [one for one in found if one.mark.exists()]

    @classmethod
    def latest(cls, directory: Path) -> Checkpoint | None:
        found = cls.all(directory)
        return found[-1] if found else None

    @classmethod
    def write(
        cls, directory: Path, step: int, weights: dict[str, Tensor], optimizer: dict[str, Tensor]
    ) -> Checkpoint:
        """Save the state after `step` updates and drop all but the newest two."""
        checkpoint = cls(directory / f"step-{step:08d}")
        hashes = {}
        for name, tensors in (("weights", weights), ("optimizer", optimizer)):
            path = checkpoint.path / f"{name}.safetensors"
            detached = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            write_atomic(path, save(detached))
            hashes[path.name] = sha256_file(path)
        write_json(checkpoint.mark, {"step": step, "sha256": hashes})
        for old in cls.all(directory)[:-_KEPT]:
            old.delete()
        return checkpoint

    def delete(self) -> None:
        """Unmark first: a kill half-way leaves an incomplete directory, not a broken checkpoint."""
        self.mark.unlink()
        shutil.rmtree(self.path)

    def load(self, name: str) -> dict[str, Tensor]:
        """Tensors of `weights` or `optimizer`. Raises UserError naming a file that was changed."""
        path = self.path / f"{name}.safetensors"
        expected = read_json(self.mark)["sha256"][path.name]
        if sha256_file(path) != expected:
            raise UserError(
                f"{path}: its bytes are not the ones that were written (SHA-256 differs); "
                f"delete {self.path} to resume from the checkpoint before it"
            )
        return load(path.read_bytes())


@torch.no_grad()
def restore(target: dict[str, Tensor], saved: dict[str, Tensor], path: Path) -> None:
    """Copy saved tensors in place. Raises UserError if names or shapes differ."""
    for name, tensor in target.items():
        if name not in saved or saved[name].shape != tensor.shape:
            found = tuple(saved[name].shape) if name in saved else "nothing"
            raise UserError(f"{path}: tensor '{name}' should be {tuple(tensor.shape)}, is {found}")
        tensor.copy_(saved[name])
