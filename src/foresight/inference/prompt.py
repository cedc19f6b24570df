"""Prompts of text and images as padded rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foresight.data.loader import Batch
from foresight.data.shards import Encoded, encode_parts
from foresight.data.tokenizer import BOS, PAD, Tokenizer
from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.recipe import RunSpec


def encode_prompt(parts: Sequence[Text | Image], tokenizer: Tokenizer, spec: RunSpec) -> Encoded:
    """Begin mark and parts. Raises UserError if they leave no room in the context."""
    body = encode_parts(parts, tokenizer, spec.shape.patch)
    tokens = np.concatenate([[BOS], body.tokens]).astype(np.uint16)
    if len(tokens) >= spec.shape.context:
        raise UserError(
            f"prompt: {len(tokens)} positions do not fit the context of {spec.shape.context}; "
            f"shorten the text or use a smaller image"
        )
    return Encoded(tokens, np.concatenate([[0.0], body.weights]).astype(np.float16), body.patches)


def to_batch(sequences: Sequence[Encoded]) -> Batch:
    """One row per sequence, padded on the right, each token the target of the one before it."""
    shape = (len(sequences), max(len(one.tokens) for one in sequences) - 1)
    inputs = np.full(shape, PAD, np.int64)
    targets = np.full(shape, PAD, np.int64)
    weights = np.zeros(shape, np.float32)
    for row, one in enumerate(sequences):
        size = len(one.tokens) - 1
        inputs[row, :size] = one.tokens[:-1]
        targets[row, :size] = one.tokens[1:]
        weights[row, :size] = one.weights[1:]
    zeros = np.zeros(shape, np.int64)
    return Batch(
        inputs=inputs,
        targets=targets,
        weights=weights,
        positions=np.broadcast_to(np.arange(shape[1]), shape).copy(),
        # Padding comes last and attention is causal, so one segment serves.
        segments=zeros,
        patches=np.concatenate([one.patches for one in sequences]),
        sources=zeros,
    )
