"""A reward composed of a reward model, rules, and answers that are right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foresight.posttrain.graders import Grader
from foresight.posttrain.reward_audit import Collapse, CollapseAlarm, class_shares
from foresight.posttrain.rollout import Reward, Rollout
from foresight.posttrain.rubric import Answered, Rubric
from foresight.posttrain.rule_weights import RuleWeights

Checker = Callable[[Rollout], float]


def answered_of(rollouts: Sequence[Rollout]) -> list[Answered]:
    """Rollouts as graders take them."""
    return [
        Answered(f"{one.prompt.id}/{one.sample}", one.prompt.prompt_set, one.prompt.messages,
                 one.text)
        for one in rollouts
    ]  # fmt: skip


class RuledReward:
    """`helpful` of the reward model and `rules` of the grader's classes, on prompts of the sets
    that the weights know; on prompts of other sets what `checkers` say, by set, or the reward
    model alone. An alarm, if there is one, watches the classes; `collapses`: what it said."""

    def __init__(
        self,
        helpful: Reward,
        grader: Grader,
        rubric: Rubric,
        weights: RuleWeights,
        checkers: dict[str, Checker] | None = None,
        alarm: CollapseAlarm | None = None,
        scale: float = 1.0,
    ) -> None:
        self.name = f"{helpful.name} + rules by {grader.name}"
        self._helpful, self._grader, self._rubric, self._weights = helpful, grader, rubric, weights
        self._checkers, self.alarm, self._scale = checkers or {}, alarm, scale
        self._update = 0
        self.collapses: list[Collapse] = []

    def afresh(self) -> RuledReward:
        """The same reward for another run: its alarm has seen nothing."""
        alarm = CollapseAlarm(self._rubric) if self.alarm else None
        return RuledReward(self._helpful, self._grader, self._rubric, self._weights,
                           self._checkers, alarm, self._scale)  # fmt: skip

    def __call__(self, rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
        self._update += 1
        parts: list[dict[str, float]] = [{} for _ in rollouts]
        for at, one in enumerate(rollouts):
            if check := self._checkers.get(one.prompt.prompt_set):
                parts[at] = {one.prompt.prompt_set: check(one)}
        open_ = [at for at, part in enumerate(parts) if not part]
        if not open_:
            return parts
        some = [rollouts[at] for at in open_]
        for at, helped in zip(open_, self._helpful(some), strict=True):
            parts[at] = {name: self._scale * value for name, value in helped.items()}
        ruled = [
            at for at, one in zip(open_, some, strict=True)
            if one.prompt.prompt_set in self._weights.sets
        ]  # fmt: skip
        if ruled:
            samples = answered_of([rollouts[at] for at in ruled])
            sets = [one.prompt_set for one in samples]
            classes = self._grader.grade(samples)
            for at, value in zip(ruled, self._weights.rules(sets, classes), strict=True):
                parts[at]["rules"] = self._scale * float(value)
            if self.alarm:
                shares = class_shares(self._rubric, sets, classes)
                self.collapses += self.alarm.see(self._update, *shares)
        return parts
