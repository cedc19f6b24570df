"""Reward models: read at the end mark, normalised, and told how good they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foresight.data.shards import Encoded
from foresight.data.tokenizer import PAD
from foresight.errors import UserError
from foresight.posttrain.pairs import EncodedPair, PairOrder, divide
from foresight.posttrain.reward_model import (
    RewardSettings,
    RewardTraining,
    normalise,
    report_on,
    rewards_at_end,
    score,
)
from foresight.posttrain.scalar_model import ScalarModel
from foresight.recipe import Recipe

SPEC = Recipe.named("ledger").at(1e10, 0, width=16)


def sequence(*tokens: int) -> Encoded:
    return Encoded(
        np.array(tokens, np.uint16), np.ones(len(tokens), np.float16), np.zeros((0, 192), np.uint8)
    )


def pairs(count: int, seed: int = 0) -> list[EncodedPair]:
    """The answer that holds token 100 is preferred with the odds of a gap of 2."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        start = random.integers(70, 99, size=random.integers(1, 6)).tolist()
        good, bad = sequence(*start, 100, 7), sequence(*start, 101, 7)
        gap = 2.0
        if random.random() > 1 / (1 + np.exp(-gap)):
            good, bad, gap = bad, good, -gap
        found.append(EncodedPair(str(number), good, bad, 1.0, gap))
    return found


@pytest.fixture(scope="module")
def learned() -> ScalarModel:
    model = ScalarModel(SPEC, 1)
    stage = RewardTraining(model, pairs(1500), RewardSettings(lr=3e-3, batch=64))
    for _ in range(stage.steps):
        stage.update()
    return model


def test_neighbours_and_padding_change_no_reward() -> None:
    model, one, longer = ScalarModel(SPEC), sequence(70, 71, 7), sequence(70, 71, 72, 73, 74, 7)
    with torch.no_grad():
        alone, beside = rewards_at_end(model, [one])[0], rewards_at_end(model, [one, longer])[0]
        torch.testing.assert_close(alone, beside)
        # It is the number after the last token, whatever would come next.
        model.trunk.weight("embed_tokens")[PAD] += 5.0
        torch.testing.assert_close(rewards_at_end(model, [one])[0], alone)
        model.trunk.weight("embed_tokens")[7] += 5.0
        assert abs(float(rewards_at_end(model, [one])[0] - alone)) > 1e-4


def test_it_learns_the_preference_and_how_sure_to_be(learned: ScalarModel) -> None:
    report = report_on(learned, pairs(800, seed=1))
    truth = 1 / (1 + np.exp(-2.0))
    assert report.ceiling == pytest.approx(truth)
    assert report.accuracy.low is not None and report.accuracy.high is not None
    assert report.accuracy.low < truth < report.accuracy.high
    assert report.calibration_error < 0.06
    assert sum(n for *_, n in report.calibration) == 800 == sum(n for _, _, n, _ in report.by_gap)


def test_an_overconfident_model_is_seen(learned: ScalarModel) -> None:
    """Control: ten times the gaps are right as often, and their calibration error is large."""
    louder = ScalarModel(SPEC)
    louder.start_from(learned.weights)
    with torch.no_grad():
        louder.head *= 10
    report = report_on(louder, pairs(800, seed=1))
    assert report.calibration_error > 0.08


def test_normalised_rewards_have_mean_0_and_variance_1(learned: ScalarModel) -> None:
    sides = [side for one in pairs(200, seed=2) for side in (one.chosen, one.rejected)]
    before = report_on(learned, pairs(300, seed=1))
    normalise(learned, sides)
    found = score(learned, sides)
    assert found.mean() == pytest.approx(0, abs=1e-4) and found.std() == pytest.approx(1, abs=1e-3)
    after = report_on(learned, pairs(300, seed=1))
    assert after.accuracy.mean == before.accuracy.mean
    assert after.calibration_error == pytest.approx(before.calibration_error, abs=1e-4)


def test_a_critic_starts_as_the_reward_model(learned: ScalarModel) -> None:
    critic = ScalarModel(SPEC, 5)
    critic.start_from(learned.weights)
    one = [sequence(70, 100, 7)]
    assert np.array_equal(score(critic, one), score(learned, one))


def test_a_prompt_is_on_one_side_of_the_split() -> None:
    doubled = [*pairs(100), *pairs(100, seed=3)]
    learned, kept = divide(doubled, 0.3)
    assert not {one.group for one in learned} & {one.group for one in kept}
    assert 30 < len(kept) < 90 and len(learned) + len(kept) == 200
    with pytest.raises(UserError, match="too few prompts"):
        divide(doubled[:2], 0.0)


def test_every_epoch_sees_every_pair_once() -> None:
    order = PairOrder(10, 4, 2, seed=0)
    assert order.steps == 6
    seen = [order.at(step) for step in range(6)]
    for epoch in (seen[:3], seen[3:]):
        assert sorted(one for some in epoch for one in some) == list(range(10))
    assert seen[:3] != seen[3:]
