"""Validation: loss per source, in nats per token and bits per byte, and the gain from context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from foresight.data.loader import Loader
from foresight.model.decoder import Decoder

_ROWS = 16


@dataclass(frozen=True)
class SourceLoss:
    """Held-out loss of one source.

    nats: mean per predicted token; bits_per_byte: of the bytes those tokens stand for;
    tokens: predicted tokens n; stderr: standard error of `nats` over rows, which are the
    sampling unit; copy_gain: mean nats at positions 4-11 minus the last quarter, over rows
    that hold one piece (how much the model gains from context), None without such rows.
    """

    nats: float
    bits_per_byte: float
    tokens: int
    stderr: float
    copy_gain: float | None


@torch.no_grad()
def evaluate(
    model: Decoder, loaders: Mapping[str, tuple[Loader, int]], token_bytes: list[bytes]
) -> dict[str, SourceLoss]:
    """Held-out loss per source, on the first rows of its loader: {source: (loader, rows)}."""
    sizes = torch.tensor([len(piece) for piece in token_bytes])
    return {
        name: _source_loss(model, loader, rows, sizes) for name, (loader, rows) in loaders.items()
    }


def _source_loss(model: Decoder, loader: Loader, rows: int, sizes: torch.Tensor) -> SourceLoss:
    context = loader.context
    row_nats, row_tokens, covered = [], [], 0
    by_position = torch.zeros(2, context, dtype=torch.float64)
    for start in range(0, rows, _ROWS):
        batch = loader.rows(start, min(_ROWS, rows - start))
        inputs = model.inputs(batch)
        predicted = (inputs.weights > 0).double()
        nats = model(inputs)[1].double() * predicted
        covered += int((sizes[inputs.targets.cpu()] * predicted.cpu()).sum())
        nats, predicted = nats.view(-1, context).cpu(), predicted.view(-1, context).cpu()
        row_nats.append(nats.sum(1))
        row_tokens.append(predicted.sum(1))
        whole = torch.from_numpy((batch.segments == 0).all(1))
        by_position += torch.stack([nats[whole].sum(0), predicted[whole].sum(0)])
    total, count = torch.cat(row_nats), torch.cat(row_tokens)
    mean = float(total.sum() / count.sum())
    # Ratio estimator: the residual of each row around the common mean.
    spread = (total - mean * count).square().sum().sqrt() / count.sum()
    return SourceLoss(
        nats=mean,
        bits_per_byte=float(total.sum()) / covered / math.log(2),
        tokens=int(count.sum()),
        stderr=float(spread),
        copy_gain=_copy_gain(by_position),
    )


def _copy_gain(by_position: torch.Tensor) -> float | None:
    nats, count = by_position
    late = slice(3 * len(nats) // 4, None)
    if count[4:12].sum() == 0 or count[late].sum() == 0:
        return None
    return float(nats[4:12].sum() / count[4:12].sum() - nats[late].sum() / count[late].sum())
