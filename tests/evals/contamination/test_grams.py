"""Runs of words: what a search through lists of words finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.evals.contamination import grams
from foresight.evals.contamination.grams import GramIndex, NearIndex, Words
from foresight.evals.contamination.normalise import spaced

WORDS = st.lists(
    st.sampled_from(["a", "b", "It", "longer-than", "Wörter", "überschreitung12", "x,", "“q”"]),
    max_size=40,
).map(" ".join)


def words_of(text: str) -> list[str]:
    return "".join(one if one.isalnum() else " " for one in text).lower().split()


def runs_of(text: str, n: int) -> list[tuple[str, ...]]:
    words = words_of(text)
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]


def block(documents: list[str]) -> tuple[Words, np.ndarray]:
    sizes = np.array([len(one.encode()) + 1 for one in documents])
    text = "\0".join(documents).encode()
    return Words(spaced(text, fold=True)), np.cumsum(sizes) - sizes


@settings(deadline=None, max_examples=60)
@given(st.lists(WORDS, max_size=4), st.lists(WORDS, min_size=1, max_size=4), st.integers(2, 5))
def test_ngrams_are_those_that_lists_of_words_share(
    questions: list[str], documents: list[str], n: int
) -> None:
    index = GramIndex(questions, n)
    words, _ = block(documents)
    pairs = zip(*(one.tolist() for one in index.candidates(words)), strict=True)
    found = {run for first, run in pairs if index.holds(words, first, run)}
    standing = {run for one in documents for run in runs_of(one, n)}
    for question, mine in zip(questions, index.of, strict=True):
        wanted = set(runs_of(question, n))
        assert len(mine) == len(wanted)
        assert len(found & set(mine.tolist())) == len(wanted & standing)


def test_runs_do_not_cross_documents_or_words() -> None:
    index = GramIndex(["one two three"], 3)
    for documents in (["one two", "three"], ["onetwo three four"], ["one two threefold"]):
        words, _ = block(documents)
        assert not [
            at
            for at, run in zip(*index.candidates(words), strict=True)
            if index.holds(words, int(at), int(run))
        ]


def test_equal_hashes_are_not_taken_for_equal_runs() -> None:
    """Words that agree in length, first and last eight bytes have one hash; the text decides."""
    index = GramIndex(["abcdefghXXXijklmnop one"], 2)
    words, _ = block(["abcdefghYYYijklmnop one"])
    ((first,), (run,)) = index.candidates(words)
    assert not index.holds(words, int(first), int(run))


QUESTION = " ".join(f"w{at}" for at in range(24))  # 20 shingles of 5 words


def shares(documents: list[str], threshold: float, questions: list[str]) -> dict[int, float]:
    words, begins = block(documents)
    index = NearIndex(questions, 5, threshold)
    return {one.document: one.share for one in index.find(words, begins)}


def test_near_duplicates_by_their_share_of_shingles() -> None:
    words = QUESTION.split()
    edited = " ".join([*words[:12], "changed", *words[13:]])
    half = " ".join(words[:14])
    apart = [" ".join(words[:12]), " ".join(words[12:])]
    found = shares([f"before {QUESTION} after", edited, half, *apart], 0.5, [QUESTION])
    assert found == {0: 1.0, 1: 0.75, 2: 0.5}
    assert shares([edited, half], 0.8, [QUESTION]) == {}
    far = " ".join([*words[:12], *["between"] * 40, *words[12:]])
    assert shares([far], 0.5, [QUESTION]) == {}


@settings(deadline=None, max_examples=40)
@given(st.lists(WORDS, min_size=1, max_size=4), st.sampled_from([0.3, 0.5, 1.0]))
def test_near_duplicates_are_those_of_naive_containment(
    documents: list[str], threshold: float
) -> None:
    questions = [" ".join(documents), *documents]
    index = NearIndex(questions, 5, threshold)
    words, begins = block(documents)
    found = {(one.question, one.document): one.share for one in index.find(words, begins)}
    for number, question in enumerate(questions):
        mine = set(runs_of(question, 5))
        assert index.judged[number] == (len(mine) >= 8)
        for which, document in enumerate(documents):
            runs = runs_of(document, 5)
            stretch = 2 * (len(mine) + 4) - 4  # runs in twice the question's words
            share = max(
                len(mine & set(runs[at : at + stretch])) / max(1, len(mine))
                for at in range(max(1, len(runs)))
            )
            wanted = share if index.judged[number] and share >= threshold else None
            assert found.get((number, which)) == wanted


def test_shingles_of_many_questions_alone_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "COMMON", 2)
    shared = " ".join(f"s{at}" for at in range(14))
    questions = [f"{shared} own{at} words{at} here{at}" for at in range(3)]
    index = NearIndex(questions, 5, 0.5)
    # 13 shingles, 10 of them common, 7 needed: boilerplate alone would do.
    assert not index.judged.any()
    assert NearIndex(questions, 5, 0.9).judged.all()
    assert shares([questions[1]], 0.9, questions) == {0: 1.0}
