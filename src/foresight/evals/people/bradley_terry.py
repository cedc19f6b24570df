"""Strengths of several models from comparisons of two at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.sparse.csgraph import connected_components

from foresight.evals.statistics import Floats, cluster_codes, t_quantile

ELO = 400 / np.log(10.0)
"""Elo points per unit of strength."""


@dataclass(frozen=True)
class Match:
    """`score`: share of a win of the first, .5 for a tie; matches of one cluster (a prompt) are not
    independent."""

    first: str
    second: str
    score: float
    cluster: Hashable


@dataclass(frozen=True)
class Strength:
    """Log-odds of being preferred to a model of average strength, 95 % interval, Elo points."""

    model: str
    strength: float
    low: float | None
    high: float | None
    elo: float


@dataclass(frozen=True)
class BradleyTerry:
    """Strongest first. `unbounded`: the likelihood has no maximum, for some models never lost to
    the others; a tie was added between every two that met."""

    strengths: tuple[Strength, ...]
    unbounded: bool
    matches: int
    clusters: int


def bradley_terry(matches: Sequence[Match]) -> BradleyTerry | None:
    """P(first preferred) = sigmoid(b_first - b_second), b summing to zero (Bradley and Terry 1952);
    a tie is half a win of each, as in Chatbot Arena (Chiang et al. 2024).

    Maximum likelihood; intervals from the sandwich covariance with residuals added up within
    clusters, and Student's t of clusters - 1. The maximum is finite if and only if, however the
    models are split in two, each part has won against the other (Ford 1957). Where it is not, half
    a win and half a loss are added between every two models that met (for two models: Haldane's
    logit of (wins + .5) / (n + 1)), and intervals come from the information of that likelihood.
    None if the models fall into parts that never met.
    """
    names = sorted({name for one in matches for name in (one.first, one.second)})
    if len(names) < 2:
        return None
    first = np.array([names.index(one.first) for one in matches])
    second = np.array([names.index(one.second) for one in matches])
    score = np.array([one.score for one in matches])
    wins = np.zeros((len(names), len(names)))
    np.add.at(wins, (first, second), score)
    np.add.at(wins, (second, first), 1.0 - score)
    met = wins + wins.T
    if connected_components(met > 0, directed=False)[0] > 1:
        return None
    unbounded = connected_components(wins > 0, directed=True, connection="strong")[0] > 1
    if unbounded:
        wins = wins + 0.5 * (met > 0)
    strengths = _maximum(wins)
    bread = np.linalg.pinv(_information(wins, strengths))
    codes = cluster_codes([one.cluster for one in matches])
    clusters = int(codes.max()) + 1
    covariance = bread
    if not unbounded:
        # The gradient of every cluster's likelihood.
        gradients = np.zeros((clusters, len(names)))
        residuals = score - special.expit(strengths[first] - strengths[second])
        np.add.at(gradients, (codes, first), residuals)
        np.add.at(gradients, (codes, second), -residuals)
        covariance = bread @ gradients.T @ gradients @ bread * (clusters / max(clusters - 1, 1))
    half = t_quantile(clusters - 1) * np.sqrt(np.diag(covariance)) if clusters > 1 else None
    found = [
        Strength(
            name,
            float(at),
            None if half is None else float(at - half[index]),
            None if half is None else float(at + half[index]),
            float(ELO * at),
        )
        for index, (name, at) in enumerate(zip(names, strengths, strict=True))
    ]
    found.sort(key=lambda one: -one.strength)
    return BradleyTerry(tuple(found), unbounded, len(matches), clusters)


def _maximum(wins: Floats) -> Floats:
    """Newton's method, halving steps that do not climb; the log-likelihood is concave."""
    met = wins + wins.T

    def climbed(at: Floats) -> float:
        return float((wins * special.log_expit(at[:, None] - at[None, :])).sum())

    at = np.zeros(len(wins))
    for _ in range(100):
        gradient = (wins - met * special.expit(at[:, None] - at[None, :])).sum(1)
        step = np.linalg.pinv(_information(wins, at)) @ gradient
        while climbed(at + step) < climbed(at) and np.abs(step).max() > 1e-12:
            step /= 2
        at = at + step
        if np.abs(step).max() < 1e-10:
            break
    centred: Floats = at - at.mean()
    return centred


def _information(wins: Floats, at: Floats) -> Floats:
    """Minus the second derivatives: a graph Laplacian, whose null space is a common shift."""
    chance = special.expit(at[:, None] - at[None, :])
    weight = (wins + wins.T) * chance * (1.0 - chance)
    information: Floats = np.diag(weight.sum(1)) - weight
    return information
