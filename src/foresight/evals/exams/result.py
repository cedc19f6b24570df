"""An exam's score, with what may be concluded from it.

Estimand: the score of the same model, by the same method, over questions like these: new groups of
questions (passages, contests; else single questions) in every section, each answered afresh. The
interval is a bootstrap over groups within sections whose draws go through the scoring method; a
section with K groups is drawn K - 1 times, so that the variance is unbiased (Rao and Wu 1988).
Where all groups of a section score alike, draws tell nothing, and its share is drawn from the
posterior of a proportion with K trials instead (Jeffreys prior). How graders and forms of an exam
differ is not in it. At 95 %.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foresight.evals.contamination.clean import degradation, lower
from foresight.evals.exams.elo import contest_rating
from foresight.evals.exams.exam import Exam, Section
from foresight.evals.exams.percentile import Percentiles, Range, widest
from foresight.evals.exams.scoring import Elo, overall_share
from foresight.evals.item import Item
from foresight.evals.record import Reason, Record, cluster
from foresight.evals.statistics import Estimate, mean_of

Floats = NDArray[np.float64]
DRAWS = 4000
BLANK = (Reason.INVALID_FORMAT, Reason.REFUSAL)
"""No answer was given, as scoring with penalties sees it."""


@dataclass(frozen=True)
class Standing:
    """Where a score stands in a population: `lower` to `upper` of the score itself, `low` to `high`
    from the lower end at the interval's lower end to the upper end at its upper. All in percent;
    None where the file says nothing about such a score."""

    population: str
    date: str
    source: str
    lower: float | None
    upper: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Score:
    """A score on the exam's scale (raw: the share of points), its interval (None where a section
    has one group), the weighted share of points, the questions it rests on, percentiles."""

    score: float
    low: float | None
    high: float | None
    share: float
    n: int
    percentiles: tuple[Standing, ...]


@dataclass(frozen=True)
class SectionResult:
    """`accuracy`: mean score of the questions, by their points, without penalties; `share`: points
    earned over points possible. `unscored`: failed answers, left out; `ungraded`: those that wait
    for people."""

    name: str
    format: str
    questions: int
    examples: int
    accuracy: Estimate | None
    share: float | None
    unscored: int
    ungraded: int
    bad_format: int


@dataclass(frozen=True)
class ExamResult:
    """`full`: over all questions; `clean`: without the contaminated ones, None if none is known or
    nothing would be left; the lower of the two is what is reported. Both are None while answers
    wait for people or a section has no score. `degradation`: of the shares of points."""

    exam: str
    unit: str
    sections: tuple[SectionResult, ...]
    full: Score | None
    clean: Score | None
    contaminated: int
    degradation: float | None
    reported: Literal["full", "clean"]

    @property
    def score(self) -> Score | None:
        """The one that is reported."""
        return self.clean if self.reported == "clean" else self.full


def exam_result(
    exam: Exam,
    records: Mapping[str, Sequence[Record]],
    contaminated: Collection[str] | None = None,
    seed: int = 0,
) -> ExamResult:
    """What an exam's records say. `contaminated`: ids of questions that training data hold; None:
    nobody has looked. `seed`: of the bootstrap."""
    sections = tuple(_section(exam, one, records[one.name]) for one in exam.file.sections)
    known = set(contaminated or ())
    ids = {one.item for some in records.values() for one in some}
    full = clean = None
    if all(one.share is not None and not one.ungraded for one in sections):
        full = _score(exam, records, seed)
        kept = {name: [r for r in rows if r.item not in known] for name, rows in records.items()}
        if known & ids and all(any(r.score is not None for r in kept[name]) for name in kept):
            clean = _score(exam, kept, seed)
    reported: Literal["full", "clean"] = "full"
    if full and clean and lower(full.score, clean.score) < full.score:
        reported = "clean"
    return ExamResult(
        exam=exam.name,
        unit=exam.file.scoring.unit,
        sections=sections,
        full=full,
        clean=clean,
        contaminated=len(known & ids),
        degradation=degradation(full.share, clean.share) if full and clean else None,
        reported=reported,
    )


@dataclass(frozen=True)
class Marks:
    """Groups of a section: points earned and points possible in each."""

    earned: Floats
    possible: Floats
    lowest: float

    @property
    def share(self) -> float:
        return float(self.earned.sum() / self.possible.sum())

    def draws(self, random: np.random.Generator) -> Floats | None:
        """Shares over other groups; None if there is one group only."""
        groups = len(self.earned)
        if groups < 2:
            return None
        if np.ptp(self.earned / self.possible) < 1e-12:
            place = (self.share - self.lowest) / (1.0 - self.lowest)
            drawn = random.beta(groups * place + 0.5, groups * (1 - place) + 0.5, DRAWS)
            return self.lowest + (1.0 - self.lowest) * drawn
        times = random.multinomial(groups - 1, np.full(groups, 1.0 / groups), DRAWS)
        found: Floats = (times @ self.earned) / (times @ self.possible)
        return found


def earned(record: Record, section: Section) -> float:
    """Share of its question's points that a scored record earns, penalties taken off."""
    assert record.score is not None, "only scored records are marked"
    if record.score > 0.0:
        return record.score
    return section.blank if record.reason in BLANK else section.wrong


def _marks(section: Section, records: Sequence[Record]) -> Marks:
    groups: dict[Any, tuple[float, float]] = {}
    for one in records:
        if one.score is not None:
            got, possible = groups.get(cluster(one), (0.0, 0.0))
            got += one.weight * earned(one, section)
            groups[cluster(one)] = (got, possible + one.weight)
    table = np.array(list(groups.values())).reshape(-1, 2)
    return Marks(table[:, 0], table[:, 1], min(section.wrong, 0.0))


def _section(exam: Exam, section: Section, records: Sequence[Record]) -> SectionResult:
    scored = [one for one in records if one.score is not None]
    ungraded = sum(one.reason is Reason.UNGRADED for one in records)
    accuracy = share = None
    if scored:
        accuracy = mean_of(scored)
        share = _marks(section, scored).share
    return SectionResult(
        name=section.name,
        format=section.format,
        questions=len({one.item for one in records}),
        examples=len(exam.examples(section)),
        accuracy=accuracy,
        share=share,
        unscored=len(records) - len(scored) - ungraded,
        ungraded=ungraded,
        bad_format=sum(one.reason is Reason.INVALID_FORMAT for one in records),
    )


def _score(exam: Exam, records: Mapping[str, Sequence[Record]], seed: int) -> Score:
    scored = [one for some in records.values() for one in some if one.score is not None]
    random = np.random.default_rng(seed)
    scoring = exam.file.scoring
    marks = {one.name: _marks(one, records[one.name]) for one in exam.file.sections}
    shares = {name: np.array([one.share]) for name, one in marks.items()}
    draws: Floats | None = None
    if isinstance(scoring, Elo):
        point, draws = _rating(scoring, scored, exam.questions, random)
    else:
        point = float(scoring.score(shares, exam.parts, exam.scales)[0])
        drawn = {name: one.draws(random) for name, one in marks.items()}
        whole = {name: some for name, some in drawn.items() if some is not None}
        if len(whole) == len(marks):
            draws = scoring.score(whole, exam.parts, exam.scales)
    low = high = None
    if draws is not None:
        # Quantiles that are scores themselves: a scale may have five.
        low, high = map(float, np.quantile(draws, (0.025, 0.975), method="inverted_cdf"))
        low, high = min(low, point), max(high, point)
    share = float(overall_share(shares, exam.parts)[0])
    n = len({one.item for one in scored})
    return Score(point, low, high, share, n, _standings(exam, point, low, high))


def _rating(
    scoring: Elo, records: Sequence[Record], questions: Mapping[str, Item],
    random: np.random.Generator,
) -> tuple[float, Floats | None]:  # fmt: skip
    """Mean rating over contests, and the same over other contests."""
    contests: dict[str, dict[str, list[float]]] = {}
    for one in records:
        contests.setdefault(one.group, {}).setdefault(one.item, []).append(float(one.score or 0.0))
    ratings = np.array([
        contest_rating(
            [questions[name].meta["rating"] for name in problems],
            [sum(passed) / len(passed) for passed in problems.values()],
            scoring.simulations, at, scoring.lowest, scoring.highest,
        )
        for at, problems in enumerate(contests.values())
    ])  # fmt: skip
    n = len(ratings)
    if n < 2:
        return float(ratings.mean()), None
    times = random.multinomial(n - 1, np.full(n, 1.0 / n), DRAWS)
    return float(ratings.mean()), times @ ratings / (n - 1)


def _standings(
    exam: Exam, score: float, low: float | None, high: float | None
) -> tuple[Standing, ...]:
    tables: list[tuple[Percentiles, ...]] = [(one,) for one in exam.percentiles]
    if exam.file.populations == "widest" and exam.percentiles:
        tables = [exam.percentiles]
    found = []
    for some in tables:
        who = widest([one.ranges[0] for one in some])
        here = _range(some, score)
        from_, to = (None if end is None else _range(some, end) for end in (low, high))
        found.append(Standing(
            who.population, who.date, who.source,
            here.lower if here else None, here.upper if here else None,
            from_.lower if from_ else None, to.upper if to else None,
        ))  # fmt: skip
    return tuple(found)


def _range(tables: Sequence[Percentiles], score: float) -> Range | None:
    """Over all distributions; None if one of them says nothing about the score."""
    found = [one.at(score) for one in tables]
    known = [one for one in found if one is not None]
    return widest(known) if len(known) == len(found) else None
