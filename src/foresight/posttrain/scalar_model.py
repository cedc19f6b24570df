"""A decoder that gives a number at each token: reward models, critics."""

from __future__ import annotations

import torch
from torch import Tensor

from foresight.data.loader import Batch
from foresight.model.decoder import Decoder
from foresight.recipe import RunSpec
from foresight.runs import sha256_text

HEAD, SHIFT, GAIN = "scalar_head", "scalar_shift", "scalar_gain"


class ScalarModel:
    """gain (h w - shift) of the final hidden state h (d,) at each token.

    `weights`: all that is stored, by name: the decoder's (its head of tokens left out), w (d,),
    and shift and gain (1,), which are not trained. w starts normal with variance 1 / (d + 1)
    (Stiennon et al. 2020, appendix B.1).
    """

    def __init__(self, spec: RunSpec, seed: int = 0) -> None:
        self.spec = spec
        self.trunk = Decoder(spec)
        width = spec.shape.width
        generator = torch.Generator().manual_seed(int(sha256_text(f"scalar/{seed}")[:15], 16))
        head = torch.randn(width, generator=generator) * (width + 1) ** -0.5
        self.head = head.requires_grad_()
        self.shift, self.gain = torch.zeros(1), torch.ones(1)

    @property
    def trained(self) -> dict[str, Tensor]:
        names = [name for name in self.trunk.rules if name != "lm_head"]
        return {name: self.trunk.weight(name) for name in names} | {HEAD: self.head}

    @property
    def weights(self) -> dict[str, Tensor]:
        return self.trained | {SHIFT: self.shift, GAIN: self.gain}

    @torch.no_grad()
    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take over what another model has under the same names: a policy's trunk, or all of a
        reward model, of which a critic then is a copy."""
        for name, weight in self.weights.items():
            if name in weights:
                weight.copy_(weights[name])

    def values(self, batch: Batch) -> Tensor:
        """(B, T): at each position, after reading its input token."""
        inputs = self.trunk.inputs(batch)
        # The factor of the logits undone: a head of its own has no use for it.
        hidden = self.trunk.hidden(inputs) / self.trunk.multipliers.logits
        values: Tensor = self.gain * (hidden.float() @ self.head - self.shift)
        return values.view(batch.inputs.shape)
