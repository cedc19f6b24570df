"""What each token of an answer was worth: rewards per token, advantages, returns. Pure functions.

All arrays are (B, T): answer b, its token t; `mask` is 1 on tokens that the policy drew, up to and
with the end mark, and 0 on padding, which no result depends on.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kl_estimates(logprobs: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """(k1, k3) of every drawn token: log p - log q, unbiased, and q/p - 1 - log q/p, which is never
    negative (Schulman 2020, "Approximating KL divergence")."""
    ratio = reference - logprobs
    return -ratio, ratio.exp() - 1 - ratio


def token_rewards(
    scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, beta: float
) -> Tensor:
    """-beta k1 on every token and the score (B,) on the last one (Ziegler et al. 2019, eq. 2).

    The last token is the last that was drawn: the end mark, not the padding after it.
    """
    rewards = -beta * kl_estimates(logprobs, reference)[0] * mask
    last = mask.cumsum(dim=1).argmax(dim=1, keepdim=True)
    return rewards.scatter_add(1, last, scores[:, None])


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """(advantages, returns) by generalised advantage estimation (Schulman et al. 2016, eq. 16).

    Returns are advantages + values, before any whitening. The mask is part of the recursion: what
    padding holds changes nothing.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        inside = mask[:, t + 1] if t + 1 < rewards.shape[1] else torch.zeros_like(following)
        after = values[:, t + 1] * inside if t + 1 < rewards.shape[1] else 0.0
        delta = rewards[:, t] + gamma * after - values[:, t]
        following = (delta + gamma * lam * following * inside) * mask[:, t]
        advantages[:, t] = following
    return advantages, (advantages + values) * mask


def whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """Mean 0 and variance 1 over the masked ones of the whole batch; 0 elsewhere."""
    count = mask.sum()
    mean = (values * mask).sum() / count
    variance = ((values - mean).square() * mask).sum() / count
    white = (values - mean) * torch.rsqrt(variance + 1e-8)
    return (white if shift_mean else white + mean) * mask


def group_advantages(scores: Tensor, leave_one_out: bool) -> Tensor:
    """Advantage (B,) of each answer among those to its prompt: scores (prompts, n) less the mean
    of the others (RLOO: Kool et al. 2019, Ahmadian et al. 2024), or less the group's mean and over
    its standard deviation (GRPO: Shao et al. 2024, eq. 3). Raises ValueError for groups of one."""
    n = scores.shape[1]
    if n < 2:
        raise ValueError("group advantages need two answers or more to each prompt")
    centred = scores - scores.mean(dim=1, keepdim=True)
    if leave_one_out:
        return (centred * n / (n - 1)).flatten()
    return (centred / (scores.std(dim=1, keepdim=True) + 1e-6)).flatten()
