"""What votes say: win rates, strengths, position bias, agreement; and pairs for a reward model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foresight.errors import UserError
from foresight.evals.files import lines_of
from foresight.evals.layout import parts_of
from foresight.evals.people.agreement import Agreed, agreed
from foresight.evals.people.bradley_terry import BradleyTerry, Match, bradley_terry
from foresight.evals.people.collection import Collection, Pair
from foresight.evals.people.entry import read_journal, standing
from foresight.evals.people.vote import Vote
from foresight.evals.statistics import (
    Estimate,
    holm,
    mcnemar_exact,
    mean_estimate,
    permutation_p,
)
from foresight.inference.wire import messages_of
from foresight.runs import write_atomic


@dataclass(frozen=True)
class Judged:
    """A pair and the votes on it, skips left out. `score`: mean worth to the first answer."""

    pair: Pair
    votes: tuple[Vote, ...]

    @property
    def score(self) -> float:
        if self.pair.identical:
            return 0.5
        return sum(one.points(self.pair.first.model) for one in self.votes) / len(self.votes)


@dataclass(frozen=True)
class Duel:
    """Two models. `wins`, `ties`, `losses` count pairs by their mean vote; pairs with equal answers
    are ties that nobody was asked about, `identical` of them.

    Estimand of `win_rate`: over prompts like these, the mean chance that a judge like these prefers
    the first model's answer, ties as half; interval by cluster of prompts. `permutation_p`: of a
    win rate of one half, clusters flipped whole, Holm's correction for all duels in `adjusted_p`;
    `sign_p`: exact sign test, which takes pairs for independent.
    """

    first: str
    second: str
    pairs: int
    wins: int
    ties: int
    losses: int
    identical: int
    win_rate: Estimate
    sign_p: float
    permutation_p: float
    adjusted_p: float
    categories: dict[str, Estimate]


@dataclass(frozen=True)
class Preference:
    """`left`: how often the answer on the left was preferred, among votes that are no ties: one
    half if position does not matter. `waiting`: pairs that nobody has judged yet."""

    prompts: int
    waiting: int
    judges: dict[str, int]
    skipped: int
    duels: tuple[Duel, ...]
    strengths: BradleyTerry | None
    left: Estimate | None
    agreement: Agreed | None


def judged_pairs(collection: Collection) -> tuple[list[Judged], list[Vote], int]:
    """Pairs that have a verdict, all votes that stand, and how many pairs have no verdict.

    Raises UserError naming the file of a vote on a pair that the collection does not have."""
    votes = list(standing(read_journal(collection.votes, Vote)).values())
    by_pair: dict[str, list[Vote]] = defaultdict(list)
    for one in votes:
        by_pair[one.key].append(one)
    pairs = collection.pairs()
    unknown = by_pair.keys() - {pair.key for pair in pairs}
    if unknown:
        one = by_pair[min(unknown)][0]
        raise UserError(f"{collection.votes}: a vote on {one.prompt!r}, which is no pair of answers"
                        f" of {collection.folder}")  # fmt: skip
    found = (
        Judged(pair, tuple(one for one in by_pair[pair.key] if one.action != "skip"))
        for pair in pairs
    )
    judged = [one for one in found if one.votes or one.pair.identical]
    return judged, votes, len(pairs) - len(judged)


def preference(collection: Collection) -> Preference:
    """Raises UserError if nothing was judged yet."""
    judged, votes, waiting = judged_pairs(collection)
    cast = [one for one in votes if one.action != "skip"]
    if not cast:
        raise UserError(f"{collection.folder}: no votes yet; `foresight prefer judge` takes them")
    clusters = [one.pair.prompt.cluster for one in judged]
    return Preference(
        prompts=len(collection.prompts),
        waiting=waiting,
        judges=dict(sorted(Counter(one.judge for one in cast).items())),
        skipped=len(votes) - len(cast),
        duels=tuple(_duels(judged)),
        strengths=bradley_terry(
            [
                Match(one.pair.first.model, one.pair.second.model, one.score, of)
                for one, of in zip(judged, clusters, strict=True)
            ]
        ),
        left=_left(judged),
        agreement=agreed(
            [[vote.points(one.pair.first.model) for vote in one.votes] for one in judged],
            clusters,
        ),
    )


def _duels(judged: Sequence[Judged]) -> list[Duel]:
    by_models: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for one in judged:
        by_models[one.pair.first.model, one.pair.second.model].append(one)
    tests = [
        permutation_p(
            [2 * one.score - 1 for one in some],
            [1.0] * len(some),
            [one.pair.prompt.cluster for one in some],
            seed=0,
        )
        for some in by_models.values()
    ]
    return [
        _duel(models, some, p, adjusted)
        for (models, some), p, adjusted in zip(by_models.items(), tests, holm(tests), strict=True)
    ]


def _duel(models: tuple[str, str], some: Sequence[Judged], p: float, adjusted: float) -> Duel:
    wins, losses = (sum(one.score > 0.5 for one in some), sum(one.score < 0.5 for one in some))
    by_category: dict[str, list[Judged]] = defaultdict(list)
    for one in some:
        by_category[one.pair.prompt.category].append(one)
    several = sorted(by_category) if len(by_category) > 1 else []
    return Duel(
        *models,
        pairs=len(some),
        wins=wins,
        ties=len(some) - wins - losses,
        losses=losses,
        identical=sum(one.pair.identical for one in some),
        win_rate=_win_rate(some),
        sign_p=mcnemar_exact(wins, losses),
        permutation_p=p,
        adjusted_p=adjusted,
        categories={name: _win_rate(by_category[name]) for name in several},
    )


def _left(judged: Sequence[Judged]) -> Estimate | None:
    decided = [
        (float(vote.action == "left"), one.pair.prompt.cluster)
        for one in judged
        for vote in one.votes
        if vote.action != "tie"
    ]
    if not decided:
        return None
    lefts, clusters = zip(*decided, strict=True)
    return mean_estimate(lefts, 1.0, clusters)


def _win_rate(some: Sequence[Judged]) -> Estimate:
    clusters = [one.pair.prompt.cluster for one in some]
    return mean_estimate([one.score for one in some], 1.0, clusters)


@dataclass(frozen=True)
class Exported:
    """Pairs written; pairs left out because they are tied (`split`: because judges disagree)."""

    pairs: int
    tied: int
    split: int


def export(collection: Collection, path: Path) -> Exported:
    """Pairs for a reward model, a line each: `prompt`, `chosen` and `rejected` as lists of messages
    (the explicit-prompt conversational form that TRL's RewardTrainer reads), `judges` how many
    voted. Pictures are parts `image_url` with data URLs, as in OpenAI's chat format. Ties are left
    out."""
    judged, *_ = judged_pairs(collection)
    rows, tied, split = [], 0, 0
    for one in judged:
        if one.score == 0.5:
            tied += 1
            split += any(vote.action != "tie" for vote in one.votes)
            continue
        answers = one.pair.first, one.pair.second
        chosen, rejected = answers if one.score > 0.5 else answers[::-1]
        value = {
            "prompt": messages_of(parts_of(one.pair.prompt.text, collection.folder / "images")),
            "chosen": [{"role": "assistant", "content": chosen.output}],
            "rejected": [{"role": "assistant", "content": rejected.output}],
            "judges": len(one.votes),
        }
        rows.append(value)
    write_atomic(path, lines_of(rows))
    return Exported(len(rows), tied, split)
