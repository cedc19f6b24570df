"""One line: what is read, what is refused, what is found in it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.report.record_line import Search, fold, margin, parse, right_choice, spans
from tests.report.records import record, texts


def _line(value: dict[str, Any], **spelling: Any) -> bytes:
    return json.dumps(value, **spelling).encode()


def _found(line: bytes, text: str) -> bool:
    return Search(text).finds(line, *spans(line, parse(line)))


@given(texts, texts, texts.filter(bool), st.integers(0, 3))
def test_a_search_finds_what_a_reader_would(
    prompt: str, output: str, text: str, spelling: int
) -> None:
    value = asdict(record(prompt=prompt, output=output, details={"note": text}, answer=text))
    line = [
        record(prompt=prompt, output=output, details={"note": text}, answer=text)
        .to_line()
        .encode(),
        _line(value),
        _line(value, ensure_ascii=False, indent=None),
        _line(dict(reversed(value.items())), ensure_ascii=False, separators=(",", ":")),
    ][spelling]
    ascii_only = text.isascii()
    wanted = fold(text, ascii_only)
    expected = any(wanted in fold(words, ascii_only) for words in (prompt, output))
    assert _found(line, text) == expected


def test_half_an_escape_is_no_hit() -> None:
    line = record(prompt="a\nb \\name", output='say "no"').to_line().encode()
    # In the bytes these stand: a search that does not mind escapes would find them.
    for text, raw in (("nb", b"nb"), ('"', b'\\"'), ("\\nb", b"\\nb")):
        assert raw in line
        assert _found(line, text) == (text == '"')
    assert _found(line, "\\NAME") and _found(line, "a\nB") and not _found(line, "prompt")
    assert not _found(line, '","output":"') and not _found(line, "physics")


def test_second_spellings_of_letters_are_read() -> None:
    value = asdict(record(prompt="café a/b"))
    line = _line(value, separators=(",", ":")).replace(b"a/b", b"a\\/b")
    assert b"caf\\u00e9 a\\/b" in line
    assert _found(line, "É A/B") and _found(line, "a/b") and not _found(line, "00e9")
    slash = record(prompt="either/or").to_line().replace("r/o", "r\\/o").encode()
    assert _found(slash, "R/O") and not _found(slash, "\\")


@given(texts, texts)
def test_folding_goes_letter_by_letter(first: str, second: str) -> None:
    """So the hits of a longer text are among those of its parts."""
    assert fold(first + second) == fold(first) + fold(second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": 3}, "prompt is no text"),
        ({"answer": 3}, "answer is no text"),
        ({"choices": "AB"}, "choices is no list"),
        ({"key": ...}, "no field key"),
        ({"score": ..., "item": ...}, "no field item, score"),
    ],
)
def test_what_is_no_record_says_why(change: dict[str, Any], message: str) -> None:
    value = {k: v for k, v in (asdict(record()) | change).items() if v is not ...}
    with pytest.raises(ValueError, match=message):
        parse(_line(value))
    with pytest.raises(ValueError, match="not a JSON object"):
        parse(b"[1]")


def test_rare_json_is_read() -> None:
    line = record().to_line().replace("Which", "\\ud800").encode()
    assert parse(line)["prompt"] == "\ud800 planet?"
    assert math.isnan(parse(_line({**asdict(record()), "score": math.nan}))["score"])


def test_the_margin_is_of_the_right_choice() -> None:
    def of(**changes: Any) -> float:
        return margin(parse(record(**changes).to_line().encode()))

    assert of(choice_logprobs=(-2.0, -0.5)) == 1.5
    assert of(choice_logprobs=(-0.5, -2.0)) == -1.5
    assert of(target="Mars", choice_logprobs=(-0.5, -2.0)) == 1.5
    unknown: list[dict[str, Any]] = [
        {"target": 5}, {"target": ["x"]}, {"target": "Pluto"}, {"choice_logprobs": ()},
        {"choice_logprobs": (-1.0,)}, {"choice_logprobs": (-1.0, -math.inf)},
        {"choices": ("Mars", "Mars"), "target": "Mars"},
    ]  # fmt: skip
    assert all(math.isnan(of(**one)) for one in unknown)


def test_the_right_choice_is_an_index_or_the_choice_itself() -> None:
    value = asdict(record(choices=(" A", " B"), choice_logprobs=()))
    assert right_choice(value | {"target": "B"}) == 1
    assert right_choice(value | {"target": True}) is None
    assert right_choice(value | {"target": 2}) is None
