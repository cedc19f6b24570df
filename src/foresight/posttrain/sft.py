"""Supervised fine-tuning on demonstrations: the loss of what the assistant says, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from foresight.data.loader import Batch, Loader
from foresight.data.shards import Encoded, Shard
from foresight.data.tokenizer import Tokenizer
from foresight.document import IM_END, IM_START
from foresight.errors import UserError
from foresight.model.decoder import Decoder, initial_weight
from foresight.posttrain.chat import encode_chat
from foresight.posttrain.conversations import Demonstration
from foresight.posttrain.stage import Stage


class SFTSettings(BaseModel):
    """How demonstrations are learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(ge=1)] = 2
    rows: Annotated[int, Field(ge=1)] = 16
    """Rows of packed conversations in a step."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Peak rate; the default suits models of up to some million parameters."""
    seed: Annotated[int, Field(ge=0)] = 0


def encode_demonstrations(
    demonstrations: Sequence[Demonstration], tokenizer: Tokenizer, patch: int, context: int
) -> list[Encoded]:
    """Raises UserError naming one that is too long or has nothing to learn."""
    found = []
    for one in demonstrations:
        encoded = encode_chat(one.messages, tokenizer, patch)
        if len(encoded.tokens) > context + 1:
            raise UserError(
                f"demonstration {one.id}: {len(encoded.tokens)} tokens do not fit the context of "
                f"{context}; shorten it or split it"
            )
        if not encoded.weights[1:].any():
            raise UserError(f"demonstration {one.id}: no token of the assistant to learn from")
        found.append(encoded)
    return found


@torch.no_grad()
def introduce_marks(model: Decoder) -> None:
    """Give turn marks that pre-training never showed the mean row of embedding and head.

    Their embedding is still the random start, and in the head they were pushed down wherever
    anything else was right: without this, tuning begins at 20 nats a token.
    """
    embedding, head = model.weight("embed_tokens"), model.weight("lm_head")
    start = initial_weight("embed_tokens", model.rules["embed_tokens"], model.spec.seed)
    seen = (embedding != start.to(embedding.device)).any(dim=1)
    for mark in (IM_START, IM_END):
        if not seen[mark] and seen.any():
            embedding[mark] = embedding[seen].mean(dim=0)
            head[mark] = head[seen].mean(dim=0)


class PackedRows:
    """Rows of conversations packed together, a fresh order every epoch."""

    def __init__(self, encoded: Sequence[Encoded], context: int, seed: int) -> None:
        self._context, self._seed = context, seed
        self._shard = Shard(
            np.concatenate([one.tokens for one in encoded]),
            np.concatenate([one.weights for one in encoded]),
            np.concatenate([one.patches for one in encoded]),
            np.cumsum([0, *(len(one.tokens) for one in encoded)]),
            np.cumsum([0, *(len(one.patches) for one in encoded)]),
        )
        self._epoch, self._loader = 0, self._ordered(0)
        self.count = self._loader.count()

    def _ordered(self, epoch: int) -> Loader:
        return Loader({"sft": self._shard}, {"sft": 1.0}, self._context, self._seed + epoch)

    def at(self, epoch: int, start: int, rows: int) -> Batch:
        """Rows of an epoch; packings differ by a few rows, and the last ones may be left out."""
        if epoch != self._epoch:
            self._epoch, self._loader = epoch, self._ordered(epoch)
        return self._loader.rows(start, min(rows, self._loader.count() - start))


class SFT(Stage):
    """A step is `rows` rows of conversations; the loss is nats per supervised token."""

    def __init__(self, model: Decoder, encoded: Sequence[Encoded], settings: SFTSettings) -> None:
        introduce_marks(model)
        self.model, self.settings = model, settings
        self._rows = PackedRows(encoded, model.spec.shape.context, settings.seed)
        self._each = -(-self._rows.count // settings.rows)
        super().__init__(model.named_weights, settings.epochs * self._each, settings.lr)

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        epoch, part = divmod(self.step, self._each)
        rows = self.settings.rows
        batch = self._rows.at(epoch, part * rows, rows)
        nats, _ = self.model(self.model.inputs(batch))
        supervised = int((batch.weights > 0).sum())
        told = {"positions": int(batch.inputs.size), "supervised_tokens": supervised}
        return nats / float(batch.weights.sum()), told
