"""Direct preference optimisation (Rafailov et al. 2023): the baseline without a reward model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from foresight.model.decoder import Decoder
from foresight.posttrain.objectives import dpo_loss
from foresight.posttrain.pairs import EncodedPair, PairOrder
from foresight.posttrain.sequences import padded, target_logprobs
from foresight.posttrain.tuner import Tuner
from foresight.runs import Run
from foresight.training.checkpoint import Checkpoint, restore


class DPOSettings(BaseModel):
    """`beta`: weight of the KL that the closed form of the preference model implies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beta: Annotated[float, Field(gt=0)] = 0.1
    lr: Annotated[float, Field(gt=0)] = 1e-4
    batch: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0


class DPO:
    """The state between two steps. `reference` is not changed."""

    def __init__(
        self,
        policy: Decoder,
        reference: Decoder,
        pairs: Sequence[EncodedPair],
        settings: DPOSettings,
    ) -> None:
        self.policy, self.reference, self._pairs, self.settings = policy, reference, pairs, settings
        self._order = PairOrder(len(pairs), settings.batch, settings.epochs, settings.seed)
        self.step, self.steps = 0, self._order.steps
        self.weights: dict[str, Tensor] = {name: policy.weight(name) for name in policy.rules}
        self._tuner = Tuner(self.weights, settings.lr, self.steps)

    def update(self) -> dict[str, Any]:
        started = time.perf_counter()
        some = [self._pairs[at] for at in self._order.at(self.step)]
        sides = [one.chosen for one in some] + [one.rejected for one in some]
        batch = padded(sides, self.policy.spec.shape.context)
        with torch.no_grad():
            reference = target_logprobs(self.reference, batch)[0].sum(dim=1)
        ratios = target_logprobs(self.policy, batch)[0].sum(dim=1) - reference
        chosen, rejected = ratios.chunk(2)
        weights = torch.tensor([one.weight for one in some])
        loss = dpo_loss(chosen, rejected, weights, self.settings.beta)
        torch.autograd.backward(loss)
        norm = self._tuner.step(self.step)
        self.step += 1
        return {
            "step": self.step,
            "loss": float(loss.detach()),
            "accuracy": float((chosen > rejected).float().mean()),
            "margin": float(self.settings.beta * (chosen - rejected).detach().mean()),
            "grad_norm": norm,
            "positions": int(batch.inputs.size),
            "seconds": time.perf_counter() - started,
        }

    def save(self, run: Run) -> None:
        Checkpoint.write(run.checkpoints, self.step, self.weights, self._tuner.state)

    def resume(self, checkpoint: Checkpoint) -> None:
        restore(self.weights, checkpoint.load("weights"), checkpoint.path)
        restore(self._tuner.state, checkpoint.load("optimizer"), checkpoint.path)
        self.step = checkpoint.step
