"""Fused forward-and-backward pieces of the decoder.

At the widths of a ladder's small rungs the matrices are not the cost: element-wise
passes, slices and the softmax over the vocabulary are. Each function here does by hand
what autograd would do in more passes over memory. `tests/model/test_kernels.py` holds
them to the plain formulas in double precision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Rows of logits made at a time: rows * vocabulary * 4 bytes should stay within a core's L2 cache.
_LOGITS_CHUNK_BYTES = 1 << 20


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
        y: Tensor = (x * inverse).to(dtype)
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        y, inverse = ctx.saved_tensors
        y, grad = y.to(inverse.dtype), grads[0].to(inverse.dtype)
        along = (grad * y).mean(dim=-1, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1).mul_(inverse), None, None


def rms_norm(x: Tensor, dtype: torch.dtype | None = None, eps: float = 1e-5) -> Tensor:
    """x / rms(x) over the last dimension, without gains (Zhang & Sennrich 2019).

    Any shape; the result in `dtype`, by default that of x; computed in x's.
    """
    return _RMSNorm.apply(x, eps, dtype or x.dtype)  # type: ignore[no-any-return, no-untyped-call]


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, turn: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(turn)
        ctx.dtype = x.dtype
        pairs = torch.view_as_complex(x.float().view(*turn.shape, 2))
        return torch.view_as_real(pairs * turn).view_as(x).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (turn,) = ctx.saved_tensors
        grad = grads[0].contiguous()
        pairs = torch.view_as_complex(grad.float().view(*turn.shape, 2))
        # The inverse of a rotation is the rotation by the negative angle.
        turned = torch.view_as_real(pairs * turn.conj().resolve_conj())
        return turned.view_as(grad).to(ctx.dtype), None, None


def rotary(x: Tensor, turn: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """RoPE (Su et al. 2021) on neighbouring pairs: x (N, d) float32 or bfloat16, turn (N, d / 2)
    complex64; computed in float32, returned in `dtype`, by default that of x.

    One complex product over contiguous memory; the rotate-half form costs 40 times as much
    here. Both are the same model up to a permutation of each head's rows of q and k, which
    export applies.
    """
    return _Rotary.apply(x, turn, dtype or x.dtype)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
        scores = torch.baddbmm(mask, q, k.mT, alpha=scale)
        share = torch.softmax(scores, dim=-1)
        ctx.save_for_backward(q, k, v, share)
        ctx.scale = scale
        return share @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, share = ctx.saved_tensors
        grad = grads[0]
        inner = torch._softmax_backward_data(grad @ v.mT, share, -1, share.dtype)
        grad_q, grad_k = (inner @ k).mul_(ctx.scale), (inner.mT @ q).mul_(ctx.scale)
        return grad_q, grad_k, share.mT @ grad, None, None


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(scale q k^T + mask) v: q, k, v (B, H, T, h), mask (B or 1, 1, T, T) to add.

    The plain algorithm, all T x T shares kept, every product and the softmax's result in the
    type of q. Meant for bfloat16 rows of a few hundred positions on a CPU, where it takes half
    the time of torch's float32 kernel and a quarter of its bfloat16 one.
    """
    batch, heads, length, _ = q.shape
    spread = mask.to(q.dtype).expand(batch, heads, length, length).flatten(0, 1)
    mixed: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), spread, scale
    )
    return mixed.view_as(q)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, head: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = max(1, _LOGITS_CHUNK_BYTES // (4 * head.shape[0]))
        needs = x.requires_grad or head.requires_grad
        losses = torch.empty(x.shape[0], dtype=torch.float32, device=x.device)
        grad_x = torch.empty_like(x) if needs else None
        grad_head = torch.zeros_like(head, dtype=torch.float32) if needs else None
        for start in range(0, x.shape[0], rows):
            part = slice(start, start + rows)
            logits = (x[part] @ head.T).float()
            target = targets[part, None]
            peak = logits.amax(dim=-1, keepdim=True)
            chosen = logits.gather(1, target) - peak
            logits.sub_(peak).exp_()
            total = logits.sum(dim=-1, keepdim=True)
            losses[part] = (total.log() - chosen)[:, 0]
            if grad_x is None or grad_head is None:
                continue
            # d loss / d logits = w (softmax - one_hot), made in place of the logits.
            weight = weights[part, None]
            logits.mul_(weight / total)
            logits.scatter_add_(1, target, -weight)
            inner = logits.to(x.dtype)
            torch.mm(inner, head, out=grad_x[part])
            if x.dtype == torch.float32:
                grad_head.addmm_(inner.T, x[part])
            else:
                grad_head += inner.T @ x[part]
        ctx.save_for_backward(grad_x, grad_head)
        ctx.mark_non_differentiable(losses)
        ctx.head_dtype = head.dtype
        return torch.dot(losses, weights), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_x, grad_head = ctx.saved_tensors
        scale = grads[0]
        return grad_x * scale, (grad_head * scale).to(ctx.head_dtype), None, None


def linear_cross_entropy(
    x: Tensor, head: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of softmax(x @ head.T) without ever holding all logits.

    x (N, d), head (V, d), targets (N,) int64, weights (N,) float32. Returns the scalar
    sum(weights * nats), differentiable in x and head, and the nats of each position (N,),
    not differentiable. Gradients are made in the forward pass, chunk by chunk, so that the
    logits of a chunk stay in cache.
    """
    return _LinearCrossEntropy.apply(x, head, targets, weights)  # type: ignore[no-any-return, no-untyped-call]
