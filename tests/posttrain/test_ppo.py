"""PPO on questions of one token, where everything it should do is known exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foresight.document import IM_END
from foresight.errors import UserError
from foresight.evals.journal import read_records
from foresight.model.decoder import Decoder
from foresight.posttrain import ppo as module
from foresight.posttrain.advantages import token_rewards
from foresight.posttrain.closed_forms import best_value, objective
from foresight.posttrain.ppo import PPO, PPOSettings
from foresight.posttrain.sequences import padded, target_logprobs
from foresight.runs import Run
from foresight.training.checkpoint import Checkpoint
from tests.posttrain.bandits import Bandit, small_bandit

SETTINGS = PPOSettings(
    updates=30, prompts=48, samples=4, max_tokens=1, beta=0.1, missing_end=None, lr=2e-3,
    critic_lr=3e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def bandit() -> Bandit:
    return small_bandit()


def trained(stage: PPO) -> list[dict[str, Any]]:
    return [stage.update() for _ in range(stage.step, stage.steps)]


def share_of_gain(bandit: Bandit, policy: Decoder, beta: float = 0.1) -> float:
    """(J - J(reference)) / (J* - J(reference)), from whole distributions."""
    reference, table = bandit.shares(bandit.reference), bandit.table
    nothing = objective(reference, reference, table, beta).sum()
    got = objective(bandit.shares(policy), reference, table, beta).sum()
    return float((got - nothing) / (best_value(reference, table, beta).sum() - nothing))


@pytest.mark.parametrize("advantage", ["gae", "rloo", "grpo"])
def test_it_nears_the_closed_form(bandit: Bandit, advantage: str) -> None:
    """GRPO divides by each group's deviation, which is another objective: it gets less far."""
    stage = bandit.ppo(SETTINGS.model_copy(update={"advantage": advantage}))
    rows = trained(stage)
    assert share_of_gain(bandit, stage.policy) > (0.6 if advantage == "grpo" else 0.8)
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.05
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-5), "it starts as the reference"
    for row in rows:
        assert row["agreement"] < 1e-4 and row["first_ratio_error"] < 1e-5


def test_the_reference_is_not_changed(bandit: Bandit) -> None:
    before = {name: weight.clone() for name, weight in bandit.reference.state_dict().items()}
    stage = bandit.ppo(SETTINGS.model_copy(update={"updates": 2}))
    trained(stage)
    after = bandit.reference.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(stage.policy.weight("lm_head"), bandit.reference.weight("lm_head"))


# What must fail does fail


def test_the_critic_can_learn_first(bandit: Bandit) -> None:
    stage = bandit.ppo(SETTINGS.model_copy(update={"updates": 3, "critic_first": 2}))
    assert stage.critic is not None
    policy, critic = ({name: one.clone() for name, one in weights.items()}
                      for weights in (stage.weights, stage.critic.weights))  # fmt: skip
    stage.update()
    stage.update()
    assert all(torch.equal(one, policy[name]) for name, one in stage.weights.items())
    assert any(not torch.equal(one, critic[name]) for name, one in stage.critic.weights.items())
    stage.update()
    assert any(not torch.equal(one, policy[name]) for name, one in stage.weights.items())


def test_without_a_penalty_it_leaves_the_reference(bandit: Bandit) -> None:
    stage = bandit.ppo(SETTINGS.model_copy(update={"beta": 0.0, "updates": 60}))
    rows = trained(stage)
    assert rows[-1]["kl"] > 1.0
    held = bandit.ppo(SETTINGS.model_copy(update={"updates": 60}))
    assert trained(held)[-1]["kl"] < 0.8 * rows[-1]["kl"]
    assert share_of_gain(bandit, stage.policy) < share_of_gain(bandit, held.policy) - 0.02


def test_a_score_on_the_padding_teaches_nothing(
    bandit: Bandit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_padding(scores: Tensor, *others: Any) -> Tensor:
        return token_rewards(torch.zeros_like(scores), *others)  # what is behind the mask is lost

    monkeypatch.setattr(module, "token_rewards", on_padding)
    stage = bandit.ppo(SETTINGS)
    trained(stage)
    assert share_of_gain(bandit, stage.policy) < 0.2


def test_dropout_is_noticed(bandit: Bandit, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Decoder.feed_forward

    def dropped(self: Decoder, x: Tensor, at: str) -> Tensor:
        return torch.dropout(whole(self, x, at), 0.2, True)

    monkeypatch.setattr(Decoder, "feed_forward", dropped)
    with pytest.raises(UserError, match="engine and the trainer differ"):
        bandit.ppo(SETTINGS).update()


def test_the_temperature_is_in_every_logprob(
    bandit: Bandit, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = SETTINGS.model_copy(update={"temperature": 0.3, "updates": 1})
    assert bandit.ppo(warm).update()["kl"] == pytest.approx(0.0, abs=1e-5)

    def cold_reference(model: Decoder, batch: Any, temperature: float = 1.0) -> Any:
        return target_logprobs(model, batch, 1.0 if model is bandit.reference else temperature)

    monkeypatch.setattr(module, "target_logprobs", cold_reference)
    assert abs(bandit.ppo(warm).update()["kl"]) > 0.02, "the policy is its reference: KL is 0"


def test_the_end_is_told_by_lengths_and_not_by_ids(bandit: Bandit) -> None:
    """Were the padding the end mark, a mask of `id != padding` would lose the end mark, and the
    score would be on the token before it."""
    stage = bandit.ppo(SETTINGS.model_copy(update={"max_tokens": 4, "updates": 1}))
    rollouts = module.roll_out(stage.policy, bandit.tokenizer, bandit.prompts, 2, 4, seed=0)
    batch = padded([one.encoded for one in rollouts], stage.policy.spec.shape.context)
    mask = torch.from_numpy(batch.weights).ne(0).float()
    assert mask.sum(dim=1).tolist() == [len(one.tokens) for one in rollouts]
    zeros, scores = torch.zeros_like(mask), torch.ones(len(mask))
    ours = token_rewards(scores, zeros, zeros, mask, 0.1)
    last = [np.flatnonzero(row)[-1] for row in batch.weights]
    assert ours.argmax(dim=1).tolist() == last
    ends = torch.from_numpy(batch.targets == rollouts[0].tokens[-1]).float()
    wrong = token_rewards(scores, zeros, zeros, mask * (1 - ends), 0.1)
    assert wrong[0].argmax() != ours[0].argmax()


def test_an_answer_without_an_end_gets_its_own_reward(bandit: Bandit) -> None:
    stage = bandit.ppo(SETTINGS.model_copy(update={"missing_end": -3.0, "updates": 1}))
    row = stage.update()
    assert row["ended"] == 0.0 and row["reward"] == -3.0
    assert IM_END not in {token for one in bandit.encoded for token in one.tokens[-1:].tolist()}


# Kept, taken up again, written down


def test_a_killed_run_goes_on_bit_for_bit(bandit: Bandit, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"updates": 4, "target_kl": 0.5})
    whole = bandit.ppo(settings, rollouts=tmp_path / "whole")
    trained(whole)
    first = bandit.ppo(settings, rollouts=tmp_path / "parts")
    first.update(), first.update()
    first.save(Run(tmp_path))
    second = bandit.ppo(settings, rollouts=tmp_path / "parts")
    checkpoint = Checkpoint.latest(tmp_path / "checkpoints")
    assert checkpoint is not None
    second.resume(checkpoint)
    trained(second)
    assert float(second.beta) == float(whole.beta) != settings.beta
    for name, weight in whole.weights.items():
        assert torch.equal(weight, second.weights[name]), name
    for number in range(1, 5):
        name = f"update-{number:06d}/records.jsonl"
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "parts" / name).read_text()


def test_every_rollout_is_on_disk_with_its_parts(bandit: Bandit, tmp_path: Path) -> None:
    stage = bandit.ppo(SETTINGS.model_copy(update={"updates": 1}), rollouts=tmp_path)
    row = stage.update()
    drawn = read_records(tmp_path / "update-000001")
    assert len(drawn) == 48 * 4 and set(drawn[0].details["reward"]) == {"one", "other"}
    total = np.mean([one.details["total"] for one in drawn])
    assert total == pytest.approx(row["reward"], abs=1e-6)
    assert drawn[0].prompt.startswith("user: ") and drawn[0].tokens > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"advantage": "rloo", "samples": 1}, "samples of 2 or more"),
        ({"pretraining": 0.5}, "rows of a corpus"),
    ],
)
def test_settings_that_cannot_work(bandit: Bandit, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        bandit.ppo(SETTINGS.model_copy(update=change))


def test_pretraining_is_mixed_in(bandit: Bandit) -> None:
    """With a heavy weight on rows of one letter the policy says that letter."""
    rows = padded([bandit.encoded[0]] * 4, 64)
    rows.weights[:] = (rows.targets > 0).astype(np.float32)
    plain = bandit.ppo(SETTINGS.model_copy(update={"updates": 3}))
    mixed = bandit.ppo(
        SETTINGS.model_copy(update={"updates": 3, "pretraining": 5.0}),
        corpus=lambda start, count: rows,
    )
    trained(plain), trained(mixed)
    with torch.no_grad():
        nats = [float(one.policy(one.policy.inputs(rows))[0]) for one in (plain, mixed)]
    assert nats[1] < 0.7 * nats[0]
