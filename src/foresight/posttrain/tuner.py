"""AdamW for tuning: one rate for all weights, warmed up, then down to a tenth; state by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

EPSILON = 1e-5
"""As in OpenAI's code for RLHF: smaller ones make the first steps too large."""


class Tuner:
    """One step at a time for weights by name; `lr` is the peak, `steps` how many there will be."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        lr: float,
        steps: int,
        clip: float = 1.0,
        warmup_share: float = 0.05,
    ) -> None:
        self._weights = dict(weights)
        for weight in self._weights.values():
            weight.requires_grad_()
        self._lr, self._steps, self._clip = lr, steps, clip
        self._warmup = max(1, round(warmup_share * steps))
        self._adam = torch.optim.AdamW(
            list(self._weights.values()), lr=lr, betas=(0.9, 0.95), eps=EPSILON, weight_decay=0.0
        )
        # Made now, so that a checkpoint finds all of it: weights of pictures may get no gradient.
        for weight in self._weights.values():
            self._adam.state[weight] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    @property
    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds: {name/average: tensor}, to be written into in place."""
        return {
            f"{name}/{key}": value
            for name, weight in self._weights.items()
            for key, value in self._adam.state[weight].items()
        }

    def rate(self, step: int) -> float:
        """Linear warm-up, then linear down to a tenth of the peak."""
        if step < self._warmup:
            return self._lr * (step + 1) / self._warmup
        left = (self._steps - step) / max(1, self._steps - self._warmup)
        return self._lr * (0.1 + 0.9 * left)

    def zero(self) -> None:
        self._adam.zero_grad()

    def step(self, step: int) -> float:
        """Clip the gradients, update, and forget them; the norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(list(self._weights.values()), self._clip)
        for group in self._adam.param_groups:
            group["lr"] = self.rate(step)
        self._adam.step()
        self._adam.zero_grad()
        return float(norm)
