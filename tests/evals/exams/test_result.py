"""Scores, intervals, percentile ranges, clean and full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foresight.evals.exams.exam import Exam
from foresight.evals.exams.reading import read_exam
from foresight.evals.exams.result import exam_result
from foresight.evals.record import UNSCORED, Reason, Record
from tests.evals.exams.folders import write_exam

GRE = {"method": "linear", "base": 130, "span": 40, "source": "GPT-4 report, appendix A"}


def exam_of(folder: Path, n: int, **change: Any) -> Exam:
    """One section of n questions, scored like the GRE, unless `change` says otherwise."""
    rows = [
        {"id": f"q{at}", "question": f"{at}?", "choices": ["a", "b"], "target": 0}
        for at in range(n)
    ]
    change = {"sections": [{"name": "s", "format": "choice"}], "scoring": GRE} | change
    files = {} if change["scoring"]["method"] == "table" else {"scale.csv": None}
    percentiles = change.pop("percentiles", None)
    files["percentiles.csv"] = percentiles
    return read_exam(write_exam(folder, change, {"holdout/s.jsonl": rows}, files))


def records(
    scores: Sequence[float | None],
    groups: Sequence[str] | None = None,
    reasons: Sequence[Reason] | None = None,
    weight: float = 1.0,
) -> list[Record]:
    """Answers to q0, q1, ... with these scores."""
    found = []
    for at, score in enumerate(scores):
        reason = reasons[at] if reasons else (Reason.NO_RESPONSE if score is None else Reason.OK)
        found.append(Record(
            key=f"k{at}", task="s", item=f"q{at}", sample=0, model="m",
            group=groups[at] if groups else "", weight=weight, prompt="?", output="",
            answer=None, target=0, score=score, reason=reason,
        ))  # fmt: skip
    return found


def test_score_interval_and_percentiles(tmp_path: Path) -> None:
    percentiles = "score,lower,upper,population,date,source\n" + "".join(
        f"{score},{2 * (score - 130)},{2 * (score - 130) + 4},all,2022,ETS\n"
        for score in range(130, 171)
    )
    exam = exam_of(tmp_path / "exam", 40, percentiles=percentiles)
    found = exam_result(exam, {"s": records([1.0] * 30 + [0.0] * 10)})
    assert found.full and found.full.score == 160 and found.full.n == 40
    # Near what the normal distribution says: 40 * 1.96 * sqrt(.75 * .25 / 39).
    half = 40 * 1.96 * math.sqrt(0.75 * 0.25 / 39)
    assert found.full.low == pytest.approx(160 - half, abs=1.2)
    assert found.full.high == pytest.approx(160 + half, abs=1.2)
    (rank,) = found.full.percentiles
    assert (rank.lower, rank.upper, rank.population, rank.date) == (60, 64, "all", "2022")
    assert rank.low is not None and rank.high is not None
    assert rank.low == pytest.approx(2 * (found.full.low - 130), abs=2)
    assert rank.high == pytest.approx(2 * (found.full.high - 130) + 4, abs=2)
    assert found.reported == "full" and found.clean is None


def test_the_lower_score_is_reported(tmp_path: Path) -> None:
    exam = exam_of(tmp_path / "exam", 40)
    some = records([1.0] * 30 + [0.0] * 10)
    helped = exam_result(exam, {"s": some}, [f"q{at}" for at in range(10)])
    assert helped.clean and helped.clean.score == pytest.approx(130 + 40 * 20 / 30)
    assert helped.reported == "clean" and helped.score is helped.clean
    assert helped.degradation == pytest.approx((20 / 30 - 0.75) / 0.75)
    hurt = exam_result(exam, {"s": some}, ["q39"])
    assert hurt.reported == "full" and hurt.clean and hurt.clean.score > 160
    every = exam_result(exam, {"s": some}, [f"q{at}" for at in range(40)])
    assert every.clean is None and every.contaminated == 40 and every.reported == "full"


def test_guess_penalty_and_blanks(tmp_path: Path) -> None:
    """The old SAT takes a quarter of a point; the AMC gives 1.5 of 6 for no answer."""
    reasons = [Reason.OK] * 15 + [Reason.INVALID_FORMAT] * 5
    some = records([1.0] * 10 + [0.0] * 10, reasons=reasons)
    raw = {"method": "raw", "source": "t"}
    sat = exam_of(
        tmp_path / "sat", 20, scoring=raw,
        sections=[{"name": "s", "format": "choice", "wrong": -0.25}],
    )  # fmt: skip
    found = exam_result(sat, {"s": some})
    assert found.sections[0].share == pytest.approx((10 - 5 / 4) / 20)
    assert found.sections[0].accuracy and found.sections[0].accuracy.mean == 0.5
    amc = exam_of(
        tmp_path / "amc", 20, scoring={"method": "linear", "base": 0, "span": 120, "source": "MAA"},
        sections=[{"name": "s", "format": "choice", "blank": 0.25}],
    )  # fmt: skip
    full = exam_result(amc, {"s": some}).full
    assert full and full.score == pytest.approx(10 * 6 + 5 * 1.5)


def test_two_populations(tmp_path: Path) -> None:
    text = (
        "score,lower,upper,population,date,source\n"
        "130,0,60,A,2021,MAA\n150,55,70,A,2021,MAA\n170,90,100,A,2021,MAA\n"
        "130,0,50,B,2021,MAA\n150,45,60,B,2021,MAA\n170,80,100,B,2021,MAA\n"
    )
    some = {"s": records([1.0, 0.0] * 20)}
    each = exam_result(exam_of(tmp_path / "each", 40, percentiles=text), some).full
    assert each and [(one.lower, one.upper) for one in each.percentiles] == [(55, 70), (45, 60)]
    widest = exam_of(tmp_path / "widest", 40, percentiles=text, populations="widest")
    both = exam_result(widest, some).full
    assert both and [(one.lower, one.upper) for one in both.percentiles] == [(45, 70)]
    assert both.percentiles[0].population == "A; B"


def test_without_answers_there_is_no_score(tmp_path: Path) -> None:
    exam = exam_of(tmp_path / "exam", 4)
    none = exam_result(exam, {"s": records([None] * 4)})
    assert none.full is None and none.sections[0].unscored == 4
    part = exam_result(exam, {"s": records([1.0, 0.0, None, 1.0])})
    assert part.full and part.full.score == pytest.approx(130 + 40 * 2 / 3) and part.full.n == 3
    reasons = [Reason.OK, Reason.UNGRADED]
    assert Reason.UNGRADED in UNSCORED
    waits = exam_result(exam, {"s": records([1.0, None], reasons=reasons)})
    assert waits.full is None and waits.sections[0].ungraded == 1


def test_one_group_tells_no_interval(tmp_path: Path) -> None:
    exam = exam_of(tmp_path / "exam", 4)
    full = exam_result(exam, {"s": records([1.0, 0.0, 1.0, 1.0], ["p"] * 4)}).full
    assert full and full.low is None


def test_questions_that_are_all_right_leave_doubt(tmp_path: Path) -> None:
    full = exam_result(exam_of(tmp_path / "exam", 20), {"s": records([1.0] * 20)}).full
    assert full and full.high == 170 and full.low is not None
    # Jeffreys' interval of 20 of 20 begins at .89 or so.
    assert full.low == pytest.approx(130 + 40 * 0.885, abs=1)


def test_groups_widen_the_interval(tmp_path: Path) -> None:
    exam = exam_of(tmp_path / "exam", 40)
    scores = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0] * 5
    alike = sorted(scores)
    groups = [f"g{at // 4}" for at in range(40)]
    apart = exam_result(exam, {"s": records(alike)}).full
    together = exam_result(exam, {"s": records(alike, groups)}).full
    assert apart and together and apart.low and together.low and apart.high and together.high
    assert together.score == apart.score
    assert together.high - together.low > 1.4 * (apart.high - apart.low)


def covered(exam: Exam, n: int, chance: float, groups: int | None, truth: float) -> float:
    """Share of 300 drawn exams whose interval holds the truth."""
    random, hits = np.random.default_rng(5), 0
    for _ in range(300):
        if groups is None:
            scores = (random.random(n) < chance).astype(float)
            names = None
        else:
            # Groups share their answers: n questions are worth as many as there are groups.
            scores = np.repeat((random.random(groups) < chance).astype(float), n // groups)
            names = [f"g{at // (n // groups)}" for at in range(n)]
        full = exam_result(exam, {"s": records(scores.tolist(), names)}).full
        assert full and full.low is not None and full.high is not None
        hits += full.low <= truth <= full.high
    return hits / 300


def test_coverage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foresight.evals.exams.result.DRAWS", 400)
    exam = exam_of(tmp_path / "exam", 40)
    assert covered(exam, 40, 0.7, None, 130 + 40 * 0.7) > 0.9
    assert covered(exam, 40, 0.7, 20, 130 + 40 * 0.7) > 0.88
    # A control: intervals that forget the groups miss far too often.
    monkeypatch.setattr("foresight.evals.exams.result.cluster", lambda record: record.item)
    assert covered(exam, 40, 0.7, 10, 130 + 40 * 0.7) < 0.8


def test_elo_over_contests(tmp_path: Path) -> None:
    rows = [
        {"id": f"q{at}", "question": f"Write {at}.", "target": "assert f()",
         "group": f"c{at // 2}", "meta": {"rating": 1000 + 600 * (at % 2)}}
        for at in range(6)
    ]  # fmt: skip
    change = {
        "sections": [{"name": "s", "format": "code", "attempts": 10}],
        "scoring": {"method": "elo", "source": "GPT-4 report, appendix A.6"},
    }
    folder = write_exam(tmp_path / "exam", change, {"holdout/s.jsonl": rows}, {"scale.csv": None})
    exam = read_exam(folder)
    groups = [f"c{at // 2}" for at in range(6)]
    solved = exam_result(exam, {"s": records([1.0, 0.0] * 3, groups)}).full
    # One of two: the rating between the two problems, in all contests.
    assert solved and solved.score == pytest.approx(1300, abs=1e-3)
    mixed = exam_result(exam, {"s": records([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], groups)}).full
    assert mixed and mixed.score == pytest.approx(2 * 1300 / 3, abs=1e-3)
    assert mixed.low == 0 and mixed.high == pytest.approx(1300, abs=1e-3)
