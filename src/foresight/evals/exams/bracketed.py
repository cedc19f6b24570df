"""Answers that stand in brackets behind an explanation."""

from __future__ import annotations

import re
from typing import Literal

from foresight.evals.graders import Graded, TextGrader, Verdict, normalised
from foresight.evals.record import Reason

PHRASE = "The answer is therefore ["


class Bracketed(TextGrader):
    """What stands in the first brackets behind the phrase of the report's prompt. `letters`: right
    if it names all right letters and no other, in any order; `text`: if it is one of the accepted
    answers, spaces apart, or the same number. Without phrase and brackets: an invalid format."""

    kind: Literal["bracketed"] = "bracketed"
    answers: Literal["letters", "text"]

    def read(self, response: Graded) -> Verdict:
        _, phrase, behind = response.output.partition(PHRASE)
        answer, bracket, _ = behind.partition("]")
        if not phrase or not bracket or not answer.strip():
            return Verdict(0.0, None, Reason.INVALID_FORMAT)
        assert isinstance(response.item.target, tuple), "check() has seen it"
        if self.answers == "letters":
            named = "".join(sorted(set("".join(re.findall(r"\b[A-Z]+\b", answer)))))
            if not named:
                return Verdict(0.0, None, Reason.INVALID_FORMAT)
            return Verdict(float(named in response.item.target), named)
        return Verdict(float(any(_same(answer, one) for one in response.item.target)), answer)


def _same(first: str, second: str) -> bool:
    numbers = [_number(text) for text in (first, second)]
    if None not in numbers:
        return numbers[0] == numbers[1]
    return normalised(first, "space") == normalised(second, "space")


def _number(text: str) -> float | None:
    """The number that a text is, thousands separated by commas."""
    try:
        return float(text.strip().strip("$").replace(",", ""))
    except ValueError:
        return None
