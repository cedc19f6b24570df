"""Summaries and comparisons of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.evals.compare import adjusted, compare
from foresight.evals.record import Reason, Record
from foresight.evals.summary import disagreement, summarise

UNITS = np.random.default_rng(0).random(400)


def record(item: int, score: float | None = 1.0, sample: int = 0, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "key": f"{item}/{sample}/{changes.get('model', 'm')}", "task": "t", "item": f"q{item}",
        "sample": sample, "model": "m", "group": "", "weight": 1.0, "prompt": f"{item}?",
        "output": "", "answer": None, "target": ("x",), "score": score,
        "reason": Reason.OK if score is not None else Reason.GRADER_FAILED,
    }  # fmt: skip
    return Record(**(values | changes))


def records(scores: Sequence[float | None], **changes: Any) -> list[Record]:
    return [record(at, score, **changes) for at, score in enumerate(scores)]


def test_independent_items_get_wilsons_interval() -> None:
    found = summarise(records([1.0] * 8 + [0.0] * 2))
    assert found.score is not None
    assert (found.score.mean, found.score.method) == (0.8, "wilson")
    assert found.score.low == pytest.approx(0.4902, abs=1e-4)


def test_missing_scores_are_counted_and_are_no_zeros() -> None:
    some = records([1.0, None, 0.0, None])
    some.append(record(9, 0.0, reason=Reason.INVALID_FORMAT))
    found = summarise(some)
    assert found.score is not None and found.score.mean == pytest.approx(1 / 3)
    assert found.unscored == 2
    assert found.reasons == {"ok": 2, "invalid_format": 1, "grader_failed": 2}
    assert found.invalid_format_rate == pytest.approx(1 / 3)
    assert summarise(records([None])).score is None


def test_groups_widen_the_interval() -> None:
    scores = [1.0] * 50 + [0.0] * 50
    alone = summarise(records(scores)).score
    grouped = summarise(
        [record(at, score, group=f"g{at // 10}") for at, score in enumerate(scores)]
    ).score
    assert alone and grouped and grouped.low is not None and alone.low is not None
    assert grouped.clusters == 10 and grouped.low < alone.low - 0.1


def test_weights_move_the_mean() -> None:
    found = summarise([record(0, 1.0, weight=3.0), record(1, 0.0, weight=1.0)])
    assert found.score is not None and found.score.mean == 0.75


def test_pass_at_k_over_items() -> None:
    some = [record(item, float(at < right), at) for item, right in enumerate((0, 5, 10))
            for at in range(10)]  # fmt: skip
    found = summarise(some)
    assert list(found.pass_at) == [1, 10]
    assert found.pass_at[1].mean == pytest.approx(0.5)
    assert found.pass_at[10].mean == pytest.approx(2 / 3)
    assert found.score is not None and found.score.clusters == 3
    assert summarise(some[:1]).pass_at == {}
    assert summarise([record(0, 0.5, at) for at in range(2)]).pass_at == {}


def test_calibration_is_told_where_choices_have_log_probabilities() -> None:
    some = [record(at, 1.0, target=0, choice_logprobs=(-0.1, -2.0)) for at in range(10)]
    found = summarise(some).calibration
    assert found is not None and found.options == 20
    assert summarise(records([1.0])).calibration is None


def test_normalisations_categories_and_log_probabilities() -> None:
    some = [
        record(at, 1.0, target=0, details={
            "picks": {"plain": 0, "per_byte": at % 2}, "category": "ab"[at % 2], "logprob": -at})
        for at in range(4)
    ]  # fmt: skip
    found = summarise(some)
    assert found.normalised == {"plain": 1.0, "per_byte": 0.5}
    assert found.categories == {"a": (1.0, 2), "b": (1.0, 2)}
    assert found.mean_logprob == -1.5


def test_records_of_several_models_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="2 tasks and models"):
        summarise([record(0), record(1, model="other")])


def _two(n: int = 200, gain: float = 0.06) -> tuple[list[Record], list[Record]]:
    """Models that agree on most items; the first is better by `gain`."""
    base = [float(u < 0.6) for u in UNITS[:n]]
    better = [1.0 if u > 1 - gain else score for u, score in zip(UNITS[:n], base, strict=True)]
    return records(better, model="a"), records(base, model="b")


def test_pairing_finds_what_an_unpaired_test_does_not() -> None:
    found = compare(*_two())
    assert found.models == ("a", "b") and found.items == 200
    assert found.difference.low is not None and found.difference.low > 0
    assert found.permutation_p < 0.01
    assert found.mcnemar_p is not None and found.mcnemar_p < 0.01
    assert found.only_second == 0 and found.only_first == round(found.difference.mean * 200)
    assert found.unpaired_p is not None and found.unpaired_p > 0.05


def test_swapping_sides_flips_the_sign_alone() -> None:
    first, second = _two()
    one, other = compare(first, second), compare(second, first)
    assert one.difference.mean == -other.difference.mean
    assert one.permutation_p == other.permutation_p
    assert one.mcnemar_p == other.mcnemar_p
    assert one.remarks == ()


def test_a_model_against_itself() -> None:
    first, _ = _two()
    found = compare(first, first)
    assert (found.difference.mean, found.permutation_p, found.mcnemar_p) == (0.0, 1.0, 1.0)
    assert found.detectable is None


def test_what_does_not_match_is_said() -> None:
    first, second = _two(20, 0.3)
    second = [record(int(one.item[1:]), one.score, model="b",
                     prompt="other" if one.item == "q3" else one.prompt,
                     target=("y",) if one.item == "q4" else ["x"])
              for one in second[:15]]  # fmt: skip
    first[0] = record(0, None, model="a")
    found = compare(first, second)
    assert found.items == 14
    assert found.remarks == (
        "6 items have a score on one side at most: left out",
        "1 of 14 items were put with another prompt",
        "1 items have another target: are they the same questions?",
    )
    with pytest.raises(UserError, match="0 items in common"):
        compare(first[:5], second[10:])


def test_samples_are_averaged_before_pairing() -> None:
    first = [record(item, float(at < 3), at, model="a") for item in range(10) for at in range(4)]
    second = records([0.0] * 10, model="b")
    found = compare(first, second)
    assert found.difference.mean == 0.75 and found.mcnemar_p is None


def test_several_tasks_are_corrected_together() -> None:
    found = adjusted([compare(*_two()), compare(*_two(400, 0.02))])
    assert found[0].adjusted_p >= found[0].permutation_p
    assert max(one.adjusted_p for one in found) <= 1.0


def test_two_ways_of_asking_that_disagree_are_warned_of() -> None:
    first, second = _two(400, 0.2)
    assert "how the question is put" in disagreement(first, second)
    assert disagreement(first, first) == ""
