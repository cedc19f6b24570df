"""Conditions: what is read, what holds, how likely it is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.posttrain.condition import assume, holds, names, parse, probability

NAMES = ("a", "b", "c", "d")
texts = st.recursive(
    st.sampled_from((*NAMES, "true", "false")),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, inner).map(lambda t: f"not {t[0]} and {t[1]} or {t[0]}"),
    ),
    max_leaves=12,
)
ROWS = np.array(list(product((False, True), repeat=len(NAMES))))
FACTS = {name: ROWS[:, at] for at, name in enumerate(NAMES)}


@given(texts)
@settings(max_examples=300)
def test_it_means_what_python_means(text: str) -> None:
    condition = parse(text)
    expected = [eval(text.replace("true", "True").replace("false", "False"), {},
                     dict(zip(NAMES, row, strict=True))) for row in ROWS]  # fmt: skip
    assert holds(condition, FACTS).tolist() == [bool(one) for one in expected]
    assert set(names(condition)) <= set(NAMES)


@given(texts, st.lists(st.floats(0, 1), min_size=4, max_size=4))
@settings(max_examples=200)
def test_the_probability_is_the_sum_over_all_combinations(text: str, chances: list[float]) -> None:
    condition = parse(text)
    weights = np.prod([np.where(FACTS[name], p, 1 - p)
                       for name, p in zip(NAMES, chances, strict=True)], axis=0)  # fmt: skip
    yes = {name: np.array([p]) for name, p in zip(NAMES, chances, strict=True)}
    expected = weights[holds(condition, FACTS)].sum()
    assert probability(condition, yes) == pytest.approx(expected, abs=1e-9)


@given(texts, st.sampled_from(NAMES), st.booleans())
def test_what_is_known_is_gone(text: str, name: str, value: bool) -> None:
    rest = assume(parse(text), name, value)
    assert name not in names(rest)
    at = FACTS[name] == value
    assert (holds(rest, FACTS) == holds(parse(text), FACTS))[at].all()


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except UserError:
        return


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a and", "'the end'"),
        ("a b", "expected `and`, `or` or the end"),
        ("(a or b", "not closed"),
        ("a and or b", "'or'"),
        ("a == 1", "'== 1'"),
        ("__import__('os')", "expected names, and, or, not"),
        ("", "'the end'"),
        ("not " * 60 + "a", "levels deep"),
        ("(" * 5000, "levels deep"),
    ],
)
def test_mistakes_are_told(text: str, told: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(text)
    assert told in str(raised.value)
