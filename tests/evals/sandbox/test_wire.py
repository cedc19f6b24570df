"""Values that cross between a program and its tests."""

from __future__ import annotations

import contextlib
import math
from collections import Counter, OrderedDict, deque, namedtuple
from datetime import date, datetime, time
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.evals.sandbox import wire


def plain_fold(value: Any) -> Any:
    """The second of two equal clock times in autumn is written like the first."""
    return value.replace(fold=0)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.fractions(),
    st.complex_numbers(), st.floats(), st.decimals(), st.dates(),
    st.datetimes().map(plain_fold), st.times().map(plain_fold),
    st.builds(range, st.integers(-9, 9)), st.binary().map(bytearray),
    st.integers(min_value=2**1030, max_value=2**1100),
)  # fmt: skip
HASHABLE = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary())
VALUES: st.SearchStrategy[Any] = st.deferred(
    lambda: st.one_of(
        LEAVES, st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3).map(tuple),
        st.lists(LEAVES, max_size=3).map(deque), st.sets(HASHABLE), st.frozensets(HASHABLE),
        st.dictionaries(st.tuples(HASHABLE), VALUES, max_size=3),
    )
)  # fmt: skip


def typed(value: Any) -> Any:
    """A value with the types of all its parts: 1, True and 1.0 differ, nan is itself."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(one)) for key, one in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value), [typed(one) for one in value]
    if isinstance(value, set | frozenset):
        return type(value), {typed(one) for one in value}
    return type(value), repr(value)


def refuse(value: Any) -> int:
    raise wire.UnplainError(type(value).__name__)


def there_and_back(value: Any) -> Any:
    line = wire.to_line(wire.encode(value, refuse))
    return wire.decode(wire.from_line(line), lambda number: number)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert typed(there_and_back(value)) == typed(value)


def test_values_that_repr_does_not_settle() -> None:
    assert math.isnan(there_and_back(float("nan")))
    assert there_and_back(-math.inf) == -math.inf and str(there_and_back(-0.0)) == "-0.0"
    assert there_and_back("\ud800") == "\ud800"
    assert list(there_and_back(x * x for x in range(3))) == [0, 1, 4]
    assert there_and_back([int, ValueError]) == [int, ValueError]
    assert there_and_back(10**6000) == 10**6000


def test_subclasses_become_their_base() -> None:
    class Colour(IntEnum):
        RED = 1

    point = namedtuple("point", "x y")(1, 2)
    for value, base in (
        (Colour.RED, int), (point, tuple), (Counter("aab"), dict), (OrderedDict(a=1), dict),
        (datetime(2020, 1, 2, 3), datetime), (date(2020, 1, 2), date), (time(3), time),
        (Decimal("1.50"), Decimal), (Fraction(1, 3), Fraction),
    ):  # fmt: skip
        found = there_and_back(value)
        assert type(found) is base and found == value


@pytest.mark.parametrize("value", [object(), len, there_and_back, Any, refuse, type("int", (), {})])
def test_what_is_not_plain_needs_a_stand_in(value: Any) -> None:
    with pytest.raises(wire.UnplainError):
        wire.encode([value], refuse)
    assert wire.encode([value], lambda _: 7) == ["list", [["stand_in", 7]]]
    assert wire.decode(["list", [["stand_in", 7]]], str) == ["7"]


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=10))
def test_nonsense_is_refused_or_plain(value: Any) -> None:
    with contextlib.suppress(ValueError, TypeError, LookupError):
        wire.decode(value, lambda number: number)


@pytest.mark.parametrize("name", ["eval", "exec", "print", "no_such", "__import__"])
def test_no_function_can_be_named(name: str) -> None:
    with pytest.raises(ValueError, match="no builtin type"):
        wire.decode(["type", name], refuse)


def test_errors_keep_their_nearest_builtin_class() -> None:
    class OwnError(KeyError):
        pass

    assert type(wire.error_of(wire.error_to_pair(OwnError("x")))) is KeyError
    assert type(wire.error_of(["StopIteration", ""])) is RuntimeError
    assert type(wire.error_of(["SystemExit", ""])) is RuntimeError
    assert type(wire.error_of(["eval", ""])) is RuntimeError
