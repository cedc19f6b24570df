"""What stages that learn from data have in common: a loss a step, an optimiser, a kept state."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from foresight.posttrain.tuner import Tuner
from foresight.runs import Run
from foresight.training.checkpoint import Checkpoint, restore


class Stage(ABC):
    """The state between two steps: `step` of `steps` are taken. `weights` are kept, those of
    `trained` are learned (default: all)."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        steps: int,
        lr: float,
        trained: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.step, self.steps = 0, steps
        self.weights = dict(weights)
        self._tuner = Tuner(self.weights if trained is None else trained, lr, steps)

    @abstractmethod
    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """What the step `self.step` is to make smaller, and what is told of it: `positions`, that
        are passed forward and back, among it."""

    def update(self) -> dict[str, Any]:
        """Take one step; its metrics."""
        started = time.perf_counter()
        loss, told = self.loss()
        torch.autograd.backward(loss)
        norm = self._tuner.step(self.step)
        self.step += 1
        return {
            "step": self.step,
            "loss": float(loss.detach()),
            **told,
            "grad_norm": norm,
            "seconds": time.perf_counter() - started,
        }

    def save(self, run: Run) -> None:
        Checkpoint.write(run.checkpoints, self.step, self.weights, self._tuner.state)

    def resume(self, checkpoint: Checkpoint) -> None:
        restore(self.weights, checkpoint.load("weights"), checkpoint.path)
        restore(self._tuner.state, checkpoint.load("optimizer"), checkpoint.path)
        self.step = checkpoint.step
