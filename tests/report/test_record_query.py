"""Filters, pairs, order and the summary, against plain Python."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.report.record_index import RecordIndex
from foresight.report.record_query import (
    SORTS,
    VERDICTS,
    Query,
    locate,
    record_json,
    row_json,
    run,
)
from tests.report.records import hostile, record, several

MADE = several()
INDEX = RecordIndex.of(MADE)
KEYS = [(one.task, one.item, one.sample) for one in MADE]


def _verdict(score: float | None) -> str:
    if score is None:
        return "unscored"
    return "right" if score == 1 else "partly" if score > 0 else "wrong"


def _expected(query: Query) -> list[int]:
    rows = []
    for row, one in enumerate(MADE):
        other = _partner(row, query.against) if query.against else None
        exact = query.group in ("physics", "law", "Law of nations")
        group = one.group == query.group if exact else query.group.lower() in one.group.lower()
        if (
            query.task in ("", one.task)
            and query.model in ("", one.model)
            and query.reason in ("", one.reason)
            and query.verdict in ("", _verdict(one.score))
            and (group or not query.group)
            and (not query.against or other is not None)
            and not (query.differ and other is not None and MADE[other].score == one.score)
            and any(query.text.lower() in text.lower() for text in (one.prompt, one.output))
        ):
            rows.append(row)
    return rows


def _partner(row: int, model: str) -> int | None:
    same = [at for at, one in enumerate(MADE) if one.model == model and KEYS[at] == KEYS[row]]
    return same[0] if same else None


queries = st.builds(
    lambda model, pair, **rest: Query(
        model=model if model or not pair[0] else "small", against=pair[0],
        differ=pair[1] and bool(pair[0]), **rest,
    ),
    model=st.sampled_from(["", "small", "large", "nobody"]),
    pair=st.tuples(st.sampled_from(["", "small", "large", "nobody"]), st.booleans()),
    task=st.sampled_from(["", "", "arc", "mmlu"]),
    reason=st.sampled_from(["", "", "ok", "refusal", "no_response"]),
    verdict=st.sampled_from(["", "", *VERDICTS]),
    group=st.sampled_from(["", "", "law", "la", "LAW", "physics", "zzz"]),
    text=st.sampled_from(["", "", "question 1", "état", "1", "\n", "small", "never"]),
    sort=st.sampled_from([sort for sort in SORTS if sort != "other_score"]),
    descending=st.booleans(),
)  # fmt: skip


@given(queries)
def test_filters_pairs_and_order(query: Query) -> None:
    result = run(INDEX, query)
    rows = result.rows.tolist()
    assert sorted(rows) == _expected(query)
    if query.against:
        assert result.others.tolist() == [_partner(row, query.against) for row in rows]
    if not query.sort:
        assert rows == sorted(rows, reverse=query.descending)
        return
    keys = INDEX.sort_key(query.sort)[rows].tolist()
    known = [key for key in keys if not math.isnan(key)]
    assert keys[: len(known)] == known == sorted(known, reverse=query.descending)
    pairs = list(zip(keys, rows, strict=True))
    assert all(a[1] < b[1] for a, b in pairwise(pairs) if a[0] == b[0])


def test_pairs_sort_by_the_other_score_and_are_counted() -> None:
    query = Query(model="small", against="large", sort="other_score", descending=True)
    result = run(INDEX, query)
    scores = [MADE[other].score for other in result.others]
    known = [score for score in scores if score is not None]
    assert scores == sorted(known, reverse=True) + [None] * (len(scores) - len(known))
    both = [
        (MADE[row].score, MADE[other].score)
        for row, other in zip(result.rows, result.others, strict=True)
    ]
    scored = [(a, b) for a, b in both if a is not None and b is not None]
    assert result.summary["better"] == sum(a > b for a, b in scored) > 0
    assert result.summary["worse"] == sum(a < b for a, b in scored) > 0
    assert len(both) == result.summary["n"] == 59
    assert result.summary["other"]["scored"] == len(known)


def test_the_mean_has_its_wilson_interval() -> None:
    made = [record(f"q-{at}", score=float(at < 8)) for at in range(10)]
    made += [record("none", score=None, reason="no_response")]
    summary = run(RecordIndex.of(made), Query()).summary
    assert (summary["n"], summary["scored"], summary["mean"]) == (11, 10, 0.8)
    # Wilson's interval of 8 out of 10 as R gives it: prop.test(8, 10, correct = FALSE).
    assert summary["interval"] == pytest.approx([0.4901625, 0.9433178], abs=1e-6)
    heavy = [record(f"q-{at}", score=float(at == 0), weight=3.0 - 2 * (at > 0)) for at in range(4)]
    summary = run(RecordIndex.of(heavy), Query()).summary
    assert summary["mean"] == 0.5
    middle, n = 0.5, 36 / 12
    half = 1.959963985 * math.sqrt(0.25 / n + 1.959963985**2 / (4 * n * n))
    half /= 1 + 1.959963985**2 / n
    assert summary["interval"] == pytest.approx([middle - half, middle + half])
    nothing = run(RecordIndex.of(made), Query(task="none")).summary
    assert nothing == {"n": 0, "scored": 0, "mean": None, "interval": None}
    odd = run(RecordIndex.of([record(score=7.0)]), Query()).summary
    assert odd["mean"] == 7.0 and odd["interval"] is None


@pytest.mark.parametrize(
    "words",
    [
        {"verdict": "good"},
        {"sort": "mood"},
        {"against": "large"},
        {"differ": "1"},
        {"sort": "other_score"},
    ],
)
def test_a_query_that_cannot_be_says_so(words: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"must be one of|need"):
        Query.read(words)


def test_a_query_reads_a_url() -> None:
    words = {"task": "arc", "descending": "1", "differ": "0", "start": "7", "item": "x"}
    assert Query.read(words) == Query(task="arc", descending=True)


def test_a_link_is_found_in_any_order() -> None:
    result = run(INDEX, Query(sort="tokens", descending=True))
    for row in (0, 7, 60, 118):
        one = MADE[row]
        words = {"item": one.item, "sample": str(one.sample), "in": one.task, "of": one.model}
        place = locate(INDEX, result, words)
        assert place is not None and result.rows[place] == row
    assert locate(INDEX, result, {"item": "q-0", "sample": "1"}) is None
    assert locate(INDEX, result, {"item": "nothing"}) is None


def test_what_is_sent_is_strict_json() -> None:
    odd: dict[str, Any] = {"x": [math.nan, 10**30]}
    made = [record(choice_logprobs=(-math.inf, math.nan), details=odd), hostile()]
    index = RecordIndex.of(made)
    first = record_json(index, 0)
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert first["logprobs"] == [None, None] and first["margin"] is None
    assert str(10**30) in first["details"][0][1]
    assert row_json(index, 0, 1)["other"]["item"] == made[1].item
