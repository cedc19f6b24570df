"""Graders that ask a model: one choice of a template, or the points of a rubric.

The judge reads text only: of a question with pictures it sees the words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SkipValidation

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.files import validated
from foresight.evals.graders import Graded, Grader, Verdict
from foresight.evals.item import Item
from foresight.evals.model_graded import ModelGraded
from foresight.evals.rubric import Criterion, Rubric
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Sampling,
)


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


def _yes_or_no(name: str, prompt: str) -> ModelGraded:
    """A template whose yes is worth everything."""
    points = {"Yes": 1.0, "No": 0.0}
    return ModelGraded(
        name=name,
        prompt=prompt,
        choice_strings=tuple(points),
        choice_scores=points,
        eval_type="cot_classify",
    )


_TRUE = _yes_or_no(
    "true",
    "Question:\n{input}\n\nWhat is known to be true:\n{ideal}\n\nAnswer to be judged:\n{completion}"
    "\n\nIs the answer right, and does everything in it agree with what is known?",
)


class ModelGrader(_Judge):
    """The judge makes one choice of a template, which has a score in [0, 1]. An answer that is
    none of them, or none at all, is a failed grader.

    The template's fields are `input` (the question), `completion` (the response), `ideal` (the
    accepted answers, one a line), and the texts of the item's `meta`.
    """

    kind: Literal["model"] = "model"
    template: Annotated[ModelGraded, SkipValidation] = Field(default=_TRUE, exclude=True)
    """What it is asked; default: whether the answer is right and agrees with the accepted answers
    (or the reference) in `target`. In YAML FILE, or FILE#NAME if the file has several."""
    choice_scores: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """What each choice is worth, where the template does not say."""

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"template": self.template.model_dump(mode="json")}

    def check(self, item: Item) -> None:
        name, choices = self.template.name, self.template.choice_strings
        if set(self._scored.choice_scores) != set(choices):
            raise UserError(
                f"grader: the template {name} needs a score for each of {', '.join(choices)}; give "
                f"the grader `choice_scores` for them"
            )
        missing = self.template.fields - _values(item, "").keys()
        if missing:
            raise UserError(
                f"item {item.id}: the template {name} asks for {', '.join(sorted(missing))}, "
                f"which the item's `target` or `meta` does not have"
            )

    @property
    def _scored(self) -> ModelGraded:
        scores = self.choice_scores
        return (
            self.template.model_copy(update={"choice_scores": scores}) if scores else self.template
        )

    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> list[Verdict]:
        template, verdicts = self._scored, dict[int, Verdict]()

        def judged(at: int, answers: tuple[Completion, ...]) -> None:
            verdicts[at] = _choice(template, answers[0])
            if done:
                done(at, verdicts[at])

        self._asked([template.filled(_values(one.item, one.output)) for one in responses], judged)
        return [verdicts[at] for at in range(len(responses))]


def _choice(template: ModelGraded, answer: Completion) -> Verdict:
    if answer.finish in ("failed", "cancelled", "refused"):
        return Verdict.failed(f"the judge did not answer: {answer.error}")
    choice = template.choice(answer.text)
    if choice is None:
        return Verdict.failed(f"no choice in: {answer.text}")
    return Verdict(template.score(choice), choice, explanation=answer.text)


_MET = _yes_or_no(
    "criterion",
    "Question:\n{input}\n\nResponse to be graded:\n{completion}\n\nCriterion:\n{criterion}"
    "\n\nDoes the response meet the criterion?",
)


class RubricPoints(_Judge):
    """Points earned over points possible; the judge is asked about one criterion at a time, since
    small judges lose count of many. The rubric is the item's `meta["rubric"]` (a list of
    {criterion, points}) or, without one, the grader's own."""

    kind: Literal["rubric"] = "rubric"
    rubric: Rubric | None = None

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"template": _MET.model_dump(mode="json")}

    def check(self, item: Item) -> None:
        if not self.criteria(item):
            raise UserError(f"item {item.id}: neither `meta.rubric` nor the grader has a rubric")

    def criteria(self, item: Item) -> tuple[Criterion, ...]:
        """The item's rubric. Raises UserError if it is malformed."""
        own = item.meta.get("rubric")
        rubric = self.rubric
        if own is not None:
            rubric = validated(Rubric, own, f"item {item.id}, meta.rubric")
        return rubric.criteria if rubric else ()

    def grade(
        self, responses: Sequence[Graded], done: Callable[[int, Verdict], None] | None = None
    ) -> list[Verdict]:
        asked = [(at, one) for at, r in enumerate(responses) for one in self.criteria(r.item)]
        prompts = [
            _MET.filled(
                _values(responses[at].item, responses[at].output) | {"criterion": one.asked}
            )
            for at, one in asked
        ]
        met: list[dict[int, bool | None]] = [{} for _ in responses]
        verdicts: dict[int, Verdict] = {}

        def judged(index: int, answers: tuple[Completion, ...]) -> None:
            at = asked[index][0]
            said = _choice(_MET, answers[0]).score
            met[at][index] = None if said is None else said == 1.0
            criteria = self.criteria(responses[at].item)
            if len(met[at]) == len(criteria):
                verdicts[at] = _points(criteria, [met[at][key] for key in sorted(met[at])])
                if done:
                    done(at, verdicts[at])

        self._asked(prompts, judged)
        return [verdicts[at] for at in range(len(responses))]


def _points(criteria: Sequence[Criterion], met: Sequence[bool | None]) -> Verdict:
    if None in met:
        return Verdict.failed(f"no verdict on: {criteria[met.index(None)].name}")
    earned = sum(one.points for one, yes in zip(criteria, met, strict=True) if yes)
    possible = sum(one.points for one in criteria)
    told = "\n".join(
        f"{one.points if yes else 0:g} of {one.points:g}: {one.name}"
        for one, yes in zip(criteria, met, strict=True)
    )
    return Verdict(earned / possible, f"{earned:g} of {possible:g}", explanation=told)


def _values(item: Item, output: str) -> dict[str, str]:
    ideal = item.choices[item.target] if isinstance(item.target, int) else "\n".join(item.target)
    meta = {key: value for key, value in item.meta.items() if isinstance(value, str)}
    known = {"ideal": ideal} if ideal else {}
    return meta | {"input": item.text, "completion": output} | known
