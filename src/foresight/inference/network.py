"""The decoder as it answers: merged and folded matrices, new tokens against a cache.

Tokens of all sequences lie in one flat row, so that no product is spent on padding: first one
token of each sequence that decodes, then the new tokens of sequences that are read (`Segment`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from foresight.inference.cache import Cache
from foresight.inference.matrix import Matrix
from foresight.model.decoder import Decoder
from foresight.model.kernels import rms_norm


@dataclass(frozen=True)
class Segment:
    """`count` new tokens of `slot` after its first `start` positions; `mask` (count, start +
    count) to add to the scores, None for plain causal order."""

    slot: int
    start: int
    count: int
    mask: Tensor | None = None


@dataclass(frozen=True)
class _Layer:
    qkv: Matrix
    out: Matrix
    gate_up: Matrix
    down: Matrix


@dataclass(frozen=True)
class _Front:
    """Sequences that decode: slots `rows` (B,), positions `at` (B,), the longest one's length,
    and the scores to add (B, 1, 1, length) where they differ."""

    rows: Tensor
    at: Tensor
    length: int
    mask: Tensor | None


class Network:
    """Weights of a `Decoder`, copied, multipliers folded in.

    Where the processor has no bfloat16 products, a model in bf16 keeps its rounded weights widened
    to float32: torch's fall-back is 5 to 30 times slower than float32 there.
    """

    @torch.no_grad()
    def __init__(self, model: Decoder, dtype: torch.dtype) -> None:
        self.spec, self.shape, self.turns = model.spec, model.spec.shape, model.turns
        self.device = model.turns.device
        narrow = dtype == torch.bfloat16 and _has_bfloat16(self.device)
        self.dtype = torch.bfloat16 if narrow else torch.float32

        def take(*names: str, times: float = 1.0) -> Matrix:
            weight = torch.cat([model.weight(name).detach() for name in names])
            return Matrix((weight.to(dtype) * times).to(self.dtype))

        residual = model.multipliers.residual
        self.embedding = model.weight("embed_tokens").detach().clone()
        self.picture = [
            take(f"image.{name}") for name in ("patch_proj", "linear_1", "linear_2")
        ]  # fmt: skip
        self.layers = [
            _Layer(
                take(at + "q_proj", at + "k_proj", at + "v_proj"),
                take(at + "o_proj", times=residual),
                take(at + "gate_proj", at + "up_proj"),
                take(at + "down_proj", times=residual),
            )
            for at in (f"layers.{layer}." for layer in range(self.shape.depth))
        ]
        self.head = take("lm_head", times=model.multipliers.logits)
        self.scale = (1.2 if self.spec.qk_norm else 1.0) / math.sqrt(self.shape.head_dim)

    def embed(self, ids: Tensor, image_at: Tensor, patches: Tensor) -> Tensor:
        """Residual stream of ids (N,), patches (m, 3 p^2) uint8 standing at `image_at` (m,)."""
        x = F.embedding(ids, self.embedding)
        if not len(image_at):
            return x
        pixels = patches.to(self.device).float().sub_(127.5).mul_(1 / 64.0)
        patch_proj, linear_1, linear_2 = self.picture
        picture = rms_norm(patch_proj(pixels.to(self.dtype)))
        picture = linear_2(F.gelu(linear_1(picture)))
        return x.index_copy_(0, image_at, picture.float())

    def hidden(
        self, x: Tensor, positions: Tensor, cache: Cache, decoding: int, segments: Sequence[Segment]
    ) -> Tensor:
        """Normalised residual stream (N, d) of the new tokens; their keys and values go to
        `cache`.

        x (N, d): `decoding` tokens, of the slots 0 to decoding - 1, then those of the segments;
        positions (N,), for rotations and, of decoding tokens, for where they stand.
        """
        turn = self.turns[positions][:, None]
        front = self._front(positions[:decoding]) if decoding else None
        masks = [self._mask_of(segment) for segment in segments]
        for index, layer in enumerate(self.layers):
            q, k, v = self._queries(x, turn, layer)
            keys, values = cache.keys[index], cache.values[index]
            parts = []
            if front:
                parts.append(self._decode(front, q[:decoding], k[:decoding], v[:decoding],
                                          keys, values))  # fmt: skip
            first = decoding
            for segment, mask in zip(segments, masks, strict=True):
                rows = slice(first, first + segment.count)
                parts.append(self._read(segment, mask, q[rows], k[rows], v[rows], keys, values))
                first += segment.count
            mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
            x = x.add_(layer.out(mixed))
            gate, up = layer.gate_up(self._norm(x)).chunk(2, dim=-1)
            x = x.add_(layer.down(F.silu(gate).mul_(up)))
        return self._norm(x)

    def _norm(self, x: Tensor) -> Tensor:
        """`model.kernels.rms_norm` without what training needs of it."""
        return F.rms_norm(x, (self.shape.width,), eps=1e-5).to(self.dtype)

    def _front(self, at: Tensor) -> _Front:
        """What all layers need of the sequences that decode, at positions (B,)."""
        length = int(at.max()) + 1
        mask = None
        if int(at.min()) + 1 < length:
            hidden_away = torch.arange(length, device=at.device) > at[:, None]
            mask = torch.zeros(hidden_away.shape, dtype=self.dtype, device=at.device)
            mask = mask.masked_fill_(hidden_away, -torch.inf)[:, None, None]
        return _Front(torch.arange(len(at), device=at.device), at, length, mask)

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, V) float32 of hidden states (n, d)."""
        return self.head(hidden).float()

    def _queries(self, x: Tensor, turn: Tensor, layer: _Layer) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, each (N, heads, head_dim); turn (N, 1, d / 2)."""
        s = self.shape
        split = layer.qkv(self._norm(x)).view(-1, 3, s.heads, s.head_dim)
        both = split[:, :2]
        if self.spec.qk_norm:
            both = F.rms_norm(both, (s.head_dim,), eps=1e-5)
        pairs = torch.view_as_complex(both.float().reshape(len(x), 2, -1, 2))
        both = torch.view_as_real(pairs * turn).view(-1, 2, s.heads, s.head_dim).to(self.dtype)
        return both[:, 0], both[:, 1], split[:, 2]

    def _decode(
        self, front: _Front, q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        """Attention (B, d) of one token of each of the slots in front."""
        keys[front.rows, :, front.at] = k
        values[front.rows, :, front.at] = v
        size = len(q)
        mixed = self._attend(
            q.unsqueeze(2),
            keys[:size, :, : front.length],
            values[:size, :, : front.length],
            front.mask,
        )
        return mixed.view(size, -1)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=self.scale
        )

    def _mask_of(self, segment: Segment) -> Tensor | None:
        """Scores to add for a segment; None: causal order from the first position on."""
        if segment.mask is None and segment.start == 0:
            return None
        mask = segment.mask
        if mask is None:
            mask = causal_after(segment.start, segment.count)
        return mask.to(self.device, self.dtype)

    def _read(
        self,
        segment: Segment,
        mask: Tensor | None,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> Tensor:
        """Attention of a segment's tokens (count, d)."""
        slot, end = segment.slot, segment.start + segment.count
        keys[slot, :, segment.start : end] = k.transpose(0, 1)
        values[slot, :, segment.start : end] = v.transpose(0, 1)
        mixed = self._attend(
            q.transpose(0, 1)[None],
            keys[slot : slot + 1, :, :end],
            values[slot : slot + 1, :, :end],
            mask,
            causal=mask is None,
        )
        return mixed[0].transpose(0, 1).reshape(segment.count, -1)


def causal_after(start: int, count: int) -> Tensor:
    """Scores to add, (count, start + count): all of what came before, then itself and earlier."""
    mask = torch.full((count, start + count), -torch.inf)
    return mask.triu_(start + 1)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type != "cpu":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
