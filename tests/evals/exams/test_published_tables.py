"""Every figure of the GPT-4 report's tables that follows from others, by our functions."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from foresight.evals.contamination.clean import degradation, lower
from foresight.evals.exams.published import published
from foresight.evals.exams.scoring import Essay, Linear, Part
from foresight.evals.statistics import mean_estimate

Row = dict[str, str]


@pytest.fixture(scope="module")
def tables(shared_data: Path) -> dict[str, list[Row]]:
    folder = shared_data / "evals" / "gpt4_report_tables"
    return {
        path.stem.split("_")[0]: list(csv.DictReader(path.open()))
        for path in folder.glob("table*.csv")
    }


def number(text: str) -> float | None:
    return float(text.strip("%~").split("/")[0]) if text else None


@pytest.fixture(scope="module")
def accuracy(tables: dict[str, list[Row]]) -> dict[str, float]:
    """Table 10's overall scores, in percent."""
    return {row["name"]: float(row["gpt4_pct"]) for row in tables["table10"]}


def test_table_10_degradation_and_lower(tables: dict[str, list[Row]]) -> None:
    checked = lowered = 0
    for row in tables["table10"]:
        overall, clean = number(row["gpt4_pct"]), number(row["noncontaminated_pct"])
        assert overall is not None
        reported = lower(overall, clean)
        assert reported <= overall and (clean is None or reported <= clean)
        if clean is None or not row["degradation_pct"]:
            continue
        change = degradation(overall, clean)
        assert change is not None
        assert 100 * change == pytest.approx(float(row["degradation_pct"]), abs=0.0201), row["name"]
        assert (reported < overall) == (float(row["degradation_pct"]) < 0)
        checked, lowered = checked + 1, lowered + (reported < overall)
    assert (checked, lowered) == (41, 17)


def test_table_10_overall_is_the_mixture_of_its_parts(tables: dict[str, list[Row]]) -> None:
    """Where every question counts alike: multiple choice."""
    checked = 0
    for row in tables["table10"]:
        dirty = number(row["contaminated_only_pct"])
        clean = number(row["noncontaminated_pct"])
        if "(MCQ)" not in row["name"] or dirty is None or clean is None:
            continue
        share = float(row["contamination_pct"]) / 100
        mixed = share * dirty + (1 - share) * clean
        assert mixed == pytest.approx(float(row["gpt4_pct"]), abs=0.02), row["name"]
        checked += 1
    assert checked == 17


def scored(method: Linear | Essay, share: float) -> float:
    return float(method.score({"all": np.array([share])}, {"all": Part(1.0)}, {})[0])


@pytest.mark.parametrize("model", ["gpt4", "gpt35"])
@pytest.mark.parametrize("section", ["GRE Quantitative", "GRE Verbal"])
def test_gre_sections(
    tables: dict[str, list[Row]], accuracy: dict[str, float], model: str, section: str
) -> None:
    """130 + 40 x accuracy, of 40 questions."""
    (row,) = (one for one in tables["table1"] if one["exam"] == section)
    gre = Linear(base=130, span=40, source="GPT-4 report, appendix A")
    printed = number(row[model])
    assert printed is not None
    # GPT-3.5's accuracy is not printed: a whole number of right answers must give its score.
    shares = [accuracy[section] / 100] if model == "gpt4" else [at / 40 for at in range(41)]
    assert printed in [scored(gre, share) for share in shares]


def test_scores_of_table_1_follow_from_table_10(
    tables: dict[str, list[Row]], accuracy: dict[str, float]
) -> None:
    printed = {row["exam"]: row["gpt4"] for row in tables["table1"]}
    essay = Essay(top=6, step=0.5, source="ETS")
    assert scored(essay, accuracy["GRE Writing"] / 100) == 4.0
    for name, points in (("AMC 10", 150), ("AMC 12", 150), ("USNCO Local Section Exam 2022", 60)):
        method = Linear(base=0, span=points, source="points")
        assert scored(method, accuracy[name] / 100) == pytest.approx(number(printed[name])), name
    checked = 0
    for name, text in printed.items():
        if "/" in text and name in accuracy and "GRE" not in name:
            right, of = map(float, text.split("/"))
            assert 100 * right / of == pytest.approx(accuracy[name], abs=0.006), name
            checked += 1
        elif text.endswith("%") and name in accuracy:
            assert round(accuracy[name]) == number(text), name
            checked += 1
    assert checked == 10


def test_table_8_means(tables: dict[str, list[Row]]) -> None:
    *rows, printed = tables["table8"]
    assert (printed["exam"], len(rows)) == ("Average", 28)
    for column, mean in (("base_pct", 73.7), ("rlhf_pct", 74.0)):
        values = [float(row[column]) / 100 for row in rows]
        found = mean_estimate(values, [1.0] * len(rows), range(len(rows)))
        assert round(100 * found.mean, 1) == mean == float(printed[column])


def test_table_11(tables: dict[str, list[Row]]) -> None:
    rows = {row["benchmark"]: row for row in tables["table11"]}
    row = rows["HumanEval"]
    overall, clean = number(row["gpt4"]), number(row["gpt4_noncontaminated"])
    assert overall is not None and clean is not None
    change = degradation(overall, clean)
    assert change is not None and 100 * change == pytest.approx(
        number(row["degradation"]), abs=0.02
    )
    # DROP: 82.5 on the subsample that was looked at, 82.8 without its contaminated questions.
    assert (degradation(82.5, 82.8) or 0) > 0 and lower(82.5, 82.8) == 82.5


def test_a_wrong_denominator_would_show(tables: dict[str, list[Row]]) -> None:
    """The caption of Table 10 words it as contaminated against clean: that is not what it holds."""
    wrong = 0
    for row in tables["table10"]:
        overall, clean = number(row["gpt4_pct"]), number(row["noncontaminated_pct"])
        if clean and overall and row["degradation_pct"]:
            other = 100 * (clean - overall) / clean
            wrong += abs(other - float(row["degradation_pct"])) > 0.02
    assert wrong > 15


def test_published_rows_are_those_of_table_1(tables: dict[str, list[Row]]) -> None:
    assert {name: vars(one) for name, one in published().items()} == {
        row["exam"]: dict(row) for row in tables["table1"]
    }


def test_degradation_of_nothing() -> None:
    assert degradation(0.0, 0.5) is None and lower(0.4, None) == 0.4
