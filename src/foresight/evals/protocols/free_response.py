"""Free responses, read by a grader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from foresight.evals.graders import ExactMatch, Graded, Grader, Verdict
from foresight.evals.item import Item
from foresight.evals.layout import Layout, prompt_text
from foresight.evals.protocols.protocol import (
    Answer,
    Attempt,
    Emit,
    Protocol,
    came,
    requests,
    unanswered,
)
from foresight.inference.language_model import Completion, LanguageModel


class FreeResponse(Protocol):
    """One draw at `temperature` (the report uses .6 for free-response exams), then the grader."""

    kind: Literal["free_response"] = "free_response"

    layout: Layout = Layout()
    temperature: Annotated[float, Field(ge=0)] = 0.6
    """Of the response; 0: the likeliest token every time."""
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    """At most so many tokens of response."""
    stop: tuple[str, ...] = ()
    """Texts that end the response."""
    grader: Annotated[Grader, SkipValidation] = Field(default_factory=ExactMatch, exclude=True)
    """Reads the response; what it is made of goes into the task's hash."""

    def check(self, item: Item) -> None:
        self.grader.check(item)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"grader": self.grader.settings()}

    def samples_differ(self) -> bool:
        return self.temperature > 0

    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        prompts = [self.prompt(one) for one in attempts]
        asked = requests(
            attempts,
            prompts,
            "response",
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=self.stop,
        )
        texts = [prompt_text(prompt) for prompt in prompts]
        spoken: list[tuple[int, Completion]] = []

        def heard(at: int, answers: tuple[Completion, ...]) -> None:
            one = answers[0]
            if not came(one):
                emit(at, unanswered(texts[at], one))
            elif self.grader.asks_model:
                spoken.append((at, one))
            else:
                graded = Graded(attempts[at].item, texts[at], one.text)
                emit(at, _answer(texts[at], one, self.grader.grade([graded])[0]))

        model.generate(asked, heard)

        def done(index: int, verdict: Verdict) -> None:
            at, one = spoken[index]
            emit(at, _answer(texts[at], one, verdict))

        if spoken:
            graded = [Graded(attempts[at].item, texts[at], one.text) for at, one in spoken]
            self.grader.grade(graded, done)


def _answer(prompt: str, written: Completion, verdict: Verdict) -> Answer:
    details: dict[str, Any] = {"explanation": verdict.explanation} if verdict.explanation else {}
    if written.finish == "length":
        details["finish"] = "length"
    return Answer(
        prompt=prompt,
        output=written.text,
        answer=verdict.answer,
        score=verdict.score,
        reason=verdict.reason,
        tokens=written.completion_tokens,
        details=details,
    )
