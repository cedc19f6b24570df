"""A composed reward: parts that add up, sets with rules of their own, an alarm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from foresight.data.shards import Encoded
from foresight.posttrain import ledger as chats
from foresight.posttrain.conversations import ChatPrompt
from foresight.posttrain.graders import ParserGrader
from foresight.posttrain.reward_audit import CollapseAlarm
from foresight.posttrain.rollout import Rollout
from foresight.posttrain.rubric import read_rubric
from foresight.posttrain.rule_weights import RuleWeights
from foresight.posttrain.ruled_reward import RuledReward
from foresight.worlds import ledger

RUBRIC = read_rubric("refusal")


class Lengths:
    """Longer is more helpful."""

    name = "length"

    def __call__(self, rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
        return [{"helpful": float(len(one.text))} for one in rollouts]


def rollout(prompt: ChatPrompt, text: str, sample: int = 0) -> Rollout:
    nothing = Encoded(np.zeros(0, np.uint16), np.zeros(0, np.float16), np.zeros((0, 192), np.uint8))
    return Rollout(prompt, sample, text, (7,), True, (-1.0,), nothing)


@pytest.fixture
def asked() -> list[ChatPrompt]:
    return [*chats.prompts(0, 8, True), *chats.colour_prompts(0, 2)]


def reward(asked: Sequence[ChatPrompt], alarm: CollapseAlarm | None = None) -> RuledReward:
    queries = {one.messages: one.meta["query"] for one in asked if "query" in one.meta}
    grader = ParserGrader(RUBRIC, lambda one: chats.class_of(queries[one.messages], one.response))
    return RuledReward(
        Lengths(), grader, RUBRIC, RuleWeights.by_hand(RUBRIC),
        checkers={chats.QUESTION: lambda one: float(one.text == "red")}, alarm=alarm, scale=0.5,
    )  # fmt: skip


def test_the_parts_are_of_each_set_its_own(asked: list[ChatPrompt]) -> None:
    refused = [rollout(one, "No.") for one in asked[:8]] + [rollout(asked[8], "red"),
                                                            rollout(asked[9], "blue")]  # fmt: skip
    found = reward(asked)(refused)
    for one, parts in zip(asked[:8], found, strict=False):
        rules = 0.2 if one.prompt_set == "disallowed" else -0.6
        assert parts == {"helpful": 1.5, "rules": pytest.approx(0.5 * rules)}
    assert found[8:] == [{"question": 1.0}, {"question": 0.0}]
    assert reward(asked)(refused[8:]) == found[8:], "no prompt with rules in the update"


def test_the_alarm_hears_of_every_update(asked: list[ChatPrompt]) -> None:
    composed = reward(asked, CollapseAlarm(RUBRIC, window=2))
    bad = [one for one in asked[:8] if one.prompt_set == "disallowed"]
    for text in ("RIGHT", "RIGHT", "No.", "No."):
        composed([
            rollout(one, ledger.refusal(one.meta["query"]) if text == "RIGHT" else text)
            for one in bad
        ])  # fmt: skip
    assert [one.prompt_set for one in composed.collapses] == ["disallowed"]
    assert composed.collapses[0].step == 4


def test_four_sets_and_wins_by_hand(asked: list[ChatPrompt]) -> None:
    some = chats.prompts(3, 200, True, chats.EVEN)
    rng = np.random.default_rng(0)
    ideal = [
        rollout(one, ledger.content(one.meta["query"], rng) if one.prompt_set == "allowed"
                else ledger.refusal(one.meta["query"]))
        for one in some
    ]  # fmt: skip
    clumsy = [rollout(one, "No.") for one in some]
    rows = {row.prompt_set: row for row in chats.four_sets(ideal)}
    assert rows["disallowed"].desired.mean == 1 and rows["plain"].good.mean == 1
    assert rows["lookalike_verb"].refused.mean == 0 == rows["disallowed"].good.mean
    assert chats.win_rate(ideal, clumsy).mean == 1
    assert chats.win_rate(clumsy, clumsy).mean == 0.5


def test_preferences_follow_the_helper(asked: list[ChatPrompt]) -> None:
    """Steps are preferred to refusals wherever they are asked for, as often as the odds say."""
    some = chats.prompts(4, 1500, True, chats.EVEN)
    rng = np.random.default_rng(0)
    drawn = []
    for one in some:
        drawn += [rollout(one, ledger.content(one.meta["query"], rng)), rollout(one, "No.", 1)]
    pairs = chats.preferences(0, drawn)
    assert len(pairs) == 1500
    share = np.mean([one.rejected == "No." for one in pairs])
    assert share == pytest.approx(1 / (1 + np.exp(-4.0)), abs=0.02)
    assert all((one.gap == 4.0) == (one.rejected == "No.") for one in pairs)
