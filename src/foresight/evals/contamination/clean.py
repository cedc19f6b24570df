"""Scores without contaminated items, and what is reported: the lower of the two."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from foresight.evals.record import Record, cluster
from foresight.evals.statistics import Estimate, difference_estimate, t_quantile
from foresight.evals.summary import summarise


def degradation(overall: float, clean: float) -> float | None:
    """(clean - overall) / overall: the change that the contaminated questions hide, negative where
    they helped. So is "Degradation" in Table 10 of the GPT-4 report computed, whatever its caption
    says. None where the overall score is 0."""
    return (clean - overall) / overall if overall else None


def lower(overall: float, clean: float | None) -> float:
    """The score that is reported: the lower of the two (GPT-4 report, appendix C). `clean` None:
    no question is left, or none was contaminated."""
    return overall if clean is None else min(overall, clean)


@dataclass(frozen=True)
class CleanScore:
    """A task's mean score over all scored items, those not contaminated, those contaminated; None
    where there are none. `reported`: the lower of the first two, as the report does.

    `degradation`: relative change from all to clean. Estimand: that of the population that items
    and their contamination are drawn from; `low`, `high`: 95 %, from the ratio's linearisation
    with clusters and Student's t. They are None where less than two clusters are clean, or where
    nothing is contaminated, so that the change is 0 whatever the items.
    """

    overall: Estimate
    clean: Estimate | None
    contaminated: Estimate | None
    items: int
    contaminated_items: int
    reported: float
    degradation: float | None
    low: float | None
    high: float | None


def clean_score(records: Sequence[Record], contaminated: Collection[str]) -> CleanScore | None:
    """Of records of one task and one model; None if none has a score."""
    overall = summarise(records).score
    if overall is None:
        return None
    parts = [
        summarise(some).score if some else None
        for some in (
            [one for one in records if one.item not in contaminated],
            [one for one in records if one.item in contaminated],
        )
    ]
    clean, dirty = parts
    change = None if clean is None else degradation(overall.mean, clean.mean)
    half = None
    if clean is not None and dirty is not None and change is not None and clean.clusters > 1:
        half = _half_width(records, contaminated, overall.mean, clean.mean)
    items = {one.item for one in records}
    return CleanScore(
        overall=overall,
        clean=clean,
        contaminated=dirty,
        items=len(items),
        contaminated_items=len(items & set(contaminated)),
        reported=lower(overall.mean, clean.mean if clean else None),
        degradation=change,
        low=None if half is None or change is None else change - half,
        high=None if half is None or change is None else change + half,
    )


def _half_width(
    records: Sequence[Record], contaminated: Collection[str], overall: float, clean: float
) -> float | None:
    """Of the 95 % interval of clean / overall - 1: to first order it is the mean of what each
    record adds to it (Cochran 1977, section 6.3: ratios of sample means)."""
    scored = [one for one in records if one.score is not None and one.weight > 0]
    total = sum(one.weight for one in scored)
    kept = sum(one.weight for one in scored if one.item not in contaminated) / total
    parts = [
        (one.item not in contaminated) * (one.score - clean) / (kept * overall)
        - clean * (one.score - overall) / overall**2
        for one in scored
        if one.score is not None
    ]
    found = difference_estimate(
        parts, [one.weight for one in scored], [cluster(one) for one in scored]
    )
    return None if found.se is None else t_quantile(found.clusters - 1) * found.se
