"""Normalisation is `str.isalnum`, character by character."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.evals.contamination.normalise import spaced, squeezed, without_zero

TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("aZ é“,\n\0Ж漢ß²½")))


def letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


# The tables of all characters are made on first use.
@settings(deadline=None)
@given(TEXTS)
def test_letters_and_digits_are_kept(text: str) -> None:
    data = without_zero(text.encode())
    assert len(data) == len(text.encode())
    assert squeezed(data, fold=False).decode() == letters(text)


@settings(deadline=None)
@given(TEXTS)
def test_offsets_stay_and_both_forms_agree(text: str) -> None:
    data = without_zero(text.encode())
    for fold in (False, True):
        same = spaced(data, fold)
        assert len(same) == len(data)
        assert same.translate(None, b" ") == squeezed(data, fold)


def test_every_character() -> None:
    text = "".join(map(chr, (*range(1, 0xD800), *range(0xE000, sys.maxunicode + 1))))
    assert squeezed(text.encode(), fold=False).decode() == letters(text)


def test_folding_is_lower_case_where_the_size_allows() -> None:
    assert squeezed("Été ÄÖ ЖДИ ΘΛ".encode(), fold=True).decode() == "étéäöждиθλ"
    # Of other sizes in UTF-8: they stay, in questions as in corpora.
    assert squeezed("İẞ".encode(), fold=True).decode() == "İẞ"


def test_documents_stay_apart() -> None:
    assert squeezed("a, b\0c é\0“".encode(), fold=False) == "ab\0cé\0".encode()
