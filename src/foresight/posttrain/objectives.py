"""Losses of post-training as pure functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_LOG_RATIO = 20.0
"""Log-ratios are cut here: beyond it exp overflows, and the clip decides anyway."""


@dataclass(frozen=True)
class Surrogate:
    """`loss`: sum over tokens, to be divided by how many there are in the whole batch. Sums of
    what is logged, without gradient: clipped tokens, the KL to the old policy (k3), the ratio."""

    loss: Tensor
    clipped: Tensor
    approx_kl: Tensor
    ratio: Tensor


def ppo_loss(
    logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> Surrogate:
    """The clipped surrogate of Schulman et al. 2017 (eq. 7), all (B, T)."""
    log_ratio = ((logprobs - old) * mask).clamp(-_LOG_RATIO, _LOG_RATIO)
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    with torch.no_grad():
        held = ((clipped > unclipped) * mask).sum()
        approx_kl = ((ratio - 1 - log_ratio) * mask).sum()
    return Surrogate((torch.maximum(unclipped, clipped) * mask).sum(), held, approx_kl,
                     (ratio.detach() * mask).sum())  # fmt: skip


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Half the larger squared error of the value and of the value held near the old one; summed."""
    near = torch.clamp(values, old - clip, old + clip)
    errors = torch.maximum((values - returns).square(), (near - returns).square())
    return 0.5 * (errors * mask).sum()


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, weights: Tensor) -> Tensor:
    """-log sigmoid(chosen - rejected) of (n,), weighted mean (Ouyang et al. 2022, eq. 1)."""
    return -(F.logsigmoid(chosen - rejected) * weights).sum() / weights.sum()


def dpo_loss(chosen: Tensor, rejected: Tensor, weights: Tensor, beta: float) -> Tensor:
    """Of log-ratios (n,) of policy over reference, whole answers (Rafailov et al. 2023, eq. 7)."""
    return -(F.logsigmoid(beta * (chosen - rejected)) * weights).sum() / weights.sum()
