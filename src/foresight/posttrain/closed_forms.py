"""What a KL-regularised objective leads to, exactly: what training can be held against.

max_pi E_pi[r] - beta KL(pi || ref) has the optimum pi* ~ ref exp(r / beta) and the value
beta log sum ref exp(r / beta) (e.g. Korbak et al. 2022; Rafailov et al. 2023, appendix A.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]


def optimum(reference: Floats, rewards: Floats, beta: float) -> Floats:
    """The best policy (..., K), of reference probabilities and rewards (..., K)."""
    with np.errstate(divide="ignore"):
        logits = np.log(reference) + rewards / beta
    best: Floats = np.exp(logits - logsumexp(logits, axis=-1, keepdims=True))
    return best


def objective(policy: Floats, reference: Floats, rewards: Floats, beta: float) -> Floats:
    """E[r] - beta KL of policies (..., K); in the rewards' unit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(policy > 0, policy * (np.log(policy) - np.log(reference)), 0.0).sum(axis=-1)
    value: Floats = (policy * rewards).sum(axis=-1) - beta * kl
    return value


def best_value(reference: Floats, rewards: Floats, beta: float) -> Floats:
    """The objective of the optimum, (...)."""
    with np.errstate(divide="ignore"):
        value: Floats = beta * logsumexp(np.log(reference) + rewards / beta, axis=-1)
    return value


def calibration_after(reference: Floats, truth: Floats, beta: float) -> Floats:
    """Probabilities (questions, K) after training on answers with the reward 1[answer = a fresh
    draw of the truth]: its expectation is `truth` (questions, K), so that the optimum is
    ref exp(truth / beta), surer the smaller beta."""
    return optimum(reference, truth, beta)
