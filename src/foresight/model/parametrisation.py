"""How every tensor scales: one rule per tensor, as a function of width, depth, batch and horizon.

`complete` is CompleteP (Dey et al. 2025) for AdamW and the spectral condition (Yang, Simon &
Bernstein 2023; Jordan et al. 2024) for Muon. With m_d = width / base width, m_L = depth / base
depth, and the rates of `RunSpec`, which already follow batch and horizon:

| role           | initial sd     | multiplier    | learning rate    | decay    | epsilon         |
|----------------|----------------|---------------|------------------|----------|-----------------|
| embedding      | 1              | 1             | lr / sqrt(m_d)   | 0        | eps / m_d       |
| input (Muon)   | 1/sqrt(fan_in) | 1             | as hidden        | as hidden| -               |
| input (AdamW)  | 1/sqrt(fan_in) | 1             | embedding's / sqrt(fan_in) | 0 | eps / m_d    |
| hidden (Muon)  | 1/sqrt(fan_in) | branch: 1/m_L | lr sqrt(out/in)  | wd / sqrt| -               |
| hidden (AdamW) | 1/sqrt(fan_in) | branch: 1/m_L | lr / m_d         | wd m_d   | eps / (m_d m_L) |
| head           | 0              | logits: 1/m_d | head_lr          | 0        | eps             |

The square root in the embedding's rate is measured, not derived: with a rate constant in
width the optimum fell by an octave from width 32 to 128 (`LOG.md`); Hayou & Liu 2025 expect
an exponent between 0 and 1/2 where the vocabulary is much larger than the width.

Input is the patch projection. Pixels of a patch are nearly equal, so its gradient is nearly of
rank one, and a step of the embedding's size per entry buries the start under it; an
orthogonalised step moves every direction alike, and pictures are read at half the compute
(`LOG.md`). The spectral condition holds for it as for a hidden matrix.

`standard` is what one gets without thinking about width: sd 0.02 everywhere, one learning rate
for all tensors, no multipliers. It is kept as the negative control of the transfer tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from foresight.recipe import RunSpec

Role = Literal["embedding", "input", "hidden", "head"]

_HIDDEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class TensorRule:
    """What the parametrisation fixes for one weight of shape (fan_out, fan_in)."""

    role: Role
    shape: tuple[int, int]
    init_std: float
    optimizer: Literal["muon", "adamw"]
    lr: float
    weight_decay: float
    epsilon: float


@dataclass(frozen=True)
class Multipliers:
    """Fixed factors of the forward pass."""

    residual: float
    """On the output of every attention and feed-forward branch."""
    logits: float
    """On the logits."""


def compute_dtype(spec: RunSpec) -> torch.dtype:
    """Type of the matrix products; everything stored is float32."""
    return torch.float32 if spec.precision == "fp32" else torch.bfloat16


def multipliers(spec: RunSpec) -> Multipliers:
    if spec.parametrisation == "standard":
        return Multipliers(residual=1.0, logits=1.0)
    return Multipliers(
        residual=spec.base_depth / spec.shape.depth, logits=spec.base_width / spec.shape.width
    )


def tensor_shapes(spec: RunSpec) -> dict[str, tuple[int, int]]:
    """Every weight of the model by name, (fan_out, fan_in); names follow Hugging Face's Llama."""
    s = spec.shape
    d, f = s.width, s.ffn
    shapes = {
        "embed_tokens": (s.vocab, d),
        "image.patch_proj": (d, 3 * s.patch**2),
        "image.linear_1": (d, d),
        "image.linear_2": (d, d),
    }
    for layer in range(s.depth):
        at = f"layers.{layer}."
        shapes |= {at + name: (d, d) for name in _HIDDEN[:4]}
        shapes |= {at + "gate_proj": (f, d), at + "up_proj": (f, d), at + "down_proj": (d, f)}
    return shapes | {"lm_head": (s.vocab, d)}


def _role(name: str) -> Role:
    if name == "embed_tokens":
        return "embedding"
    if name == "image.patch_proj":
        return "input"
    return "head" if name == "lm_head" else "hidden"


def tensor_rules(spec: RunSpec) -> dict[str, TensorRule]:
    """The rule of every weight of the model that `spec` describes."""
    make = _standard_rule if spec.parametrisation == "standard" else _complete_rule
    return {name: make(spec, _role(name), shape) for name, shape in tensor_shapes(spec).items()}


def _standard_rule(spec: RunSpec, role: Role, shape: tuple[int, int]) -> TensorRule:
    return TensorRule(
        role,
        shape,
        init_std=0.02,
        optimizer="adamw",
        lr=spec.matrix_lr,
        weight_decay=spec.weight_decay if role == "hidden" else 0.0,
        epsilon=1e-8,
    )


def _complete_rule(spec: RunSpec, role: Role, shape: tuple[int, int]) -> TensorRule:
    m_d = spec.shape.width / spec.base_width
    m_l = spec.shape.depth / spec.base_depth
    fan_out, fan_in = shape
    if role == "embedding" or (role == "input" and spec.matrix == "adamw"):
        std = 1.0 if role == "embedding" else fan_in**-0.5
        rate = std * spec.embedding_lr * m_d**-0.5
        return TensorRule(role, shape, std, "adamw", rate, 0.0, spec.epsilon / m_d)
    if role == "head":
        return TensorRule(role, shape, 0.0, "adamw", spec.head_lr, 0.0, spec.epsilon)
    std = fan_in**-0.5
    if spec.matrix == "muon":
        lr = spec.matrix_lr * (fan_out / fan_in) ** 0.5
        # Decay is coupled to the rate: the product that matters is the same for every matrix.
        decay = spec.weight_decay * spec.matrix_lr / lr
        return TensorRule(role, shape, std, "muon", lr, decay, 0.0)
    return TensorRule(
        role,
        shape,
        std,
        "adamw",
        spec.matrix_lr / m_d,
        spec.weight_decay * m_d,
        spec.epsilon / (m_d * m_l),
    )
