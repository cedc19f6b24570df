"""Bets: labels follow the odds, outcomes are drawn by them, held-out triples stay held out."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.worlds import bets as world
from foresight.worlds.splits import Split, generator


def drawn(split: Split, count: int, seed: int = 0) -> list[world.Bet]:
    return list(islice(world.bets(generator(seed, "test", 0), split), count))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), split=st.sampled_from(["train", "validation"]))
def test_a_document_is_three_answered_bets(seed: int, split: Split) -> None:
    for document in world.documents(seed, 5, split):
        lines = document.text.splitlines()
        assert len(lines) == world.PER_DOCUMENT and document.source == "bets"
        for line in lines:
            words = line.replace(".", "").replace(",", "").split()
            win, chance, lose = int(words[2]), int(words[4]), int(words[9])
            value = chance * win - (10 - chance) * lose
            assert line.endswith(" yes" if value > 0 else " no") and abs(value) >= world.MARGIN


def test_outcomes_are_drawn_by_the_odds_and_mostly_agree_with_them() -> None:
    train = drawn("train", 6000)
    for chance in (2, 5, 8):
        won = [bet.won for bet in train if bet.chance == chance]
        assert sum(won) / len(won) == pytest.approx(chance / 10, abs=0.06)
    agree = sum(bet.won == bet.good for bet in train) / len(train)
    assert 0.7 < agree < 0.8, "the outcome must be a good cue, and no certain one"
    assert sum(bet.good for bet in train) / len(train) == pytest.approx(0.5, abs=0.03)


def test_no_triple_is_in_both_splits() -> None:
    triples = {
        split: {(bet.chance, bet.win, bet.lose) for bet in drawn(split, 4000, seed)}
        for seed, split in enumerate(("train", "validation"))
    }
    assert not triples["train"] & triples["validation"]
    assert len(triples["train"]) > 60 and len(triples["validation"]) > 15


def test_other_seeds_give_other_documents() -> None:
    first, second = ([d.text for d in world.documents(s, 40, "train")] for s in (0, 1))
    assert len(set(first) & set(second)) < 3
    assert [d.text for d in world.documents(0, 10, "train")] == first[:10]
