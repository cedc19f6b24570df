"""A matrix in the layout that products of few rows read fastest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PACKED = 1 << 17
"""Weights from which on packing pays: a packed product costs 10 microseconds more to call."""
ROWS = 16
"""Rows that the layout is chosen for; it serves 1 to 1024 within a few per cent of their own."""


class Matrix:
    """x -> x W^T for a weight W (fan_out, fan_in).

    On a processor, oneDNN's blocked layout is 2 to 4 times as fast as torch's product from 1 to
    32 rows, in float32 and in bfloat16, which is what decoding multiplies; torch packs so too when
    a graph is frozen for inference. Where the build has no such product, and for small matrices,
    torch's.
    """

    def __init__(self, weight: Tensor) -> None:
        self.nbytes = weight.numel() * weight.element_size()
        self._packed = _can_pack(weight)
        if self._packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self._weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        """(n, fan_out) of x (n, fan_in)."""
        if not self._packed:
            return F.linear(x, self._weight)
        multiply = torch.ops.mkldnn._linear_pointwise.default
        rows = len(x)
        if missing := -rows % _step(rows):
            x = F.pad(x, (0, 0, 0, missing))
        product: Tensor = multiply(x, self._weight, None, "none", [], "")
        return product[:rows]


def _step(rows: int) -> int:
    """Rows are filled up to a multiple of this, an eighth of them at most: oneDNN keeps what it
    prepared for every number of rows that it has seen, some hundred kilobytes, and a service sees
    a thousand of them."""
    return 1 << max(0, rows.bit_length() - 4)


def _can_pack(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.numel() >= PACKED
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and (
            weight.dtype == torch.float32
            # Some processors have no products in bfloat16, and oneDNN refuses.
            or (weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )
    )
