"""What an exam says of a model: score, interval, percentile range, with and without contamination.

Estimand of an interval: the score over questions like these, each section's share of points being
unknown and its number of questions given. A section's share is drawn from a beta distribution
(Jeffreys' prior) whose size is the number of questions, or what clustered answers are worth
(`statistics.mean_estimate`); sections are independent; the draws go through the exam's own scoring.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foresight.evals.exams.elo import Elo
from foresight.evals.exams.exam import Exam, Section
from foresight.evals.exams.percentiles import Standing
from foresight.evals.record import Reason, Record
from foresight.evals.statistics import mean_estimate
from foresight.evals.summary import cluster

DRAWS = 4000
_BLANK = (Reason.INVALID_FORMAT, Reason.REFUSAL)


@dataclass(frozen=True)
class SectionResult:
    """`share` of the points that can be had, of `questions` that have a score; `unscored` have
    none (no answer, no grade) and are left out."""

    name: str
    questions: int
    unscored: int
    share: float
    maximum: float
    effective: float


@dataclass(frozen=True)
class Score:
    """A score with its 95 % interval; percentile ranges at the score and over the interval."""

    value: float
    low: float
    high: float
    percentile: Standing | None
    percentile_interval: tuple[float, float] | None
    sections: tuple[SectionResult, ...]


@dataclass(frozen=True)
class ExamResult:
    """`clean`: without contaminated questions, None if a section has no others or the question was
    not asked; `reported`: the lower of the two, as in the report."""

    exam: str
    model: str
    full: Score
    clean: Score | None
    contaminated: int | None

    @property
    def reported(self) -> Score:
        return min(self.full, self.clean or self.full, key=lambda score: score.value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"reported": asdict(self.reported)}


def examined(
    exam: Exam,
    model: str,
    records: Mapping[str, Sequence[Record]],
    contaminated: Collection[str] | None = None,
) -> ExamResult:
    """Of all sections' records. Raises ValueError if a section has none with a score."""
    full = _score(exam, records)
    if full is None:
        raise ValueError(f"{exam.name}: a section has no scored answers")
    if contaminated is None:
        return ExamResult(exam.name, model, full, None, None)
    left = {
        name: [one for one in some if one.item not in contaminated]
        for name, some in records.items()
    }
    dropped = sum(map(len, records.values())) - sum(map(len, left.values()))
    return ExamResult(exam.name, model, full, _score(exam, left), dropped)


def points(section: Section, record: Record) -> float:
    """Share of a question's points that an answer earns; below 0 with a guess penalty."""
    assert record.score is not None, "unscored records are left out"
    if section.file.format != "choice" or record.score > 0:
        return record.score
    return section.file.blank if record.reason in _BLANK else section.file.wrong


def _score(exam: Exam, records: Mapping[str, Sequence[Record]]) -> Score | None:
    sections = [_section(one, records[one.name]) for one in exam.sections]
    found = [one for one in sections if one is not None]
    if len(found) < len(sections):
        return None
    if isinstance(exam.file.scoring, Elo):
        shares = _shares(records)
        value = low = high = exam.file.scoring.rating(exam.contests, shares)
        if rated := _rated(exam, shares):
            low, high = rated
    else:
        value = float(_scaled(exam, found, [one.share for one in found]))
        low, high = _interval(exam, found)
    standing = exam.percentiles.of(value) if exam.percentiles else None
    over = None
    if exam.percentiles:
        over = (exam.percentiles.of(low).lower, exam.percentiles.of(high).upper)
    return Score(value, low, high, standing, over, tuple(found))


def _section(section: Section, records: Sequence[Record]) -> SectionResult | None:
    scored = [one for one in records if one.score is not None]
    if not scored or sum(one.weight for one in scored) <= 0:
        return None
    # Shares between the worst and the best that a question can bring, for the interval.
    worst = min(section.file.wrong, section.file.blank, 0.0)
    earned = [(points(section, one) - worst) / (1 - worst) for one in scored]
    weights = [one.weight for one in scored]
    found = mean_estimate(earned, weights, [cluster(one) for one in scored])
    spread = found.mean * (1 - found.mean)
    worth = spread / found.se**2 if found.se else found.clusters
    share = worst + (1 - worst) * found.mean
    return SectionResult(
        section.name, len(scored), len(records) - len(scored), share,
        section.file.weight * sum(weights), min(float(len(scored)), max(worth, 1.0)),
    )  # fmt: skip


def _scaled(exam: Exam, sections: Sequence[SectionResult], shares: Sequence[float]) -> float:
    assert not isinstance(exam.file.scoring, Elo)
    raw = sum(one.maximum * share for one, share in zip(sections, shares, strict=True))
    return exam.file.scoring.scaled(raw, sum(one.maximum for one in sections))


def _interval(exam: Exam, sections: Sequence[SectionResult]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = []
    for one, section in zip(sections, exam.sections, strict=True):
        worst = min(section.file.wrong, section.file.blank, 0.0)
        mean = (one.share - worst) / (1 - worst)
        sides = mean * one.effective + 0.5, (1 - mean) * one.effective + 0.5
        drawn.append(worst + (1 - worst) * rng.beta(*sides, DRAWS))
    values = [_scaled(exam, sections, row) for row in np.array(drawn).T.tolist()]
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def _shares(records: Mapping[str, Sequence[Record]]) -> dict[str, float]:
    """Share of passed attempts by question."""
    passed: dict[str, list[float]] = {}
    for some in records.values():
        for one in some:
            if one.score is not None:
                passed.setdefault(one.item, []).append(one.score)
    return {name: float(np.mean(scores)) for name, scores in passed.items()}


def _rated(exam: Exam, shares: Mapping[str, float]) -> tuple[float, float] | None:
    """95 % interval of a rating over contests like these: the contests drawn again."""
    scoring = exam.file.scoring
    assert isinstance(scoring, Elo)
    rng, count = np.random.default_rng(0), len(exam.contests)
    if count < 2:
        return None
    quick = scoring.model_copy(update={"simulations": 4})
    drawn = [
        quick.rating([exam.contests[at] for at in rng.integers(count, size=count)], shares)
        for _ in range(100)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
