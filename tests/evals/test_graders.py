"""Graders of texts."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.graders import (
    ExactMatch,
    FunctionGrader,
    Graded,
    Includes,
    NumericAnswer,
    RegexMatch,
    TextGrader,
    Verdict,
    last_number,
    normalised,
)
from foresight.evals.item import Item
from foresight.evals.record import Reason


def graded(grader: TextGrader, output: str, *targets: str) -> Verdict:
    item = Item("x", (Text("?"),), (), targets)
    grader.check(item)
    return grader.grade([Graded(item, "?", output)])[0]


def test_exact_match_forgives_form_only() -> None:
    assert graded(ExactMatch(), " The  Eiffel tower! ", "eiffel TOWER").score == 1.0
    assert graded(ExactMatch(), "Eiffel", "eiffel tower").score == 0.0
    assert graded(ExactMatch(normalise="space"), "eiffel tower", "Eiffel tower").score == 0.0
    assert graded(ExactMatch(), "ﬁve", "five").score == 1.0
    assert graded(ExactMatch(), "b", "a b", "b").score == 1.0


@given(st.text(), st.sampled_from(["none", "space", "words"]))
def test_normalising_twice_is_normalising_once(text: str, how: Any) -> None:
    once = normalised(text, how)
    # NFKC of a folded text can fold once more for a few signs; what is compared is stable then.
    assert normalised(once, how) == normalised(normalised(once, how), how)


def test_includes() -> None:
    found = graded(Includes(), "I think that it was Ada Lovelace.", "Babbage", "Ada Lovelace")
    assert (found.score, found.answer) == (1.0, "Ada Lovelace")
    assert graded(Includes(), "no idea", "Babbage").score == 0.0


def test_regex_reads_the_last_match_and_says_if_there_is_none() -> None:
    grader = RegexMatch(pattern=r"Answer: (\w+)")
    assert graded(grader, "Answer: x\nno, Answer: y", "y").score == 1.0
    assert graded(grader, "y", "y") == Verdict(0.0, None, Reason.INVALID_FORMAT)
    with pytest.raises(ValueError, match="not a regular expression"):
        RegexMatch(pattern="(")


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("... so 6*3 = 18 dollars.\n#### 18", "18"),
        ("#### 1,234.50\n\nand 7 more", "1234.5"),
        ("The answer is $70,000.", "70000"),
        ("5-3 = 2", "2"),
        ("It falls to -4 degrees", "-4"),
        ("It falls to \N{MINUS SIGN}4", "-4"),
        ("about .5", "0.5"),
        ("উত্তর হল ৮।", "8"),
        ("#### none", None),
        ("no number", None),
        ("12,", "12"),
    ],
)
def test_numbers_are_read_as_gsm8k_writes_them(output: str, answer: str | None) -> None:
    found = graded(NumericAnswer(), output, answer or "1")
    assert found.answer == answer
    assert found.score == (0.0 if answer is None else 1.0)
    assert found.reason == (Reason.INVALID_FORMAT if answer is None else Reason.OK)


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_every_way_of_writing_a_number_is_equal(number: int, zeros: int) -> None:
    written = f"The answer is ${number:,}" + ("." + "0" * zeros if zeros else "")
    written = written.replace("$-", "-$") if zeros == 1 else written
    expected = str(abs(number)) if "-$" in written else str(number)
    assert graded(NumericAnswer(), written + ".", expected).score == 1.0


def test_a_wrong_number_is_wrong() -> None:
    assert graded(NumericAnswer(), "#### 18", "19").score == 0.0
    assert last_number("none") is None
    with pytest.raises(UserError, match="holds no number"):
        graded(NumericAnswer(), "1", "one")


def half(item: Item, output: str) -> float:
    return {"half": 0.5, "more": 2.0}.get(output, 1 / len(output[:0]) if output == "raise" else 1.0)


def verdict(item: Item, output: str) -> Verdict:
    return Verdict(0.25, "q", explanation="a quarter")


def slow(item: Item, output: str) -> float:
    time.sleep(3)
    return 1.0


def test_functions_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    grader = FunctionGrader(function=f"{__name__}:half")
    assert graded(grader, "half").score == 0.5
    assert graded(grader, "more").reason == Reason.GRADER_FAILED
    failed = graded(grader, "raise")
    assert (failed.score, failed.reason) == (None, Reason.GRADER_FAILED)
    assert "ZeroDivisionError" in failed.explanation
    assert graded(FunctionGrader(function=f"{__name__}:verdict"), "x").explanation == "a quarter"
    monkeypatch.setattr("foresight.evals.graders.GRADER_SECONDS", 0.05)
    late = graded(FunctionGrader(function=f"{__name__}:slow"), "x")
    assert late.reason == Reason.GRADER_FAILED and "TimeoutError" in late.explanation
    with pytest.raises(UserError, match="cannot be imported"):
        graded(FunctionGrader(function="nowhere:none"), "x")


def test_a_pattern_that_backtracks_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foresight.evals.graders.GRADER_SECONDS", 0.2)
    begun = time.monotonic()
    found = graded(RegexMatch(pattern=r"(a+)+$"), "a" * 40 + "b", "a")
    assert found.reason == Reason.GRADER_FAILED and time.monotonic() - begun < 5
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_source_of_a_function_is_a_setting() -> None:
    first = FunctionGrader(function=f"{__name__}:half").settings()
    second = FunctionGrader(function=f"{__name__}:verdict").settings()
    assert first["source_sha256"] != second["source_sha256"]


def test_a_missing_score_needs_a_reason() -> None:
    with pytest.raises(AssertionError):
        Verdict(None)
    with pytest.raises(AssertionError):
        Verdict(0.0, reason=Reason.GRADER_FAILED)
