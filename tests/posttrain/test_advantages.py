"""Rewards, advantages, returns against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foresight.posttrain.advantages import (
    gae,
    group_advantages,
    kl_estimates,
    token_rewards,
    whiten,
)

MASK = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])


def test_the_score_is_on_the_last_token_that_was_drawn() -> None:
    """Not on the padding after it: answer 1 has one token, two are padding."""
    old = torch.tensor([[-1.0, -2.0, -0.5], [-1.0, 0.0, 0.0]])
    reference = torch.tensor([[-1.5, -1.0, -0.5], [-3.0, 9.0, 9.0]])
    rewards = token_rewards(torch.tensor([2.0, -1.0]), old, reference, MASK, beta=0.1)
    expected = torch.tensor([[-0.05, 0.1, 2.0], [-1.2, 0.0, 0.0]])
    torch.testing.assert_close(rewards, expected)


def test_advantages_by_hand() -> None:
    """gamma 1, lambda .5: deltas (0 + .4 - .2, 0 + .1 - .4, 1 - .1) = .2, -.3, .9."""
    rewards = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    values = torch.tensor([[0.2, 0.4, 0.1], [0.5, 7.0, 7.0]])
    advantages, returns = gae(rewards, values, MASK, lam=0.5)
    by_hand = torch.tensor([[0.2 + 0.5 * (-0.3 + 0.5 * 0.9), -0.3 + 0.5 * 0.9, 0.9], [1.5, 0, 0]])
    torch.testing.assert_close(advantages, by_hand)
    torch.testing.assert_close(returns, (by_hand + values) * MASK)


@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0.5, 1))
def test_padding_changes_nothing(seed: int, lam: float, gamma: float) -> None:
    torch.manual_seed(seed)
    rewards, values = torch.randn(4, 6), torch.randn(4, 6)
    mask = (torch.arange(6) < torch.randint(1, 7, (4, 1))).float()
    first = gae(rewards * mask, values, mask, gamma, lam)
    junk = torch.where(mask.bool(), values, torch.full_like(values, 1e6))
    for one, other in zip(first, gae(rewards * mask, junk, mask, gamma, lam), strict=True):
        torch.testing.assert_close(one, other)


def test_lambda_one_is_the_return_less_the_value() -> None:
    torch.manual_seed(0)
    rewards, values, mask = torch.randn(3, 5), torch.randn(3, 5), torch.ones(3, 5)
    advantages, returns = gae(rewards, values, mask, lam=1.0)
    to_go = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(returns, to_go)
    torch.testing.assert_close(advantages, to_go - values)


def test_whitening_looks_at_what_is_masked_in() -> None:
    values = torch.tensor([[1.0, 3.0, 99.0], [5.0, 99.0, 99.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    white = whiten(values, mask)
    inside = white[mask.bool()]
    assert inside.mean().abs() < 1e-6 and white[~mask.bool()].abs().max() == 0
    assert inside.square().mean() == pytest.approx(1.0, abs=1e-5)
    kept = whiten(values, mask, shift_mean=False)[mask.bool()]
    assert float(kept.mean()) == pytest.approx(3.0, abs=1e-5)


def test_kl_estimates() -> None:
    """Of p = (.5, .5) and q = (.25, .75), weighted by p both estimates have the KL as mean."""
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    k1, k3 = kl_estimates(p.log(), q.log())
    kl = float((p * (p / q).log()).sum())
    assert float((p * k1).sum()) == pytest.approx(kl) == pytest.approx(float((p * k3).sum()))
    assert (k3 >= 0).all() and (k1 < 0).any()


def test_groups() -> None:
    scores = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0]])
    rloo = group_advantages(scores, leave_one_out=True)
    torch.testing.assert_close(rloo, torch.tensor([-3.0, -1.5, 4.5, 0.0, 0.0, 0.0]))
    grpo = group_advantages(scores, leave_one_out=False)
    deviation = 7.0**0.5
    torch.testing.assert_close(grpo[:3], torch.tensor([-2.0, -1.0, 3.0]) / (deviation + 1e-6))
    assert grpo[3:].abs().max() == 0, "a group that agrees teaches nothing"
    with pytest.raises(ValueError, match="two answers"):
        group_advantages(torch.zeros(3, 1), leave_one_out=True)
