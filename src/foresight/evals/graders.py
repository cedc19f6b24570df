"""Graders: from a response to a score, without asking a model. `model_grader` has those that do."""

from __future__ import annotations

import importlib
import inspect
import re
import signal
import string
import threading
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.record import UNSCORED, Reason
from foresight.runs import sha256_text

GRADER_SECONDS = 5.0
"""A pattern or a function that takes longer has failed."""


@dataclass(frozen=True)
class Graded:
    """A response to be graded: item, exact prompt, what the model wrote."""

    item: Item
    prompt: str
    output: str


@dataclass(frozen=True)
class Verdict:
    """Score in [0, 1], or None with the reason; `answer` is what was read out of the output."""

    score: float | None
    answer: str | None = None
    reason: Reason = Reason.OK
    explanation: str = ""

    def __post_init__(self) -> None:
        assert (self.score is None) == (self.reason in UNSCORED), "no score needs a reason"

    @classmethod
    def failed(cls, why: str) -> Verdict:
        """No verdict: counted apart, never a zero."""
        return cls(None, None, Reason.GRADER_FAILED, why)


class Grader(BaseModel, ABC):
    """Reads responses. Its settings are part of the task's hash."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    asks_model: ClassVar[bool] = False
    """True: responses are graded in batches; false: each as soon as it is there."""

    def check(self, item: Item) -> None:
        """Raises UserError if the item lacks what the grader needs."""
        if not isinstance(item.target, tuple) or not item.target:
            raise UserError(f"item {item.id}: `target` must list at least one accepted answer")

    def settings(self) -> dict[str, Any]:
        """What decides a verdict, JSON values."""
        return self.model_dump(mode="json")

    @abstractmethod
    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> list[Verdict]:
        """Verdicts in the order of the responses; `done` is called for each as it comes."""


class TextGrader(Grader):
    """Grades one response at a time."""

    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> list[Verdict]:
        verdicts = []
        for at, response in enumerate(responses):
            try:
                with time_limit(GRADER_SECONDS):
                    verdicts.append(self.read(response))
            # Whatever a user's function raises is a failed grader, not a failed run.
            except Exception as error:
                verdicts.append(Verdict.failed(f"{type(error).__name__}: {error}"))
            if done:
                done(at, verdicts[-1])
        return verdicts

    @abstractmethod
    def read(self, response: Graded) -> Verdict:
        """The verdict on one response."""


Normalise = Literal["none", "space", "words"]
"""`space`: runs of white space are one, none at the ends. `words`: also Unicode NFKC, case folded,
punctuation and English articles left out (as in SQuAD, Rajpurkar et al. 2016)."""
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str, how: Normalise) -> str:
    """The text as answers are compared."""
    if how == "none":
        return text
    if how == "words":
        text = unicodedata.normalize("NFKC", text).casefold().translate(PUNCTUATION)
        text = ARTICLES.sub(" ", text)
    return " ".join(text.split())


class ExactMatch(TextGrader):
    """The output is one of the accepted answers."""

    kind: Literal["exact_match"] = "exact_match"
    normalise: Normalise = "words"

    def read(self, response: Graded) -> Verdict:
        return _matched(response.item, response.output.strip(), self.normalise)


class Includes(TextGrader):
    """An accepted answer stands somewhere in the output."""

    kind: Literal["includes"] = "includes"
    normalise: Normalise = "words"

    def read(self, response: Graded) -> Verdict:
        output = normalised(response.output, self.normalise)
        found = [
            one for one in _accepted(response.item) if normalised(one, self.normalise) in output
        ]
        return Verdict(float(bool(found)), found[0] if found else None)


class RegexMatch(TextGrader):
    """The last match of `pattern` (its first group, if it has one) is one of the accepted answers;
    no match is an invalid format."""

    kind: Literal["regex"] = "regex"
    pattern: str
    normalise: Normalise = "words"

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        return value

    def read(self, response: Graded) -> Verdict:
        matches = list(re.finditer(self.pattern, response.output, re.MULTILINE))
        if not matches:
            return Verdict(0.0, None, Reason.INVALID_FORMAT)
        answer = matches[-1][1 if matches[-1].re.groups else 0]
        return _matched(response.item, answer or "", self.normalise)


_NUMBER = re.compile(r"(?:(?<![\w)])-)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


class NumericAnswer(TextGrader):
    """The number behind `marker`, or the last number where there is no marker, equals an accepted
    one (Cobbe et al. 2021). Thousands separators are commas; 18, 18.0 and $18.00 are equal."""

    kind: Literal["numeric"] = "numeric"
    marker: str = "####"

    def check(self, item: Item) -> None:
        super().check(item)
        for one in _accepted(item):
            if last_number(one) is None:
                raise UserError(f"item {item.id}: target {one!r} holds no number")

    def read(self, response: Graded) -> Verdict:
        output = response.output
        before, marked, behind = output.partition(self.marker) if self.marker else (output, "", "")
        found = first_number(behind) if marked else last_number(before)
        if found is None:
            return Verdict(0.0, None, Reason.INVALID_FORMAT)
        right = any(last_number(one) == found for one in _accepted(response.item))
        return Verdict(float(right), format(found.normalize(), "f"))


class FunctionGrader(TextGrader):
    """A function of the user's own, `module:function`: (Item, output) -> score in [0, 1], bool or
    Verdict. What it raises, and more than five seconds, is a failed grader."""

    kind: Literal["function"] = "function"
    function: str

    def check(self, item: Item) -> None:
        imported(self.function)

    def settings(self) -> dict[str, Any]:
        source = inspect.getsource(imported(self.function))
        return super().settings() | {"source_sha256": sha256_text(source)}

    def read(self, response: Graded) -> Verdict:
        found = imported(self.function)(response.item, response.output)
        if isinstance(found, Verdict):
            return found
        score = float(found)
        if not 0.0 <= score <= 1.0:
            return Verdict.failed(f"{self.function} gave {score}, not a score in [0, 1]")
        return Verdict(score, response.output.strip())


def first_number(text: str) -> Decimal | None:
    """The first number of a text, exactly."""
    return next(iter(_numbers(text)), None)


def last_number(text: str) -> Decimal | None:
    """The last number of a text, exactly."""
    return next(iter(reversed(list(_numbers(text)))), None)


def _numbers(text: str) -> Iterator[Decimal]:
    for one in _NUMBER.finditer(text.replace("\N{MINUS SIGN}", "-")):
        try:
            yield Decimal(one[0].replace(",", ""))
        except InvalidOperation:  # digits of scripts that cannot be mixed
            continue


def _accepted(item: Item) -> tuple[str, ...]:
    assert isinstance(item.target, tuple), "check() has seen it"
    return item.target


def _matched(item: Item, answer: str, how: Normalise) -> Verdict:
    plain = normalised(answer, how)
    return Verdict(float(any(normalised(one, how) == plain for one in _accepted(item))), answer)


def imported(name: str) -> Callable[..., Any]:
    """What `module:function` names. Raises UserError if there is no such thing."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{name}: cannot be imported as module:function ({error})") from None
    if not callable(found):
        raise UserError(f"{name}: not a function")
    made: Callable[..., Any] = found
    return made


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block after so long. Works in the main thread, where signals
    arrive (also inside a regular expression); elsewhere there is no limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError(f"took longer than {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
