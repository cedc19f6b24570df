"""Token sequences side by side for a forward pass, and log-probabilities of parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from foresight.data.loader import Batch
from foresight.data.shards import Encoded
from foresight.data.tokenizer import PAD
from foresight.errors import UserError
from foresight.model.decoder import Decoder


def padded(sequences: Sequence[Encoded], context: int) -> Batch:
    """One sequence a row, padded on the right, where causal attention never looks.

    A target counts with the weight of its token; the lengths, not the id of the padding, say
    where a sequence ends. Raises UserError for a sequence of more than context + 1 tokens.
    """
    longest = max(len(one.tokens) for one in sequences)
    if longest > context + 1:
        raise UserError(f"a sequence of {longest} tokens does not fit the context of {context}")
    shape = (len(sequences), longest - 1)
    inputs, targets = np.full(shape, PAD, np.int64), np.full(shape, PAD, np.int64)
    weights = np.zeros(shape, np.float32)
    for row, one in enumerate(sequences):
        n = len(one.tokens) - 1
        inputs[row, :n], targets[row, :n] = one.tokens[:-1], one.tokens[1:]
        weights[row, :n] = one.weights[1:]
    positions = np.tile(np.arange(shape[1]), (shape[0], 1))
    patches = np.concatenate([one.patches for one in sequences])
    zeros = np.zeros(shape, np.int64)
    return Batch(inputs, targets, weights, positions, zeros, patches, zeros)


def target_logprobs(
    model: Decoder, batch: Batch, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """(log-probabilities (B, T) of the targets whose weight is not 0, and entropies (B, T), both
    in nats and 0 elsewhere) at a sampling temperature."""
    inputs = model.inputs(batch)
    chosen = inputs.weights.ne(0).nonzero()[:, 0]
    logits = (model.hidden(inputs)[chosen] @ model.matrix("lm_head")).float() / temperature
    logprobs = torch.log_softmax(logits, dim=-1)
    entropy = -(logprobs.detach().exp() * logprobs.detach()).sum(dim=-1)
    own = logprobs.gather(1, inputs.targets[chosen, None])[:, 0]
    empty = torch.zeros(batch.targets.size, device=own.device)
    return (
        empty.index_copy(0, chosen, own).view(batch.targets.shape),
        empty.index_copy(0, chosen, entropy).view(batch.targets.shape),
    )


def answered(prompt: Encoded, answer: Sequence[int]) -> Encoded:
    """A prompt and the tokens of an answer, which alone have weight."""
    return Encoded(
        np.concatenate([prompt.tokens, np.array(answer, np.uint16)]),
        np.concatenate([np.zeros(len(prompt.tokens)), np.ones(len(answer))]).astype(np.float16),
        prompt.patches,
    )
