"""Joint fits of several groups (arms, mixtures, modalities, token ratios), partially pooled.

Information about the floor is worth more than anything else (design/forecasting.md, lesson 2),
and groups of one recipe have similar exponents and floors. So each group is fitted with a prior
that the others have sharpened: a normal hierarchical model of ln b and of the logit of the
floor's share, groups scattering about their mean by `BETWEEN` (Gelman et al. 2013, Bayesian Data
Analysis, section 5.4, with the scatter fixed: few tables have groups enough to learn it). Levels
are never pooled: groups may be losses on different data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from foresight.forecast.backtest import Stack, fit_stack
from foresight.forecast.draws import Array
from foresight.forecast.law import exponent
from foresight.forecast.priors import LEARNED, Prior
from foresight.forecast.rungs import Rungs

BETWEEN = (0.20, 0.50)
"""Standard deviation between groups of ln b and of logit(c / L). Set by hand: half of it narrowed
intervals a little more and erred no less (LOG.md)."""


def pooled_priors(ladders: Mapping[str, Rungs], prior: Prior = LEARNED) -> dict[str, Prior]:
    """For each group the prior that the *other* groups leave it with.

    A floor's share is compared at the compute of the group's own largest rung. Groups with fewer
    than 3 rungs teach nothing.
    """
    stacks = {name: fit_stack(rungs, prior) for name, rungs in ladders.items() if len(rungs) >= 3}
    return {
        name: _sharpened(
            prior,
            [_evidence(stack, float(rungs.x[-1]), prior)
             for other, stack in stacks.items() if other != name],
        )
        for name, rungs in ladders.items()
    }  # fmt: skip


def _moments(prior: Prior) -> tuple[Array, Array]:
    """Mean and variance of (ln b, logit share) under a prior."""
    p, q = prior.floor_alpha, prior.floor_beta
    # Moments of the logit of a Beta: digamma and trigamma differences, to O(1/n^3).
    mean = math.log(p - 0.5) - math.log(q - 0.5) if min(p, q) > 1 else math.log(p / q)
    variance = 1.0 / p + 1.0 / q + 0.5 / p**2 + 0.5 / q**2
    return (
        np.array([math.log(prior.exponent_median), mean]),
        np.array([prior.exponent_sd_log**2, variance]),
    )


def _evidence(stack: Stack, x: float, prior: Prior) -> tuple[Array, Array]:
    """What a group's runs alone say of (ln b, logit share at ln C = x): means and variances
    (infinite where they say nothing), the prior's part taken out of the posterior."""
    draws, weights = [], []
    for one, weight in zip(stack.posteriors, stack.weights, strict=True):
        if one.form.floor:
            share = np.clip(one.floor_shares(x), 1e-6, 1 - 1e-6)
            draws.append(np.stack([np.log(exponent(one.theta)), np.log(share / (1 - share))]))
            weights.append(np.full(len(share), weight))
    values, mass = np.concatenate(draws, axis=1), np.concatenate(weights)
    mean = values @ mass / mass.sum()
    variance = (values - mean[:, None]) ** 2 @ mass / mass.sum()
    middle, spread = _moments(prior)
    precision = np.maximum(1.0 / variance - 1.0 / spread, 1e-9)
    return (mean / variance - middle / spread) / precision, 1.0 / precision


def _sharpened(prior: Prior, evidence: list[tuple[Array, Array]]) -> Prior:
    mean, variance = _moments(prior)
    precision = 1.0 / variance
    weighted = mean * precision
    for found, uncertainty in evidence:
        weight = 1.0 / (uncertainty + np.square(BETWEEN))
        precision, weighted = precision + weight, weighted + weight * found
    mean, variance = weighted / precision, 1.0 / precision
    share = 1.0 / (1.0 + math.exp(-float(mean[1])))
    # A Beta whose logit has about this variance: var(logit) = 1/p + 1/q.
    size = 1.0 / (float(variance[1]) * share * (1.0 - share))
    return replace(
        prior,
        exponent_median=math.exp(float(mean[0])),
        exponent_sd_log=math.sqrt(float(variance[0])),
        floor_alpha=share * size,
        floor_beta=(1.0 - share) * size,
    )
