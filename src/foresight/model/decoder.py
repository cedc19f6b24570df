"""The decoder: pre-norm, RoPE, SwiGLU, no biases; images enter as patches among the tokens.

After the multipliers are folded into `o_proj`, `down_proj` and `lm_head`, and each head's
rows of `q_proj` and `k_proj` are permuted, the text path is Hugging Face's Llama
(Qwen3 with `qk_norm`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foresight.data.loader import Batch
from foresight.data.tokenizer import IMG
from foresight.model.kernels import attention, linear_cross_entropy, rms_norm, rotary
from foresight.model.parametrisation import TensorRule, compute_dtype, multipliers, tensor_rules
from foresight.recipe import RunSpec
from foresight.runs import sha256_text


@dataclass(frozen=True)
class Inputs:
    """A batch on the device.

    ids (B, T) int64; targets (B T,) int64; weights (B T,) float32; turn (B T, d / 2) complex64,
    the rotations of RoPE; mask (B, 1, T, T) to add to the scores, or None for plain
    causal rows; image_at (m,) flat positions of the patches; patches (m, 3 p^2) float32.
    """

    ids: Tensor
    targets: Tensor
    weights: Tensor
    turn: Tensor
    mask: Tensor | None
    image_at: Tensor
    patches: Tensor


def initial_weight(name: str, rule: TensorRule, seed: int) -> Tensor:
    """A weight's start, a function of (seed, name) alone: other tensors do not shift it."""
    generator = torch.Generator().manual_seed(int(sha256_text(f"{seed}/{name}")[:15], 16))
    weight: Tensor = torch.randn(rule.shape, generator=generator) * rule.init_std
    return weight


class Decoder(nn.Module):
    """Weights live in one dictionary under the names of `tensor_rules`, dots as slashes."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__()
        self.spec = spec
        self.rules = tensor_rules(spec)
        self.multipliers = multipliers(spec)
        self.dtype = compute_dtype(spec)
        self.weights = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(initial_weight(name, rule, spec.seed))
                for name, rule in self.rules.items()
            }
        )
        half = spec.shape.head_dim // 2
        frequencies = spec.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(spec.shape.context, dtype=torch.float64), frequencies)
        turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        self.turns: Tensor
        self.register_buffer("turns", turns.repeat(1, spec.shape.heads), persistent=False)
        self.causal: Tensor
        one_segment = torch.zeros(1, spec.shape.context, dtype=torch.int64)
        self.register_buffer("causal", causal_mask(one_segment)[0, 0], persistent=False)

    def matrix(self, name: str) -> Tensor:
        """A weight as the products use it, (fan_in, fan_out), in the compute precision."""
        return self.weight(name).to(self.dtype).T

    def weight(self, name: str) -> Tensor:
        """A weight as it is stored and updated, (fan_out, fan_in), float32."""
        weight: Tensor = self.weights[name.replace(".", "/")]
        return weight

    @property
    def named_weights(self) -> dict[str, Tensor]:
        """Every weight by its name in `rules`."""
        return {name: self.weight(name) for name in self.rules}

    def copy(self) -> Decoder:
        """Another one with the same weights."""
        other = Decoder(self.spec).to(self.turns.device)
        other.load_state_dict(self.state_dict())
        return other

    def inputs(self, batch: Batch) -> Inputs:
        """Move a batch to the model's device and derive rotations and mask."""
        device = self.turns.device
        ids = torch.from_numpy(batch.inputs).to(device)
        positions = torch.from_numpy(batch.positions).to(device)
        segments = torch.from_numpy(batch.segments).to(device)
        pixels = torch.from_numpy(np.asarray(batch.patches)).to(device)
        return Inputs(
            ids=ids,
            targets=torch.from_numpy(batch.targets).to(device).flatten(),
            weights=torch.from_numpy(batch.weights).to(device).flatten(),
            turn=self.turns[positions.flatten()],
            mask=None if bool((segments == 0).all()) else causal_mask(segments),
            image_at=(ids.flatten() == IMG).nonzero()[:, 0],
            patches=pixels.float().sub_(127.5).mul_(1 / 64.0),
        )

    def embed(self, inputs: Inputs) -> Tensor:
        """Residual stream before the first block, (B T, d)."""
        x = F.embedding(inputs.ids.flatten(), self.weight("embed_tokens"))
        if not len(inputs.image_at):
            return x
        picture = rms_norm(inputs.patches.to(self.dtype) @ self.matrix("image.patch_proj"))
        picture = F.gelu(picture @ self.matrix("image.linear_1"))
        picture = picture @ self.matrix("image.linear_2")
        return x.index_copy(0, inputs.image_at, picture.float())

    def attention(self, x: Tensor, inputs: Inputs, at: str) -> Tensor:
        """Causal attention within segments, (B T, d) to (B T, d)."""
        s = self.spec.shape
        batch, length = inputs.ids.shape
        split = (batch, length, s.heads, s.head_dim)
        q = x @ self.matrix(at + "q_proj")
        k = x @ self.matrix(at + "k_proj")
        v = x @ self.matrix(at + "v_proj")
        if self.spec.qk_norm:
            q = rms_norm(q.view(-1, s.head_dim)).view_as(q)
            k = rms_norm(k.view(-1, s.head_dim)).view_as(k)
        q, k = rotary(q, inputs.turn), rotary(k, inputs.turn)
        q, k, v = (one.view(split).transpose(1, 2) for one in (q, k, v))
        scale = (1.2 if self.spec.qk_norm else 1.0) / math.sqrt(s.head_dim)
        if x.dtype == torch.bfloat16 and x.device.type == "cpu":
            mask = self.causal[:length, :length] if inputs.mask is None else inputs.mask
            mixed = attention(q, k, v, mask, scale)
        else:
            mixed = F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=None if inputs.mask is None else inputs.mask.to(x.dtype),
                is_causal=inputs.mask is None,
                scale=scale,
            )
        return mixed.transpose(1, 2).reshape(-1, s.width) @ self.matrix(at + "o_proj")

    def feed_forward(self, x: Tensor, at: str) -> Tensor:
        gate = x @ self.matrix(at + "gate_proj")
        up = x @ self.matrix(at + "up_proj")
        return (F.silu(gate) * up) @ self.matrix(at + "down_proj")

    def block(self, x: Tensor, inputs: Inputs, layer: int) -> Tensor:
        """Attention, then feed-forward, each on the normalised stream and added to it."""
        at, residual = f"layers.{layer}.", self.multipliers.residual
        x = torch.add(x, self.attention(rms_norm(x, self.dtype), inputs, at), alpha=residual)
        return torch.add(x, self.feed_forward(rms_norm(x, self.dtype), at), alpha=residual)

    def hidden(self, inputs: Inputs) -> Tensor:
        """Final normalised residual stream times the logit multiplier, (B T, d)."""
        x = self.embed(inputs)
        for layer in range(self.spec.shape.depth):
            x = self.block(x, inputs, layer)
        return rms_norm(x, self.dtype) * self.multipliers.logits

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """(sum of weighted nats, nats of each position (B T,))."""
        return linear_cross_entropy(
            self.hidden(inputs), self.matrix("lm_head").T, inputs.targets, inputs.weights
        )

    def logits(self, inputs: Inputs) -> Tensor:
        """(B T, V)."""
        return (self.hidden(inputs) @ self.matrix("lm_head")).float()


def causal_mask(segments: Tensor) -> Tensor:
    """Scores to add, (B, 1, T, T): 0 for itself and earlier in the same segment, else -inf."""
    allowed = (segments[:, None, :] == segments[:, :, None]).tril_()
    mask = torch.zeros(allowed.shape, device=segments.device)
    return mask.masked_fill_(~allowed, -torch.inf)[:, None]
