"""The audit refuses what is known to fail; the alarm tells of a collapse, and seldom of none."""

from __future__ import annotations

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.posttrain.reward_audit import CollapseAlarm, audit_rewards, class_shares
from foresight.posttrain.rubric import read_rubric
from foresight.posttrain.rule_weights import Rated, RuleWeights, fit_rule_weights
from tests.posttrain.rubrics import rubric
from tests.posttrain.test_rule_weights import BIASED, sampled

NAMES = ("desired_refusal", "undesired_refusal", "disallowed_content", "safe_non_refusal")
MODEL_SAYS = (-2.7, -3.0, 0.36, 0.36)
"""Mean of a helpful-only reward model by class, measured."""
BY_HAND = (2.0, -0.6, -3.0, 0.0, -3.0)
"""Bonuses with which refusals vanished although every curve looked healthy."""


def _disallowed() -> Rated:
    random = np.random.default_rng(0)
    at = random.choice(3, 1200, p=(0.12, 0.13, 0.75))
    return Rated(
        np.arange(1200) // 8,
        ["disallowed"] * 1200,
        [NAMES[one] for one in at],
        np.array(MODEL_SAYS)[at] + 0.4 * random.standard_normal(1200),
        np.eye(5)[at],
        (*NAMES, "unreadable"),
    )


def test_bonuses_by_hand_are_refused_and_fitted_ones_pass() -> None:
    refusal, rated = read_rubric("refusal"), _disallowed()
    hand = RuleWeights("refusal", refusal.columns, {"disallowed": BY_HAND})
    audit = audit_rewards(rated, hand.total(rated), refusal)
    assert [(high.label, low.label) for high, low in audit.wrong] == [
        ("undesired_refusal", "disallowed_content")
    ]
    with pytest.raises(UserError) as raised:
        audit.refuse()
    told = str(raised.value)
    assert "prompt set disallowed: undesired_refusal (-3.6" in told
    assert "is to earn more than disallowed_content (-2.6" in told and ", n 1" in told
    only = refusal.model_copy(update={"order": {"disallowed": refusal.order["disallowed"]}})
    fitted, (report,) = fit_rule_weights(rated, only)
    passed = audit_rewards(rated, fitted.total(rated), only)
    passed.refuse()
    assert passed.wrong == () and report.overturns
    assert [one.label for one in passed.thin] == ["safe_non_refusal"] == list(report.unseen)
    means = [one.mean for one in passed.means]
    assert means[0] is not None and means[-1] is not None and means[0] > means[-1] + 0.5


def test_the_reward_model_alone_is_refused() -> None:
    small, rated = sampled(BIASED)
    audit = audit_rewards(rated, rated.rewards, small)
    assert len(audit.wrong) == 3
    for one in audit.means:
        assert one.low is not None and one.high is not None
        assert one.low < BIASED[one.label] < one.high


def test_few_answers_are_not_judged_and_told() -> None:
    small, rated = sampled(BIASED, prompts=4, each=4)
    audit = audit_rewards(rated, rated.rewards, small)
    assert audit.wrong == () and {one.label for one in audit.thin} == {"good", "plain", "bad"}
    empty = audit_rewards(sampled({"plain": 0.0})[1], np.zeros(360), small)
    assert [one.n for one in empty.means] == [0, 360, 0] and empty.means[0].mean is None
    one_prompt = audit_rewards(*(sampled(BIASED, prompts=1, each=9)[1],), np.zeros(9), small)
    assert all(one.low is None for one in one_prompt.means)


def test_equal_means_are_wrong_and_ties_are_not() -> None:
    small, rated = sampled(BIASED)
    tied = small.model_copy(update={"order": {"risky": (("good", "plain"), ("bad",))}})
    totals = np.array([{"good": 1.0, "plain": 0.5}.get(one, 0.0) for one in rated.labels])
    assert audit_rewards(rated, totals, tied).wrong == ()
    assert len(audit_rewards(rated, np.zeros(len(totals)), tied).wrong) == 2


def _run(alarm: CollapseAlarm, shares: list[float], n: int = 40) -> list[int]:
    return [
        step
        for step, share in enumerate(shares)
        if alarm.see(step, {"risky": {"good": share}}, {"risky": n})
    ]


def test_a_collapse_is_told_within_a_window() -> None:
    falling = [0.08] * 10 + [0.04] * 5 + [0.0] * 15
    told = _run(CollapseAlarm(rubric()), falling)
    # At step 22 two of ten steps still had .04: .8 % of the window.
    assert told and told[0] == 22 and told == list(range(22, 30))
    (one,) = CollapseAlarm(rubric(), window=1).see(0, {"risky": {"good": 0.5}}, {"risky": 9}) or [
        None
    ]
    assert one is None


def test_no_alarm_without_a_beginning_or_rollouts() -> None:
    assert _run(CollapseAlarm(rubric()), [0.0] * 40) == [], "never was above"
    assert _run(CollapseAlarm(rubric()), [0.05] * 40) == []
    alarm = CollapseAlarm(rubric(), window=2)
    assert not any(alarm.see(step, {}, {}) for step in range(9))
    assert not alarm.see(9, {"safe": {"good": 0.0}}, {"safe": 40}), "a set without an order"


def test_what_is_told() -> None:
    alarm = CollapseAlarm(rubric(), window=2)
    for step, share in enumerate((0.2, 0.1, 0.0)):
        assert alarm.see(step, {"risky": {"good": share}}, {"risky": 10}) == ()
    (one,) = alarm.see(3, {"risky": {"good": 0.0}}, {"risky": 10})
    assert (one.prompt_set, one.labels, one.step, one.rollouts) == ("risky", ("good",), 3, 20)
    assert one.beginning == pytest.approx(0.15) and one.now == 0


@pytest.mark.parametrize("true_share", [0.02, 0.03])
def test_false_alarms_are_as_often_as_computed(true_share: float) -> None:
    random, n, windows = np.random.default_rng(0), 40, 1500
    alarm = CollapseAlarm(rubric())
    predicted = alarm.false_alarm(true_share, 10 * n)
    alarms = 0
    for _ in range(windows):
        alarm = CollapseAlarm(rubric())
        shares = [0.1] * 10 + list(random.binomial(n, true_share, 10) / n)
        alarms += 19 in _run(alarm, shares, n)
    error = 4 * np.sqrt(predicted * (1 - predicted) / windows)
    assert abs(alarms / windows - predicted) < error + 1e-3


def test_the_figures_of_the_docstring() -> None:
    alarm = CollapseAlarm(rubric())
    found = [alarm.false_alarm(p, 400) for p in (0.05, 0.02, 0.01)]
    assert found == pytest.approx([2.2e-6, 0.040, 0.43], rel=0.1)
    assert alarm.false_alarm(0.5, 0) == 0


def test_shares_of_classes() -> None:
    rows = np.array([[1, 0, 0, 0], [0, 0, 0.5, 0.5], [0, 1, 0, 0]], float)
    shares, counts = class_shares(rubric(), ["risky", "risky", "safe"], rows)
    assert counts == {"risky": 2, "safe": 1}
    assert shares["risky"] == {"good": 0.5, "plain": 0.0, "bad": 0.25, "unreadable": 0.25}
