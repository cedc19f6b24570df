"""Clean scores: the report's tables, and an interval that covers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from foresight.evals.contamination.clean import clean_score, degradation
from foresight.evals.record import Reason, Record
from foresight.evals.summary import summarise


def records(scores: dict[str, float | None], groups: dict[str, str] | None = None) -> list[Record]:
    return [
        Record(
            key=name, task="t", item=name, sample=0, model="m", group=(groups or {}).get(name, ""),
            weight=1.0, prompt="", output="", answer=None, target=0, score=score,
            reason=Reason.OK if score is not None else Reason.NO_RESPONSE,
        )
        for name, score in scores.items()
    ]  # fmt: skip


def number(text: str) -> float | None:
    return float(text) if text else None


def test_every_row_of_table_10(shared_data: Path) -> None:
    path = shared_data / "evals" / "gpt4_report_tables" / "table10_contamination_details.csv"
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 49
    told, silent = 0, []
    for row in rows:
        overall, clean = number(row["gpt4_pct"]), number(row["noncontaminated_pct"])
        assert overall is not None
        found = None if clean is None else degradation(overall, clean)
        stated = number(row["degradation_pct"])
        if stated is None:
            # Wholly contaminated, or without any change, of which the table says nothing.
            assert found is None or found == 0.0
            silent.append(row["name"])
            continue
        assert found is not None
        assert 100 * found == pytest.approx(stated, abs=0.02 + 1e-9), row["name"]
        told += 1
    assert (told, len(silent)) == (41, 8)


def test_table_11(shared_data: Path) -> None:
    """HumanEval as stated; DROP's 82.8 is of a subsample with 82.5 overall: 0.36 %, stated as 0."""
    path = shared_data / "evals" / "gpt4_report_tables" / "table11_contamination_benchmarks.csv"
    rows = {row["benchmark"]: row for row in csv.DictReader(path.open())}
    found = degradation(67.0, float(rows["HumanEval"]["gpt4_noncontaminated"].rstrip("%")))
    assert found is not None
    assert 100 * found == pytest.approx(
        float(rows["HumanEval"]["degradation"].rstrip("%")), abs=0.02
    )
    assert rows["DROP (F1)"]["degradation"] == "0"
    assert degradation(82.5, 82.8) == pytest.approx(0.0036, abs=1e-4)
    others = {name for name, row in rows.items() if not row["gpt4_noncontaminated"]}
    assert others == {"MMLU", "GSM-8K", "HellaSwag", "AI2", "WinoGrande"}


def test_the_lower_score_is_reported() -> None:
    scores = {f"i{at}": float(at % 2) for at in range(40)}
    known = [f"i{at}" for at in range(1, 20, 2)]  # ten right answers
    found = clean_score(records(scores), known)
    assert found is not None and found.clean is not None and found.contaminated is not None
    assert (found.overall.mean, found.contaminated.mean) == (0.5, 1.0)
    assert found.clean.mean == pytest.approx(10 / 30)
    assert found.reported == found.clean.mean and found.contaminated_items == 10
    assert found.degradation == pytest.approx(-1 / 3)
    wrong = clean_score(records(scores), [f"i{at}" for at in range(0, 20, 2)])
    assert wrong is not None and wrong.reported == 0.5 and wrong.degradation == pytest.approx(1 / 3)


def test_nothing_and_everything_contaminated() -> None:
    some = records({"a": 1.0, "b": 0.0, "c": 1.0})
    none = clean_score(some, ["elsewhere"])
    assert none is not None and none.degradation == 0.0 and none.contaminated is None
    assert (none.low, none.high, none.contaminated_items) == (None, None, 0)
    every = clean_score(some, ["a", "b", "c"])
    assert every is not None and every.clean is None and every.degradation is None
    assert every.reported == every.overall.mean == pytest.approx(2 / 3)
    zero = clean_score(records({"a": 0.0, "b": 0.0}), ["a"])
    assert zero is not None and zero.degradation is None and zero.low is None
    assert clean_score(records({"a": None}), []) is None


def test_records_without_a_score_are_no_zeros() -> None:
    found = clean_score(records({"a": 1.0, "b": None, "c": 1.0, "d": 0.0}), ["d"])
    assert found is not None and found.clean is not None
    assert found.clean.mean == 1.0 and found.clean.n == 2


def linear_and_bootstrap(clusters: bool) -> tuple[float, float]:
    random = np.random.default_rng(3)
    n = 400
    groups = {f"i{at}": f"g{at // 8}" for at in range(n)} if clusters else {}
    level = np.repeat(random.random(n // 8), 8) if clusters else np.full(n, 0.6)
    scores = {f"i{at}": float(random.random() < level[at]) for at in range(n)}
    known = {f"i{at}" for at in range(n) if random.random() < 0.3}
    some = records(scores, groups)
    found = clean_score(some, known)
    assert found is not None and found.low is not None and found.high is not None
    values = np.array(list(scores.values()))
    kept = np.array([name not in known for name in scores])
    blocks = np.arange(n).reshape(-1, 8 if clusters else 1)
    changes = []
    for _ in range(2000):
        drawn = blocks[random.integers(0, len(blocks), len(blocks))].ravel()
        part = values[drawn]
        changes.append(part[kept[drawn]].mean() / part.mean() - 1)
    return found.high - found.low, float(np.ptp(np.quantile(changes, (0.025, 0.975))))


@pytest.mark.parametrize("clusters", [False, True])
def test_the_interval_is_as_wide_as_the_bootstrap(clusters: bool) -> None:
    linear, bootstrap = linear_and_bootstrap(clusters)
    assert linear == pytest.approx(bootstrap, rel=0.1)


def test_the_interval_covers_the_change_of_the_population() -> None:
    """Known items are right with .9, others with .5; a fifth is known."""
    random = np.random.default_rng(5)
    truth, inside = 0.5 / (0.2 * 0.9 + 0.8 * 0.5) - 1, 0
    for _ in range(300):
        known = {f"i{at}" for at in range(200) if random.random() < 0.2}
        scores = {
            f"i{at}": float(random.random() < (0.9 if f"i{at}" in known else 0.5))
            for at in range(200)
        }
        found = clean_score(records(scores), known)
        assert found is not None and found.low is not None and found.high is not None
        inside += found.low <= truth <= found.high
    assert 0.92 <= inside / 300 <= 0.98


def test_overall_is_what_summaries_say() -> None:
    some = records({f"i{at}": float(at % 3 == 0) for at in range(30)})
    found = clean_score(some, ["i0"])
    assert found is not None and found.overall == summarise(some).score
