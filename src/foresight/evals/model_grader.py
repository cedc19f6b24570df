"""Graders that ask a model: one choice of a template, or the points of a rubric.

The judge reads text only: of a question with pictures it sees the words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_validator

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.graders import Graded, Grader, Verdict
from foresight.evals.item import Item
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Sampling,
)

_FIELD = re.compile(r"\{(\w+)\}")


class Template(Protocol):
    """A question to a judge, and how its answer is read."""

    def fields(self) -> set[str]:
        """Names the prompt is filled with."""

    def prompt(self, values: Mapping[str, str]) -> str:
        """The question, filled in."""

    def choice(self, text: str) -> str | None:
        """The choice that the judge made, or None if it made none."""

    def score(self, choice: str) -> float:
        """In [0, 1]."""

    def settings(self) -> dict[str, Any]:
        """All of it, JSON values."""


class ChoiceTemplate(BaseModel):
    """A prompt with `{input}` (question), `{completion}` (response), `{ideal}` (accepted answers,
    one a line) and fields of the item's `meta`; each choice has a score. Same idea as the
    model-graded specifications of OpenAI Evals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    """The question to the judge."""
    choice_scores: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """What the judge may answer, and what it is worth."""
    reasoning: bool = True
    """The judge reasons first and answers on its last line; false: it answers at once."""

    @field_validator("choice_scores")
    @classmethod
    def _some(cls, value: dict[str, float]) -> dict[str, float]:
        if len(value) < 2 or any(not one.strip() for one in value):
            raise ValueError("needs two or more choices, none of them empty")
        return value

    def fields(self) -> set[str]:
        return set(_FIELD.findall(self.template))

    def prompt(self, values: Mapping[str, str]) -> str:
        asked = _FIELD.sub(lambda found: values.get(found[1], found[0]), self.template)
        allowed = ", ".join(self.choice_scores)
        how = (
            f"Give your reasons step by step. Then write one of these alone on the last line, and "
            f"nothing else there: {allowed}"
            if self.reasoning
            else f"Answer with one of these and nothing else: {allowed}"
        )
        return f"{asked}\n\n{how}\n"

    def choice(self, text: str) -> str | None:
        lines = [line.strip(" \t\"'`*.:()[]") for line in text.splitlines() if line.strip()]
        if not lines:
            return None
        line = lines[-1 if self.reasoning else 0]
        return next((one for one in self.choice_scores if one.casefold() == line.casefold()), None)

    def score(self, choice: str) -> float:
        return self.choice_scores[choice]

    def settings(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class _Judge(Grader):
    """What both graders share: the model, and how it is asked."""

    asks_model: ClassVar[bool] = True

    model: Annotated[LanguageModel, SkipValidation] = Field(exclude=True)
    """The judge; in YAML a path or `api:NAME@URL`."""
    max_tokens: Annotated[int, Field(ge=1)] = 512
    """At most so many tokens of judgement."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"model": self.model.name}

    def _asked(
        self, prompts: Sequence[str], done: Callable[[int, tuple[Completion, ...]], None]
    ) -> None:
        sampling = Sampling(temperature=0.0, max_tokens=self.max_tokens)
        requests = [GenerateRequest((Text(prompt),), sampling) for prompt in prompts]
        self.model.generate(requests, done)


class ModelGrader(_Judge):
    """The judge makes one choice of a template. An answer that is none of them, or none at all, is
    a failed grader."""

    kind: Literal["model"] = "model"
    template: Annotated[Template, SkipValidation] = Field(exclude=True)
    """What it is asked."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"template": self.template.settings()}

    def check(self, item: Item) -> None:
        missing = self.template.fields() - _values(item, "").keys()
        if missing:
            raise UserError(
                f"item {item.id}: the grader's template asks for {', '.join(sorted(missing))}, "
                f"which the item's `meta` does not have"
            )

    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> list[Verdict]:
        prompts = [self.template.prompt(_values(one.item, one.output)) for one in responses]
        verdicts: dict[int, Verdict] = {}

        def judged(at: int, answers: tuple[Completion, ...]) -> None:
            verdicts[at] = self._verdict(answers[0])
            if done:
                done(at, verdicts[at])

        self._asked(prompts, judged)
        return [verdicts[at] for at in range(len(responses))]

    def _verdict(self, answer: Completion) -> Verdict:
        if answer.finish in ("failed", "cancelled"):
            return Verdict.failed(f"the judge did not answer: {answer.error}")
        choice = self.template.choice(answer.text)
        if choice is None:
            return Verdict.failed(f"no choice in: {answer.text}")
        return Verdict(self.template.score(choice), choice, explanation=answer.text)


class Criterion(BaseModel):
    """What earns points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    criterion: str
    points: Annotated[float, Field(gt=0)] = 1.0


_MET = ChoiceTemplate(
    template="Question:\n{input}\n\nResponse to be graded:\n{completion}\n\nCriterion:\n"
    "{criterion}\n\nDoes the response meet the criterion?",
    choice_scores={"Yes": 1.0, "No": 0.0},
)


class RubricPoints(_Judge):
    """Points earned over points possible; the judge is asked about one criterion at a time, since
    small judges lose count of many. The rubric is the item's `meta["rubric"]` (a list of
    {criterion, points}) or, without one, the grader's own."""

    kind: Literal["rubric"] = "rubric"
    rubric: tuple[Criterion, ...] = ()

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"template": _MET.settings()}

    def check(self, item: Item) -> None:
        if not self.criteria(item):
            raise UserError(f"item {item.id}: neither `meta.rubric` nor the grader has a rubric")

    def criteria(self, item: Item) -> tuple[Criterion, ...]:
        """The item's rubric. Raises UserError if it is malformed."""
        own = item.meta.get("rubric")
        if own is None:
            return self.rubric
        try:
            return tuple(Criterion.model_validate(one) for one in own)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"item {item.id}: `meta.rubric` must be a list of {{criterion, points}} ({error})"
            ) from None

    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> list[Verdict]:
        asked = [(at, one) for at, r in enumerate(responses) for one in self.criteria(r.item)]
        prompts = [
            _MET.prompt(
                _values(responses[at].item, responses[at].output) | {"criterion": one.criterion}
            )
            for at, one in asked
        ]
        met: list[dict[int, bool | None]] = [{} for _ in responses]
        verdicts: dict[int, Verdict] = {}

        def judged(index: int, answers: tuple[Completion, ...]) -> None:
            at = asked[index][0]
            choice = None if answers[0].finish == "failed" else _MET.choice(answers[0].text)
            met[at][index] = None if choice is None else choice == "Yes"
            criteria = self.criteria(responses[at].item)
            if len(met[at]) == len(criteria):
                verdicts[at] = _points(criteria, [met[at][key] for key in sorted(met[at])])
                if done:
                    done(at, verdicts[at])

        self._asked(prompts, judged)
        return [verdicts[at] for at in range(len(responses))]


def _points(criteria: Sequence[Criterion], met: Sequence[bool | None]) -> Verdict:
    if None in met:
        return Verdict.failed(f"no verdict on: {criteria[met.index(None)].criterion}")
    earned = sum(one.points for one, yes in zip(criteria, met, strict=True) if yes)
    possible = sum(one.points for one in criteria)
    told = "\n".join(
        f"{one.points if yes else 0:g} of {one.points:g}: {one.criterion}"
        for one, yes in zip(criteria, met, strict=True)
    )
    return Verdict(earned / possible, f"{earned:g} of {possible:g}", explanation=told)


def _values(item: Item, output: str) -> dict[str, str]:
    ideal = item.choices[item.target] if isinstance(item.target, int) else "\n".join(item.target)
    meta = {key: value for key, value in item.meta.items() if isinstance(value, str)}
    return meta | {"input": item.text, "completion": output, "ideal": ideal}
