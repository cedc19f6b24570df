"""Rules put together with a reward model, and audited, before anything is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foresight.data.tokenizer import Tokenizer
from foresight.errors import UserError
from foresight.inference.open import open_model
from foresight.model.decoder import Decoder
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.graders import Grader, LabelGrader, TrainedGrader
from foresight.posttrain.reward_audit import Audit, CollapseAlarm, audit_rewards
from foresight.posttrain.reward_model import LearnedReward, score
from foresight.posttrain.rollout import roll_out
from foresight.posttrain.rubric import Rubric
from foresight.posttrain.rule_weights import Rated, SetFit, fit_rule_weights
from foresight.posttrain.ruled_reward import RuledReward, answered_of
from foresight.posttrain.scalar_model import ScalarModel

PROMPTS, SAMPLES = 600, 4
"""Prompts of a set that answers are drawn to, and how many each."""


def open_grader(name: str, rubric: Rubric) -> Grader:
    """A trained grader's folder, a run of ours, or `api:NAME@URL`. Raises UserError."""
    if (Path(name) / "classifier.json").exists():
        return TrainedGrader.load(Path(name), rubric)
    written = name.startswith("api:")
    return LabelGrader(open_model(name), rubric, written=written)


def compose(
    model: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[ChatPrompt],
    learned: ScalarModel,
    rubric: Rubric,
    grader: Grader,
    max_tokens: int,
    seed: int,
) -> tuple[RuledReward, Audit]:
    """Draw answers of the model, fit the rules to the reward model on them, and audit the sum.

    The audit is to be asked to `refuse`. Raises UserError if no prompt has rules.
    """
    ruled = [one for one in prompts if rubric.order.get(one.prompt_set)]
    if not ruled:
        raise UserError(
            f"no prompt is of a set that rubric {rubric.name} orders ({', '.join(rubric.order)})"
        )
    chosen = np.random.default_rng(seed).permutation(len(ruled))[:PROMPTS]
    drawn = roll_out(model, tokenizer, [ruled[at] for at in chosen], SAMPLES, max_tokens, seed)
    samples = answered_of(drawn)
    classes = grader.grade(samples)
    rewards = score(learned, [one.encoded for one in drawn])
    rated = Rated.of(rubric, samples, rewards, classes)
    reward, audit, _ = with_rules(rated, rubric, learned, grader, seed)
    return reward, audit


def with_rules(
    rated: Rated, rubric: Rubric, learned: ScalarModel, grader: Grader, seed: int
) -> tuple[RuledReward, Audit, tuple[SetFit, ...]]:
    """The reward with rules fitted to rated answers, the audit of it on these, and how the fit
    went."""
    weights, fits = fit_rule_weights(rated, rubric, seed=seed)
    audit = audit_rewards(rated, weights.total(rated), rubric)
    reward = RuledReward(
        LearnedReward(learned), grader, rubric, weights, alarm=CollapseAlarm(rubric)
    )
    return reward, audit, fits
