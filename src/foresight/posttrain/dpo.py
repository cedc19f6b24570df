"""Direct preference optimisation (Rafailov et al. 2023): the baseline without a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from foresight.model.decoder import Decoder
from foresight.posttrain.objectives import dpo_loss
from foresight.posttrain.pairs import EncodedPair, PairOrder, sides_of
from foresight.posttrain.sequences import padded, target_logprobs
from foresight.posttrain.stage import Stage


class DPOSettings(BaseModel):
    """`beta`: weight of the KL that the closed form of the preference model implies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beta: Annotated[float, Field(gt=0)] = 0.1
    lr: Annotated[float, Field(gt=0)] = 1e-4
    batch: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0


class DPO(Stage):
    """`reference` is not changed."""

    def __init__(
        self,
        policy: Decoder,
        reference: Decoder,
        pairs: Sequence[EncodedPair],
        settings: DPOSettings,
    ) -> None:
        self.policy, self.reference, self._pairs, self.settings = policy, reference, pairs, settings
        self._order = PairOrder(len(pairs), settings.batch, settings.epochs, settings.seed)
        super().__init__(policy.named_weights, self._order.steps, settings.lr)

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        sides, weights = sides_of([self._pairs[at] for at in self._order.at(self.step)])
        batch = padded(sides, self.policy.spec.shape.context)
        with torch.no_grad():
            reference = target_logprobs(self.reference, batch)[0].sum(dim=1)
        ratios = target_logprobs(self.policy, batch)[0].sum(dim=1) - reference
        chosen, rejected = ratios.chunk(2)
        beta = self.settings.beta
        return dpo_loss(chosen, rejected, weights, beta), {
            "accuracy": float((chosen > rejected).float().mean()),
            "margin": float(beta * (chosen - rejected).detach().mean()),
            "positions": int(batch.inputs.size),
        }
