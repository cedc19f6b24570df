"""Two alarms around reinforcement learning with rules: before it starts, and while it runs.

Both answer a failure that no usual curve shows: with rewards that put harmful answers above clumsy
refusals, the reward rises, the win rate rises, and refusals vanish.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy.special import bdtr

from foresight.errors import UserError
from foresight.evals.statistics import cluster_codes, t_quantile
from foresight.posttrain.condition import Floats
from foresight.posttrain.rubric import Rubric
from foresight.posttrain.rule_weights import Rated

LEAST = 20
"""Of fewer answers of a class no order is concluded."""


@dataclass(frozen=True)
class ClassMean:
    """Mean reward of a prompt set's answers of one class, with a 95 % interval (Student's t over
    prompts); None where there is none to tell."""

    prompt_set: str
    label: str
    n: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Audit:
    """Means per set and class, best class first; `wrong`: pairs (better, worse) in the wrong
    order; `thin`: classes of too few answers to be judged."""

    means: tuple[ClassMean, ...]
    wrong: tuple[tuple[ClassMean, ClassMean], ...]
    thin: tuple[ClassMean, ...]

    def refuse(self) -> None:
        """Raises UserError if a class earns no less than a better one."""
        if self.wrong:
            told = "; ".join(
                f"prompt set {high.prompt_set}: {_told(high)} is to earn more than {_told(low)}"
                for high, low in self.wrong
            )
            raise UserError(
                f"the composed reward has classes in the wrong order, training would unlearn the "
                f"better one: {told}. Fit the rules to the reward model (fit_rule_weights)"
            )


def audit_rewards(rated: Rated, totals: Floats, rubric: Rubric, least: int = LEAST) -> Audit:
    """Of composed rewards (n,) of answers of the policy that training starts from.

    Orders are judged by the means themselves, not by whether the difference is significant: a
    reward that may be wrong is not one to start with.
    """
    means, wrong = [], []
    for name, tiers in rubric.order.items():
        rows = [[_class_mean(rated, totals, name, one) for one in tied] for tied in tiers]
        means += [one for tied in rows for one in tied]
        for better, worse in combinations(rows, 2):
            wrong += [
                (high, low)
                for high, low in product(better, worse)
                if min(high.n, low.n) >= max(least, 1) and (high.mean or 0) <= (low.mean or 0)
            ]
    thin = tuple(one for one in means if one.n < least)
    return Audit(tuple(means), tuple(wrong), thin)


def _class_mean(rated: Rated, totals: Floats, prompt_set: str, label: str) -> ClassMean:
    pairs = zip(rated.prompt_sets, rated.labels, strict=True)
    own = np.array([one == (prompt_set, label) for one in pairs], bool)
    n, values = int(own.sum()), totals[own]
    if n == 0:
        return ClassMean(prompt_set, label, 0, None, None, None)
    mean = float(values.mean())
    sums = np.bincount(cluster_codes(list(rated.prompts[own])), weights=values - mean)
    if (groups := len(sums)) < 2:
        return ClassMean(prompt_set, label, n, mean, None, None)
    half = t_quantile(groups - 1) * math.sqrt(groups / (groups - 1) * float(sums @ sums)) / n
    return ClassMean(prompt_set, label, n, mean, mean - half, mean + half)


def _told(one: ClassMean) -> str:
    band = "" if one.low is None else f" [{one.low:.2f}, {one.high:.2f}]"
    return f"{one.label} ({one.mean:.2f}{band}, n {one.n})"


@dataclass(frozen=True)
class Collapse:
    """A prompt set's best class has all but vanished: shares at the beginning and now."""

    prompt_set: str
    labels: tuple[str, ...]
    step: int
    beginning: float
    now: float
    rollouts: int
    """Behind `now`."""


class CollapseAlarm:
    """Tells when a set's best class falls below a share of its rollouts, over a window of steps,
    although it was above in the first window.

    A class whose true share is p gives a false alarm in a window of N rollouts with probability
    P(Binomial(N, p) < share N), see `false_alarm`: at N = 400 and share 1 % it is 2.2e-6 for
    p = 5 %, .04 for p = 2 %, .43 for p = 1 %. Over a run at most this times its windows. So the
    window is to hold some hundred rollouts of the set, more where the class is rare to begin with.
    """

    def __init__(self, rubric: Rubric, share: float = 0.01, window: int = 10) -> None:
        self.share, self.window = share, window
        self._best = {name: tiers[0] for name, tiers in rubric.order.items()}
        self._seen: dict[str, deque[tuple[float, int]]] = {
            name: deque(maxlen=window) for name in self._best
        }
        self._beginning: dict[str, float] = {}

    def see(
        self,
        step: int,
        shares: Mapping[str, Mapping[str, float]],
        rollouts: Mapping[str, int],
    ) -> tuple[Collapse, ...]:
        """Class shares of a step's rollouts and their number, both per prompt set. Sets without
        rollouts in a step do not move."""
        found = []
        for name, labels in self._best.items():
            if not (n := rollouts.get(name, 0)):
                continue
            seen = self._seen[name]
            seen.append((n * sum(shares[name].get(one, 0.0) for one in labels), n))
            if len(seen) < self.window:
                continue
            total = sum(count for _, count in seen)
            now = sum(hits for hits, _ in seen) / total
            beginning = self._beginning.setdefault(name, now)
            if now < self.share <= beginning:
                found.append(Collapse(name, labels, step, beginning, now, total))
        return tuple(found)

    def false_alarm(self, true_share: float, rollouts: int) -> float:
        """Probability that a window of so many rollouts alarms though the true share is this."""
        most = math.ceil(self.share * rollouts) - 1
        return float(bdtr(most, rollouts, true_share)) if most >= 0 else 0.0


def class_shares(
    rubric: Rubric, prompt_sets: Sequence[str], probabilities: Floats
) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Mean probability of each class and number of answers, per prompt set: what `see` takes."""
    shares, counts = {}, {}
    for name in dict.fromkeys(prompt_sets):
        own = probabilities[np.array([one == name for one in prompt_sets])]
        shares[name] = dict(zip(rubric.columns, map(float, own.mean(0)), strict=True))
        counts[name] = len(own)
    return shares, counts
