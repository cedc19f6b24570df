"""Fitted rules: known orders are found, margins are kept, reports are honest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from foresight.errors import UserError
from foresight.posttrain.chat import user
from foresight.posttrain.rubric import Answered, Rubric
from foresight.posttrain.rule_weights import (
    Rated,
    RuleWeights,
    fit_rule_weights,
    ordered_pairs,
    ordering_error,
)
from tests.posttrain.rubrics import rubric

BIASED = {"good": -2.8, "plain": -1.0, "bad": 0.4, "unreadable": 0.0}
"""A helpful-only reward model."""


def sampled(
    means: dict[str, float], prompts: int = 60, each: int = 6, noise: float = 0.3, seed: int = 0
) -> tuple[Rubric, Rated]:
    """Answers whose class is certain, with rewards around their class's mean."""
    small, random = rubric(), np.random.default_rng(seed)
    labels = random.choice(list(means), prompts * each)
    samples = [
        Answered(str(at), "risky", user(f"Prompt {at // each}"), "x") for at in range(len(labels))
    ]
    rewards = np.array([means[one] for one in labels]) + noise * random.standard_normal(len(labels))
    columns = [small.columns.index(one) for one in labels]
    return small, Rated.of(small, samples, rewards, np.eye(4)[columns])


def _exact(steps: np.ndarray, needed: np.ndarray) -> float:
    """Least mean hinge loss without L2, by linear programming."""
    n, k = steps.shape
    cost = np.r_[np.zeros(2 * k), np.full(n, 1 / n)]
    rows = np.hstack([-steps, steps, -np.eye(n)])
    return float(linprog(cost, A_ub=rows, b_ub=-needed, bounds=(0, None)).fun)


def test_a_biased_reward_model_is_overruled() -> None:
    small, rated = sampled(BIASED)
    weights, (report,) = fit_rule_weights(rated, small)
    assert report.before is not None and report.before.mean > 0.9
    assert report.after is not None and report.after.mean < 0.02
    assert report.after.high is not None and report.after.high > 0, "no error seen is not none"
    assert report.overturns and report.prompts < 60 and report.unseen == ()
    assert report.model_gap is not None and report.rule_gap is not None
    assert report.rule_gap > report.model_gap > 3
    good, plain, bad, unreadable = weights.sets["risky"]
    assert good > plain > bad == unreadable
    assert weights.sets["safe"] == (0, 0, 0, 0), "no order, no rules"
    assert fit_rule_weights(rated, small)[0] == weights, "deterministic"


@given(
    st.permutations(list(BIASED)[:3]),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.floats(0.1, 2.5),
)
@settings(max_examples=15)
def test_any_order_is_recovered_with_its_margin(
    order: list[str], means: list[float], margin: float
) -> None:
    _, rated = sampled(dict(zip(BIASED, means, strict=False)), noise=0.0)
    scale = {name: float(-place) for place, name in enumerate(order)}
    small = rubric(sets={"risky": scale}, order={"risky": [[name] for name in order]})
    weights, (report,) = fit_rule_weights(rated, small, margin)
    assert report.after is not None and report.after.mean == 0
    total = weights.total(rated)
    pairs = ordered_pairs(rated, small, "risky")
    assert (total[pairs[:, 0]] - total[pairs[:, 1]]).min() > margin - 0.02


@pytest.mark.parametrize(("margin", "whole"), [(0.5, 0), (1.5, 1)])
def test_margins_are_not_cut_to_whole_numbers(margin: float, whole: int) -> None:
    small, rated = sampled(dict.fromkeys(BIASED, 0.0), noise=0.0)

    def gap(asked: float) -> float:
        good, plain, *_ = fit_rule_weights(rated, small, asked)[0].sets["risky"]
        return good - plain

    assert gap(margin) == pytest.approx(margin, abs=0.01)
    assert gap(margin) - gap(whole) > 0.4
    by_class = fit_rule_weights(rated, small, {"plain": 0.25, "bad": margin})[0].sets["risky"]
    assert by_class[0] - by_class[1] == pytest.approx(0.25, abs=0.01)
    with pytest.raises(UserError, match="no margin for class"):
        fit_rule_weights(rated, small, {"plain": 1.0})


def test_the_solution_is_the_best_there_is() -> None:
    small, rated = sampled(BIASED, prompts=25, noise=2.5)
    weights, _ = fit_rule_weights(rated, small, l2=1e-6, holdout=0.0)
    pairs = ordered_pairs(rated, small, "risky")
    steps = rated.features[pairs[:, 0]] - rated.features[pairs[:, 1]]
    needed = 1.0 - (rated.rewards[pairs[:, 0]] - rated.rewards[pairs[:, 1]])
    w = np.array([*weights.sets["risky"][:3], 0.0])
    found = np.maximum(needed - steps @ w, 0).mean()
    assert found == pytest.approx(_exact(steps, needed), abs=2e-3)


def test_pairs_are_of_one_prompt_and_never_unreadable() -> None:
    small, rated = sampled(BIASED)
    pairs = ordered_pairs(rated, small, "risky")
    assert (rated.prompts[pairs[:, 0]] == rated.prompts[pairs[:, 1]]).all()
    assert not {rated.labels[at] for at in pairs.ravel()} & {"unreadable"}
    ranks = small.ranks("risky")
    assert all(ranks[rated.labels[a]] < ranks[rated.labels[b]] for a, b in pairs)
    count = 0
    for prompt in set(rated.prompts):
        own = [rated.labels[at] for at in np.flatnonzero(rated.prompts == prompt)]
        have = [own.count(name) for name in small.names]
        count += have[0] * have[1] + have[0] * have[2] + have[1] * have[2]
    assert len(pairs) == count
    assert ordered_pairs(rated, small, "safe").shape == (0, 2)


def test_held_out_prompts_do_not_move_the_weights() -> None:
    small, rated = sampled(BIASED, noise=1.0)
    weights, (report,) = fit_rule_weights(rated, small, seed=3)
    kept = np.random.default_rng(3).random(60) >= 0.3
    changed = np.where(kept[rated.prompts], rated.rewards, -rated.rewards)
    other, (moved,) = fit_rule_weights(replace(rated, rewards=changed), small, seed=3)
    assert other == weights and moved.before != report.before


def test_without_held_out_pairs_nothing_is_claimed() -> None:
    small, rated = sampled(BIASED)
    _, (report,) = fit_rule_weights(rated, small, holdout=0.0)
    assert report.before is None and report.after is None and report.prompts == 56
    assert ordering_error(rated.rewards, np.zeros((0, 2), np.intp), rated.prompts) is None


def test_classes_that_were_not_seen_are_no_way_out() -> None:
    means = {"good": -2.0, "plain": 1.0}
    small, rated = sampled(means)
    weights, (report,) = fit_rule_weights(rated, small)
    good, plain, bad, unreadable = weights.sets["risky"]
    assert report.unseen == ("bad",) and good > plain == bad == unreadable
    assert not report.overturns and report.model_gap is None, "nothing to overturn was seen"


def test_a_reward_model_that_cannot_be_overruled_is_told() -> None:
    small, rated = sampled(BIASED)
    rated.rewards[ordered_pairs(rated, small, "risky")[0, 1]] += 50
    (report,) = fit_rule_weights(rated, small, l2=10.0)[1]
    assert not report.overturns


def test_one_answer_a_prompt_is_not_enough() -> None:
    small, rated = sampled(BIASED, each=1)
    with pytest.raises(UserError, match="prompt set risky: no prompt has two answers"):
        fit_rule_weights(rated, small)


def test_propositions_can_be_the_features() -> None:
    small, rated = sampled(BIASED)
    facts = np.array([[one == "good", one == "bad"] for one in rated.labels], float)
    by_fact = replace(rated, features=facts, names=tuple(small.propositions))
    weights, (report,) = fit_rule_weights(by_fact, small)
    assert weights.features == ("sorry", "harm") and report.overturns
    assert report.after is not None and report.after.mean < 0.02


def test_weights_are_kept(tmp_path: Path) -> None:
    small, rated = sampled(BIASED)
    weights, _ = fit_rule_weights(rated, small)
    weights.save(tmp_path / "w.json")
    assert RuleWeights.load(tmp_path / "w.json") == weights
    hand = RuleWeights.by_hand(small)
    assert hand.sets["risky"] == (1, 0.5, -1, -1)
    expected = small.expected_rewards(rated.prompt_sets, rated.features)
    assert (hand.rules(rated.prompt_sets, rated.features) == expected).all()
    with pytest.raises(UserError, match="prompt set 'x'"):
        hand.rules(["x"], rated.features[:1])
    (tmp_path / "w.json").write_text('{"sets": 3}')
    with pytest.raises(UserError, match="not saved rule weights"):
        RuleWeights.load(tmp_path / "w.json")
