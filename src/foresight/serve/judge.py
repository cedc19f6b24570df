"""How much of each category there is in an exchange: rules, a trained classifier, the model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from foresight.posttrain.text_classifier import TextClassifier
from foresight.serve.policy import ACTIONS, Action, Policy, Side

LONGEST = 20_000
"""Characters of a text that are judged; of a longer one, its beginning and its end."""
Asks = Callable[[str, str, str], Awaitable[float]]
"""(statement, input, output) -> how likely it is true."""


@dataclass(frozen=True)
class Verdict:
    """`category`: the one that led to the action."""

    action: Action = "allow"
    category: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


class Judge:
    """Raises UserError for a classifier that cannot be loaded. `asks`: needed where the policy
    names a model."""

    def __init__(self, policy: Policy, asks: Asks | None = None) -> None:
        self.policy, self._asks = policy, asks
        self._rules = {
            one.name: [re.compile(rule, re.IGNORECASE) for rule in one.rules]
            for one in policy.categories
        }
        self._classifier = TextClassifier.load(policy.classifier) if policy.classifier else None

    async def judge(self, side: Side, asked: str, answered: str = "") -> Verdict:
        """Of what was asked, or of what was answered to it."""
        if not self.policy.judges(side):
            return Verdict()
        asked, answered = _shortened(asked), _shortened(answered)
        text = answered if side == "output" else asked
        learned: dict[str, float] = {}
        if self._classifier is not None:
            learned = await asyncio.to_thread(_learned, self._classifier, asked, answered)
        scores = {}
        for one in self.policy.categories:
            if side not in one.sides:
                continue
            found = [learned.get(one.name, 0.0)]
            found += [1.0 for rule in self._rules[one.name] if rule.search(text)]
            if self._asks is not None and one.asks:
                found.append(await self._asks(one.asks, asked, answered))
            scores[one.name] = max(found)
        return self._verdict(scores)

    def _verdict(self, scores: Mapping[str, float]) -> Verdict:
        worst = Verdict(scores=scores)
        for one in self.policy.categories:
            score = scores.get(one.name)
            if score is None:
                continue
            action = one.action(score)
            if ACTIONS.index(action) > ACTIONS.index(worst.action):
                worst = Verdict(action, one.name, scores)
        return worst


def _learned(classifier: TextClassifier, asked: str, answered: str) -> dict[str, float]:
    [shares] = classifier.probabilities([(asked, answered)])
    return dict(zip(classifier.labels, map(float, shares), strict=True))


def _shortened(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}\n{text[-half:]}"
