"""The index finds what a naive search finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.evals.contamination import scan
from foresight.evals.contamination.scan import HashTable, SubstringIndex

LENGTHS = (8, 9, 12, 15, 16, 17, 29, 30, 31, 49, 50, 51, 90, 140)


def naive(text: bytes, patterns: list[bytes]) -> list[tuple[int, int]]:
    return [
        (start, number)
        for start in range(len(text))
        for number, pattern in enumerate(patterns)
        if text.startswith(pattern, start)
    ]


def found(index: SubstringIndex, text: bytes) -> list[tuple[int, int]]:
    return list(zip(*(one.tolist() for one in index.find(text)), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([b"ab", b"abc", b"abcdefghijklm"]))
def test_every_occurrence_is_found(random, alphabet: bytes) -> None:  # type: ignore[no-untyped-def]
    text = bytes(random.choices(alphabet + b"\0", k=random.choice([0, 7, 60, 700])))
    patterns = set()
    for length in random.choices(LENGTHS, k=20):
        start = random.randrange(max(1, len(text) - length))
        cut = text[start : start + length]
        drawn = bytes(random.choices(alphabet, k=length))
        patterns.add(cut if len(cut) == length and b"\0" not in cut else drawn)
    some = sorted(patterns)
    assert found(SubstringIndex(some), text) == naive(text, some)


def test_at_both_ends_and_over_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_POSITIONS", 7)
    pattern = bytes(range(60, 110))
    for before in range(80):
        text = b"." * before + pattern + b"." * (3000 - before) + pattern
        assert found(SubstringIndex([pattern]), text) == [(before, 0), (3050, 0)]


def test_a_change_anywhere_is_no_occurrence() -> None:
    pattern = bytes(range(60, 110))
    index = SubstringIndex([pattern])
    for at in range(50):
        changed = pattern[:at] + b"!" + pattern[at + 1 :]
        assert found(index, b"." * 33 + changed + b"." * 9) == []


def test_no_patterns_and_wrong_ones() -> None:
    assert found(SubstringIndex([]), b"some text that is there") == []
    for wrong in (b"1234567", b"12345678\0"):
        with pytest.raises(ValueError, match="at least 8 bytes"):
            SubstringIndex([wrong])


@given(st.lists(st.integers(0, 40), max_size=30), st.lists(st.integers(0, 40), max_size=30))
def test_the_table_joins_equal_hashes(known: list[int], asked: list[int]) -> None:
    # Multiples of a large odd number, so that first bits tell them apart, and of one, so that not.
    for factor in (0x9E3779B97F4A7C15, 1):
        table = HashTable(np.array(known, np.uint64) * np.uint64(factor))
        at, entry = table.find(np.array(asked, np.uint64) * np.uint64(factor))
        pairs = [(i, k) for i, one in enumerate(asked) for k, other in enumerate(known)
                 if one == other]  # fmt: skip
        assert list(zip(at.tolist(), entry.tolist(), strict=True)) == pairs


def test_the_samples_must_reach_every_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stride one byte too long loses occurrences: what the tests above would notice."""
    monkeypatch.setattr(scan._Level, "stride", property(lambda level: level.length - level.q + 2))
    pattern = bytes(range(60, 110))
    index = SubstringIndex([pattern])
    texts = [b"." * before + pattern + b"." * 99 for before in range(60)]
    assert not all(found(index, text) for text in texts)
