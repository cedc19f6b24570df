"""Rules fitted to a reward model: total(x, y) = RM(x, y) + w[set] . features(x, y).

Bonuses set by hand do not know the reward model's scale, and can leave a harmful answer above a
clumsy refusal. So the weights are fitted (Mu et al. 2024, Rule Based Rewards, section 4.2): over
all pairs of answers to the same prompt of which the rubric's order says which one is better, the
mean of max(0, margin + total(worse) - total(better)). The problem is convex, with a small L2 term
strictly so: it has one solution, found by L-BFGS on a hinge that is rounded ever less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from foresight.errors import UserError
from foresight.evals.statistics import Estimate, cluster_codes, mean_estimate
from foresight.posttrain.condition import Floats
from foresight.posttrain.rubric import Answered, Rubric
from foresight.runs import read_json, write_json

Ints = NDArray[np.intp]
ROUNDING = (1.0, 0.1, 0.01, 0.001)
"""Width of the hinge's rounded corner, in units of reward, from first to last solution."""


@dataclass(frozen=True, eq=False)
class Rated:
    """Answers (n) with what is known of them.

    `prompts`: the same number for answers to the same prompt; `labels`: the class of each;
    `rewards` (n,): the reward model's; `features` (n, k), named by `names`.
    """

    prompts: Ints
    prompt_sets: Sequence[str]
    labels: Sequence[str]
    rewards: Floats
    features: Floats
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        rubric: Rubric,
        samples: Sequence[Answered],
        rewards: Floats,
        probabilities: Floats,
        labels: Sequence[str] | None = None,
    ) -> Rated:
        """With a grader's probabilities (n, classes + 1) as features. Answers to equal
        conversations are answers to the same prompt. `labels`: default the likeliest class."""
        likeliest = [rubric.columns[at] for at in probabilities.argmax(1)]
        return cls(
            cluster_codes([one.messages for one in samples]),
            [one.prompt_set for one in samples],
            likeliest if labels is None else labels,
            np.asarray(rewards, float),
            probabilities,
            rubric.columns,
        )


@dataclass(frozen=True)
class RuleWeights:
    """A weight for each feature, per prompt set."""

    rubric: str
    features: tuple[str, ...]
    sets: Mapping[str, tuple[float, ...]]

    @classmethod
    def by_hand(cls, rubric: Rubric) -> RuleWeights:
        """The rewards of the rubric's `sets`, whatever the reward model says."""
        sets = {name: tuple(map(float, rubric.rewards(name))) for name in rubric.sets}
        return cls(rubric.name, rubric.columns, sets)

    def rules(self, prompt_sets: Sequence[str], features: Floats) -> Floats:
        """The rules' part of the reward (n,). Raises UserError for an unknown prompt set."""
        if missing := set(prompt_sets) - set(self.sets):
            raise UserError(f"prompt set {sorted(missing)[0]!r}: there are weights for "
                            f"{', '.join(self.sets)}")  # fmt: skip
        rows = np.array([self.sets[name] for name in prompt_sets]).reshape(features.shape)
        found: Floats = (rows * features).sum(1)
        return found

    def total(self, rated: Rated) -> Floats:
        """Reward model and rules together (n,)."""
        return rated.rewards + self.rules(rated.prompt_sets, rated.features)

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> RuleWeights:
        """What `save` wrote. Raises UserError if it is something else."""
        raw = read_json(path)
        try:
            sets = {name: tuple(map(float, one)) for name, one in raw["sets"].items()}
            return cls(str(raw["rubric"]), tuple(raw["features"]), sets)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not saved rule weights ({error!r})") from None


@dataclass(frozen=True)
class SetFit:
    """How a prompt set's fit went. Errors: shares of ordered pairs of held-out prompts that the
    reward has in the wrong order or equal, with intervals clustered by prompt; None where no
    held-out prompt has a pair. Gaps are between best and worst classes, None if one is missing:
    `model_gap` the most by which the reward model prefers a worst answer to a best one of the same
    prompt, `rule_gap` by how much the rules on average prefer the best."""

    prompt_set: str
    prompts: int
    pairs: int
    before: Estimate | None
    after: Estimate | None
    model_gap: float | None
    rule_gap: float | None
    unseen: tuple[str, ...]
    """Classes in no pair: their weights are the lowest, as those of `unreadable`."""

    @property
    def overturns(self) -> bool:
        """Whether the rules can overrule the reward model on everything that was seen."""
        if self.model_gap is None or self.rule_gap is None:
            return False
        return self.rule_gap > self.model_gap


def fit_rule_weights(
    rated: Rated,
    rubric: Rubric,
    margin: float | Mapping[str, float] = 1.0,
    l2: float = 1e-3,
    holdout: float = 0.3,
    seed: int = 0,
) -> tuple[RuleWeights, tuple[SetFit, ...]]:
    """Weights from a share of the prompts, judged on the others; prompts are never divided.

    `margin`: how far apart ordered answers are to be, in units of reward; by the name of the worse
    class if a mapping. Raises UserError for a set with an order whose answers make no pair.
    """
    kept = np.random.default_rng(seed).random(int(rated.prompts.max(initial=-1)) + 1) >= holdout
    sets, reports = {}, []
    for name in rubric.sets:
        weights, report = np.zeros(len(rated.names)), None
        if rubric.order.get(name):
            weights, report = _fit_set(rated, rubric, name, margin, l2, kept)
        sets[name] = tuple(map(float, weights))
        reports += [report] if report else []
    return RuleWeights(rubric.name, rated.names, sets), tuple(reports)


def ordered_pairs(rated: Rated, rubric: Rubric, prompt_set: str) -> Ints:
    """(pairs, 2): indices of a better and a worse answer to the same prompt of a set."""
    ranks = rubric.ranks(prompt_set)
    place = np.array(
        [
            ranks.get(label, np.nan) if one == prompt_set else np.nan
            for label, one in zip(rated.labels, rated.prompt_sets, strict=True)
        ]
    )
    found = [np.zeros((0, 2), np.intp)]
    ordered = np.flatnonzero(~np.isnan(place))
    ordered = ordered[np.argsort(rated.prompts[ordered], kind="stable")]
    borders = np.flatnonzero(np.diff(rated.prompts[ordered])) + 1
    for group in np.split(ordered, borders):
        better, worse = np.nonzero(place[group][:, None] < place[group][None, :])
        found.append(np.stack([group[better], group[worse]], axis=1))
    return np.concatenate(found)


def _fit_set(
    rated: Rated,
    rubric: Rubric,
    name: str,
    margin: float | Mapping[str, float],
    l2: float,
    kept: NDArray[np.bool_],
) -> tuple[Floats, SetFit]:
    pairs = ordered_pairs(rated, rubric, name)
    own = kept[rated.prompts[pairs[:, 0]]]
    train, test = pairs[own], pairs[~own]
    if len(train) == 0:
        raise UserError(
            f"prompt set {name}: no prompt has two answers that the rubric orders; sample several "
            f"answers to each prompt"
        )
    steps = rated.features[train[:, 0]] - rated.features[train[:, 1]]
    gaps = rated.rewards[train[:, 0]] - rated.rewards[train[:, 1]]
    weights = _hinge_solution(steps, _margins(rated, train, margin) - gaps, l2)
    seen = {rated.labels[at] for at in train.ravel().tolist()}
    unseen = tuple(one for one in rubric.ranks(name) if one not in seen)
    if rated.names == rubric.columns:
        # What was not measured (so `unreadable`) must not be a way out: it earns the least.
        measured = np.array([one in seen for one in rated.names])
        weights[~measured] = np.minimum(weights[~measured], weights[measured].min())
    total = rated.rewards + rated.features @ weights
    report = SetFit(
        name,
        len(set(rated.prompts[train[:, 0]])),
        len(train),
        ordering_error(rated.rewards, test, rated.prompts),
        ordering_error(total, test, rated.prompts),
        *_gaps(rated, rubric, name, pairs, rated.features @ weights),
        unseen,
    )
    return weights, report


def _margins(rated: Rated, pairs: Ints, margin: float | Mapping[str, float]) -> Floats:
    """(pairs,). Margins stay floats: cut to whole numbers, .5 would ask for nothing."""
    if isinstance(margin, int | float):
        return np.full(len(pairs), float(margin))
    worse = [rated.labels[at] for at in pairs[:, 1].tolist()]
    if missing := set(worse) - set(margin):
        raise UserError(f"no margin for class {sorted(missing)[0]}")
    return np.array([margin[one] for one in worse], float)


def ordering_error(rewards: Floats, pairs: Ints, prompts: Ints) -> Estimate | None:
    """Share of pairs (better, worse) whose rewards (n,) do not say so.

    The interval is clustered by prompt, and unlike a bootstrap's not empty where no pair is wrong.
    """
    if len(pairs) == 0:
        return None
    wrong = (rewards[pairs[:, 0]] <= rewards[pairs[:, 1]]).astype(float)
    return mean_estimate(list(wrong), [1.0] * len(wrong), list(prompts[pairs[:, 0]]))


def _hinge_solution(steps: Floats, needed: Floats, l2: float) -> Floats:
    """The w (k,) of least mean max(0, needed - steps w) + l2 / 2 |w|^2."""

    def loss(w: Floats, width: float) -> tuple[float, Floats]:
        short = needed - steps @ w
        corner = np.clip(short / width, 0.0, 1.0)
        value = np.where(short > width, short - width / 2, width / 2 * corner**2).mean()
        slope = -(corner @ steps) / len(steps)
        return float(value + l2 / 2 * w @ w), slope + l2 * w

    w = np.zeros(steps.shape[1])
    for width in ROUNDING:
        options = {"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-9}
        w = minimize(loss, w, args=(width,), jac=True, method="L-BFGS-B", options=options).x
    return w


def _gaps(
    rated: Rated, rubric: Rubric, name: str, pairs: Ints, rules: Floats
) -> tuple[float | None, float | None]:
    tiers = rubric.order[name]
    best = np.array([label in tiers[0] for label in rated.labels])
    worst = np.array([label in tiers[-1] for label in rated.labels])
    extreme = pairs[best[pairs[:, 0]] & worst[pairs[:, 1]]]
    if len(extreme) == 0:
        return None, None
    high, low = extreme[:, 0], extreme[:, 1]
    model = float((rated.rewards[low] - rated.rewards[high]).max())
    return model, float(rules[np.unique(high)].mean() - rules[np.unique(low)].mean())
