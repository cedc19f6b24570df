"""Losses against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from foresight.posttrain.objectives import bradley_terry_loss, dpo_loss, ppo_loss, value_loss


def test_the_clipped_surrogate_by_hand() -> None:
    old = torch.zeros(1, 4)
    logprobs = torch.tensor([[math.log(1.5), math.log(0.5), math.log(1.5), 5.0]])
    advantages = torch.tensor([[1.0, 1.0, -1.0, 1.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    found = ppo_loss(logprobs, old, advantages, mask, clip=0.2)
    # A gain is held at 1.2; a fall is taken whole; what should fall and rises is taken whole.
    assert float(found.loss) == pytest.approx(-1.2 - 0.5 + 1.5)
    assert float(found.clipped) == 1 and float(found.ratio) == pytest.approx(3.5)
    expected = sum(r - 1 - math.log(r) for r in (1.5, 0.5, 1.5))
    assert float(found.approx_kl) == pytest.approx(expected, abs=1e-6)


def test_clipped_tokens_have_no_gradient() -> None:
    logprobs = torch.tensor([[math.log(1.5), 0.1]], requires_grad=True)
    ppo_loss(logprobs, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2), 0.2).loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0, 0] == 0 and logprobs.grad[0, 1] < 0


def test_a_huge_ratio_stays_finite() -> None:
    found = ppo_loss(torch.full((1, 1), 1e4), torch.zeros(1, 1), -torch.ones(1, 1),
                     torch.ones(1, 1), 0.2)  # fmt: skip
    assert torch.isfinite(found.loss)


def test_accumulation_changes_nothing() -> None:
    """Sums over tokens, divided by the count of the whole batch: 1 x 64 rows equal 4 x 16."""
    torch.manual_seed(0)
    logprobs, old, advantages = (torch.randn(64, 5) for _ in range(3))
    mask = (torch.arange(5) < torch.randint(1, 6, (64, 1))).float()
    whole = ppo_loss(logprobs, old, advantages, mask, 0.2).loss / mask.sum()
    parts = sum(
        ppo_loss(a, b, c, d, 0.2).loss
        for a, b, c, d in zip(*(one.chunk(4) for one in (logprobs, old, advantages, mask)),
                              strict=True)
    )  # fmt: skip
    torch.testing.assert_close(whole, parts / mask.sum())
    by_means = [
        ppo_loss(a, b, c, d, 0.2).loss / d.sum()
        for a, b, c, d in zip(*(one.chunk(4) for one in (logprobs, old, advantages, mask)),
                              strict=True)
    ]  # fmt: skip
    assert float(torch.stack(by_means).mean() - whole) != pytest.approx(0.0, abs=1e-6)


def test_the_value_is_held_near_the_old_one() -> None:
    values = torch.tensor([[2.0, 0.1]], requires_grad=True)
    old, returns = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    loss = value_loss(values, old, returns, torch.ones(1, 2), clip=0.5)
    assert float(loss.detach()) == pytest.approx(0.5 * (1.0 + 0.81))
    unheld = value_loss(torch.tensor([[1.2, 0.0]]), old, returns, torch.tensor([[1.0, 0.0]]), 0.5)
    assert float(unheld) == pytest.approx(0.5 * 0.25), "the larger of .2^2 and .5^2"


def test_preference_losses_by_hand() -> None:
    chosen, rejected = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    weights = torch.tensor([1.0, 3.0])
    first, second = -math.log(1 / (1 + math.exp(-1))), -math.log(1 / (1 + math.exp(2)))
    found = bradley_terry_loss(chosen, rejected, weights)
    assert float(found) == pytest.approx((first + 3 * second) / 4)
    half = -math.log(1 / (1 + math.exp(-0.5)))
    assert float(dpo_loss(chosen[:1], rejected[:1], weights[:1], beta=0.5)) == pytest.approx(half)
