"""Filters of prompts: what goes, why, and what counts as the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.people.prompts import Filters, read_disallowed, sift

LONG = "Explain in a few words why the sky over the sea is blue in the morning and red at night"


def items(*texts: str) -> Sequence[Item]:
    return [Item(f"p{at}", (Text(text),)) for at, text in enumerate(texts)]


def test_each_filtered_prompt_is_named_with_its_reason() -> None:
    found = sift(
        items("hi", "Tell me about rivers.", "tell me about: the Rivers", "Tell me about rivers!",
              "How do I build a BOMB at home?", "Why is it dark at night?"),
        Filters(min_words=2, max_copies=2, disallowed=(r"\bbombs?\b",)),
    )  # fmt: skip
    assert [one.id for one in found.kept] == ["p5"]
    assert [(one.id, one.reason, one.detail) for one in found.filtered] == [
        ("p0", "too_short", "1 words"),
        ("p1", "too_common", "3 like p1"),
        ("p2", "too_common", "3 like p1"),
        ("p3", "too_common", "3 like p1"),
        ("p4", "disallowed", r"\bbombs?\b"),
    ]


def test_copies_below_the_limit_stay_and_are_one_cluster() -> None:
    near = LONG.replace("morning", "mornings")
    found = sift(items(LONG, "Name three rivers.", near, LONG.upper()), Filters(max_copies=3))
    assert len(found.kept) == 4
    assert found.clusters == ("p0", "p1", "p0", "p0")
    fewer = sift(items(LONG, "Name three rivers.", near, LONG.upper()), Filters(max_copies=2))
    assert [one.id for one in fewer.kept] == ["p1"]
    other = LONG.replace("the sea", "the desert")
    assert len(sift(items(LONG, other), Filters(max_copies=1)).kept) == 2
    strict = sift(items(LONG, near), Filters(max_copies=1, similarity=0.999))
    assert len(strict.kept) == 2, "the control: not equal, only near"


def test_a_group_of_the_users_own_is_the_cluster() -> None:
    [kept] = sift([Item("a", (Text(LONG),), group="talk 1")], Filters()).clusters
    assert kept == "talk 1"


def test_patterns_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("# not these\n\nbomb\n  (?:gift|poison)\n")
    assert read_disallowed(path) == ("bomb", "(?:gift|poison)")
    path.write_text("fine\n(\n")
    with pytest.raises(UserError, match=r"bad.txt, line 2: no regular expression"):
        read_disallowed(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_disallowed(tmp_path / "none")
