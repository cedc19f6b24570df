"""Answered multiple-choice questions as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.evals.record import Record, cluster
from foresight.evals.statistics import cluster_codes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Choices:
    """Of n attempts with up to K options each.

    names: (item, sample) of each. logprobs: (n, K) nats, -inf where there is no such option.
    offered: (n, K), whether there is. target: (n,) index of the right option. weight: (n,).
    cluster: (n,) numbers from 0 on; attempts of one cluster are not independent.
    """

    names: tuple[tuple[str, int], ...]
    logprobs: Floats
    offered: NDArray[np.bool_]
    target: Ints
    weight: Floats
    cluster: Ints

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> Choices:
        """Some of the attempts, in this order."""
        at = np.asarray(rows, dtype=np.intp)
        clusters = np.unique(self.cluster[at], return_inverse=True)[1]
        return Choices(
            tuple(self.names[row] for row in rows),
            self.logprobs[at],
            self.offered[at],
            self.target[at],
            self.weight[at],
            clusters,
        )

    def probabilities(self, temperature: Floats | float = 1.0) -> Floats:
        """(n, K) softmax of log-probabilities / temperature (a number, or one per attempt): the
        probability of each option given that one of them is chosen. Options that are all
        impossible are equally likely."""
        scaled = self.logprobs / np.reshape(temperature, (-1, 1))
        best = scaled.max(axis=1, keepdims=True)
        scaled = np.where(np.isfinite(best), scaled, np.where(self.offered, 0.0, -np.inf))
        powers = np.exp(scaled - np.where(np.isfinite(best), best, 0.0))
        shares: Floats = powers / powers.sum(axis=1, keepdims=True)
        return shares

    @property
    def right(self) -> Floats:
        """(n, K): 1 for the right option, else 0."""
        hits: Floats = (np.arange(self.logprobs.shape[1]) == self.target[:, None]).astype(float)
        return hits


def choices_of(records: Sequence[Record]) -> Choices | None:
    """Those records that hold a log-probability of each of two options or more; None if none does.
    Raises UserError naming the item whose fields do not fit."""
    found = [
        one
        for one in records
        if len(one.choice_logprobs) > 1
        and one.score is not None
        and one.weight > 0
        # Several right options have no one confidence.
        and not isinstance(one.target, list | tuple)
    ]
    if not found:
        return None
    for one in found:
        _check(one)
    most = max(len(one.choice_logprobs) for one in found)
    counts = np.array([len(one.choice_logprobs) for one in found])
    return Choices(
        names=tuple((one.item, one.sample) for one in found),
        logprobs=np.array(
            [[*one.choice_logprobs, *[-math.inf] * (most - len(one.choice_logprobs))]
             for one in found], float
        ),
        offered=np.arange(most) < counts[:, None],
        target=np.array([one.target for one in found], dtype=np.intp),
        weight=np.array([one.weight for one in found], float),
        cluster=cluster_codes([cluster(one) for one in found]),
    )  # fmt: skip


def _check(record: Record) -> None:
    where = f"task {record.task}, item {record.item}"
    for at, value in enumerate(record.choice_logprobs):
        if not isinstance(value, (int, float)) or math.isnan(value) or value == math.inf:
            raise UserError(f"{where}: choice_logprobs[{at}] is {value!r}; expected nats, a number")
    options = len(record.choice_logprobs)
    if not isinstance(record.target, int) or not 0 <= record.target < options:
        raise UserError(
            f"{where}: target is {record.target!r}; expected the index of one of {options} choices"
        )


def shared(first: Choices, second: Choices) -> tuple[Choices, Choices]:
    """Both on the attempts that both hold, with clusters and weights of the first. Raises UserError
    if they are fewer than two."""
    rows = {name: at for at, name in enumerate(second.names)}
    kept = [at for at, name in enumerate(first.names) if name in rows]
    if len(kept) < 2:
        raise UserError(
            f"{len(kept)} items in common with log-probabilities of their choices on both sides; "
            f"expected records of the same task"
        )
    one = first.take(kept)
    other = second.take([rows[name] for name in one.names])
    return one, Choices(
        other.names, other.logprobs, other.offered, other.target, one.weight, one.cluster
    )
