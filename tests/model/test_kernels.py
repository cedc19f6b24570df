"""Each fused kernel equals the plain formula, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from foresight.model import kernels
from foresight.model.decoder import causal_mask
from foresight.model.kernels import attention, linear_cross_entropy, rms_norm, rotary


def _assert_same(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor
) -> None:
    direction = torch.randn_like(plain(*inputs))
    gradients = []
    for function in (ours, plain):
        leaves = [one.clone().requires_grad_() for one in inputs]
        out = function(*leaves)
        torch.testing.assert_close(out, plain(*inputs), rtol=1e-5, atol=1e-6)
        out.backward(direction)
        gradients.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_rms_norm_equals_formula() -> None:
    x = torch.randn(7, 48) * 3
    _assert_same(rms_norm, lambda x: x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt(), x)


def test_rotary_turns_pairs() -> None:
    angles = torch.rand(5, 8) * 6
    turn = torch.polar(torch.ones_like(angles), angles)

    def plain(x: Tensor) -> Tensor:
        even, odd = x[:, 0::2], x[:, 1::2]
        cos, sin = angles.cos(), angles.sin()
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(1)

    _assert_same(lambda x: rotary(x, turn), plain, torch.randn(5, 16))


@pytest.mark.parametrize("segments", [[[0] * 9], [[0] * 9, [0, 0, 0, 1, 1, 1, 1, 2, 2]]])
def test_attention_equals_torch(segments: list[list[int]]) -> None:
    mask = causal_mask(torch.tensor(segments))
    q, k, v = torch.randn(3, 2, 3, 9, 4)
    _assert_same(
        lambda q, k, v: attention(q, k, v, mask, 0.6),
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=0.6
        ),
        q, k, v,
    )  # fmt: skip


@pytest.mark.parametrize("chunk_rows", [1, 5, 1000])
def test_linear_cross_entropy_equals_torch(
    chunk_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_LOGITS_CHUNK_BYTES", chunk_rows * 4 * 33)
    targets = torch.randint(0, 33, (17,))
    weights = torch.rand(17) * (torch.arange(17) % 3 > 0)

    def plain(x: Tensor, head: Tensor) -> Tensor:
        nats = torch.nn.functional.cross_entropy(x @ head.T, targets, reduction="none")
        return (nats * weights).sum()

    x, head = torch.randn(17, 12), torch.randn(33, 12)
    _assert_same(lambda x, head: linear_cross_entropy(x, head, targets, weights)[0], plain, x, head)
    each = linear_cross_entropy(x, head, targets, weights)[1]
    plain_each = torch.nn.functional.cross_entropy(x @ head.T, targets, reduction="none")
    torch.testing.assert_close(each, plain_each)


def test_linear_cross_entropy_survives_huge_logits() -> None:
    x, head = torch.full((2, 1), 1e4), torch.tensor([[1.0], [-1.0]])
    loss, _ = linear_cross_entropy(x, head, torch.tensor([0, 1]), torch.ones(2))
    assert float(loss) == pytest.approx(2e4)
