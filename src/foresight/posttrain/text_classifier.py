"""A text classifier of seconds: hashed character n-grams, multinomial logistic regression.

A text is several fields (an answer, its opening, the question); each has n-grams of its own, and
unit length, so that a long field does not outweigh a short one. The objective is convex, and
L-BFGS starts at zero: the seed decides only which n-grams share a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import logsumexp, softmax

from foresight.errors import UserError
from foresight.runs import read_json, write_atomic, write_json

Floats = NDArray[np.float64]
_PRIME = np.uint64(0x100000001B3)
_EDGE = b"\x02"
"""Stands before and behind a field: `begins with sorry` is an n-gram, too."""


@dataclass(frozen=True)
class TextSettings:
    """`l2`: weight of the squared weights beside the mean log-loss."""

    smallest: int = 2
    largest: int = 5
    bits: int = 16
    l2: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """`weights` (2^bits + 1, labels): the last row is the intercept, which is not punished."""

    labels: tuple[str, ...]
    weights: Floats
    settings: TextSettings

    @classmethod
    def fit(
        cls, texts: Sequence[Sequence[str]], labels: Sequence[str], settings: TextSettings
    ) -> TextClassifier:
        """Raises UserError unless at least two labels occur."""
        names = tuple(sorted(set(labels)))
        if len(names) < 2 or len(texts) != len(labels):
            raise UserError(
                f"{len(texts)} texts with {len(labels)} labels ({', '.join(names) or 'none'}): a "
                f"classifier needs a label for each text, and two different ones"
            )
        x = _features(texts, settings)
        truth = np.array([[label == name for name in names] for label in labels], float)
        # Only n-grams that occur have a gradient; the others' weights are zero.
        used = np.unique(x.indices)
        x = x[:, used]

        def loss(flat: Floats) -> tuple[float, Floats]:
            w = flat.reshape(len(used), len(names))
            nats = x @ w
            nats -= logsumexp(nats, axis=1, keepdims=True)
            gradient = x.T @ (np.exp(nats) - truth) / len(truth)
            free = w * (used < 2**settings.bits)[:, None]
            value = -(truth * nats).sum() / len(truth) + settings.l2 / 2 * (free * free).sum()
            return value, (gradient + settings.l2 * free).ravel()

        start = np.zeros(len(used) * len(names))
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
        weights = np.zeros((2**settings.bits + 1, len(names)))
        weights[used] = found.x.reshape(len(used), len(names))
        return cls(names, weights, settings)

    def probabilities(self, texts: Sequence[Sequence[str]]) -> Floats:
        """(n, labels)."""
        found: Floats = softmax(_features(texts, self.settings) @ self.weights, axis=1)
        return found

    def save(self, folder: Path) -> None:
        """weights.safetensors and classifier.json."""
        write_atomic(folder / "weights.safetensors", save({"weights": self.weights}))
        about = {"labels": list(self.labels), "settings": asdict(self.settings)}
        write_json(folder / "classifier.json", about)

    @classmethod
    def load(cls, folder: Path) -> TextClassifier:
        """What `save` wrote. Raises UserError if it is not whole."""
        about = read_json(folder / "classifier.json")
        try:
            weights = load_file(folder / "weights.safetensors")["weights"]
            labels, settings = tuple(about["labels"]), TextSettings(**about["settings"])
            if weights.shape != (2**settings.bits + 1, len(labels)):
                raise ValueError(f"weights have shape {weights.shape}")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder}: not a saved classifier ({error})") from None
        return cls(labels, weights, settings)


def _features(texts: Sequence[Sequence[str]], settings: TextSettings) -> csr_matrix:
    """(n, 2^bits + 1): 1 + log count of each n-gram, fields of unit length, then a 1."""
    places: list[NDArray[np.int64]] = []
    values: list[Floats] = []
    ends = [0]
    for fields in texts:
        for number, field in enumerate(fields):
            found, counts = np.unique(_hashes(field, number, settings), return_counts=True)
            value = 1.0 + np.log(counts)
            places.append(found.astype(np.int64))
            values.append(value / max(float(np.linalg.norm(value)), 1.0))
        places.append(np.array([2**settings.bits]))
        values.append(np.ones(1))
        ends.append(ends[-1] + sum(map(len, places[-len(fields) - 1 :])))
    data = (np.concatenate([*values, []]), np.concatenate([*places, []]), np.array(ends))
    return csr_matrix(data, shape=(len(texts), 2**settings.bits + 1))


def _hashes(field: str, number: int, settings: TextSettings) -> NDArray[np.uint64]:
    """Places of all n-grams of bytes of a field (FNV-1a, its upper bits)."""
    text = _EDGE + " ".join(field.lower().split()).encode(errors="replace") + _EDGE
    data = np.frombuffer(text, np.uint8).astype(np.uint64)
    found = []
    for n in range(settings.smallest, min(settings.largest, len(data)) + 1):
        salt = (settings.seed * 1009 + number * 101 + n) * 0x9E3779B97F4A7C15 % 2**64
        hashes = np.full(len(data) - n + 1, salt, np.uint64)
        for at in range(n):
            hashes = (hashes ^ data[at : len(data) - n + 1 + at]) * _PRIME
        found.append(hashes >> np.uint64(64 - settings.bits))
    return np.concatenate(found)
