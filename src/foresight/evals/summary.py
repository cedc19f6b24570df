"""What a set of records says: mean with interval, reasons, calibration, pass@k."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from foresight.evals.calibration import Calibration, calibration_of
from foresight.evals.record import UNSCORED, Reason, Record, cluster
from foresight.evals.statistics import Estimate, mean_estimate, mean_of, pass_at_k

PASS_AT = (1, 10, 100)


@dataclass(frozen=True)
class Summary:
    """Of the records of one task and one model.

    Estimand of `score`: the weighted mean score over items like these, each answered afresh; items
    of one `group` (else samples of one item) are a cluster. Records without a score are left out
    of it and counted in `reasons`. `categories`: mean and count of each.
    """

    task: str
    model: str
    records: int
    items: int
    samples: int
    score: Estimate | None
    reasons: dict[str, int]
    unscored: int
    invalid_format_rate: float | None
    cut_at_length: int
    tokens: int
    pass_at: dict[int, Estimate] = field(default_factory=dict)
    mean_logprob: float | None = None
    calibration: Calibration | None = None
    normalised: dict[str, float] = field(default_factory=dict)
    categories: dict[str, tuple[float, int]] = field(default_factory=dict)


def summarise(records: Sequence[Record]) -> Summary:
    """Raises ValueError if there are no records, or those of several tasks or models."""
    names = {(one.task, one.model) for one in records}
    if len(names) != 1:
        raise ValueError(f"records of {len(names)} tasks and models; summarise one at a time")
    task, model = next(iter(names))
    scored = [one for one in records if one.score is not None and one.weight > 0]
    reasons = Counter(one.reason.value for one in records)
    invalid = reasons[Reason.INVALID_FORMAT]
    targets = [one.details["logprob"] for one in scored if "logprob" in one.details]
    return Summary(
        task=task,
        model=model,
        records=len(records),
        items=len({one.item for one in records}),
        samples=max(one.sample for one in records) + 1,
        score=mean_of(scored) if scored else None,
        reasons={reason.value: reasons[reason] for reason in Reason if reasons[reason]},
        unscored=sum(one.reason in UNSCORED for one in records),
        invalid_format_rate=invalid / len(scored) if scored else None,
        cut_at_length=sum(one.details.get("finish") == "length" for one in records),
        tokens=sum(one.tokens for one in records),
        pass_at=_pass_at(scored),
        mean_logprob=math.fsum(targets) / len(targets) if targets else None,
        calibration=calibration_of(scored),
        normalised=_normalised(scored),
        categories=_categories(scored),
    )


def _pass_at(scored: Sequence[Record]) -> dict[int, Estimate]:
    """Of items with several 0/1 samples, for those k that every item has samples for."""
    by_item: dict[str, list[Record]] = defaultdict(list)
    for one in scored:
        by_item[one.item].append(one)
    fewest = min((len(some) for some in by_item.values()), default=0)
    if fewest < 2 or any(one.score not in (0.0, 1.0) for one in scored):
        return {}
    firsts = [some[0] for some in by_item.values()]
    return {
        k: mean_estimate(
            [pass_at_k(len(some), _right(some), k) for some in by_item.values()],
            [one.weight for one in firsts],
            [cluster(one) for one in firsts],
        )
        for k in PASS_AT
        if k <= fewest
    }


def _right(records: Sequence[Record]) -> int:
    return sum(one.score == 1.0 for one in records)


def _normalised(scored: Sequence[Record]) -> dict[str, float]:
    """Accuracy under every way of comparing options of different lengths."""
    picks = [(one.details["picks"], one.target) for one in scored if "picks" in one.details]
    names = list(dict.fromkeys(name for some, _ in picks for name in some))
    return {
        name: sum(some.get(name) == target for some, target in picks) / len(picks) for name in names
    }


def _categories(scored: Sequence[Record]) -> dict[str, tuple[float, int]]:
    some: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        if one.score is not None and one.details.get("category"):
            some[str(one.details["category"])].append(one.score)
    return {
        name: (math.fsum(some[name]) / len(some[name]), len(some[name])) for name in sorted(some)
    }


def disagreement(first: Sequence[Record], second: Sequence[Record]) -> str:
    """A warning if the scores of one task by log-probability and by generation are further apart
    than chance (paired, 5 %), with what may explain it; "" if they are not, or if fewer than two
    items have both scores. See `compare`."""
    from foresight.evals.compare import compare

    sides = [{one.item for one in some if one.score is not None} for some in (first, second)]
    if len(sides[0] & sides[1]) < 2:
        return ""
    found = compare(first, second)
    if found.permutation_p >= 0.05:
        return ""
    return "; ".join((
        f"{first[0].task} and {second[0].task}: {found.first.mean:.3f} and "
        f"{found.second.mean:.3f} on the same {found.items} items (p = {found.permutation_p:.2g}): "
        f"the score depends on how the question is put",
        *_habits(first),
        *_habits(second),
    ))  # fmt: skip


def _habits(records: Sequence[Record]) -> list[str]:
    """What shares of answers are unreadable, cut, or one and the same letter."""
    n, task = len(records), records[0].task
    letters = Counter(one.answer for one in records if one.answer)
    letter, most = max(letters.items(), key=lambda pair: pair[1], default=("", 0))
    shares = {
        "name no option": sum(one.reason is Reason.INVALID_FORMAT for one in records) / n,
        "were cut": sum(one.details.get("finish") == "length" for one in records) / n,
        f"are {letter}": most / n if most > n / 2 else 0.0,
    }
    return [f"{share:.0%} of the answers to {task} {what}" for what, share in shares.items()
            if share >= 0.05]  # fmt: skip
