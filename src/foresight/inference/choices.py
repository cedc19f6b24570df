"""Multiple choice by log-probability, with and without the pictures of the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foresight.document import Text
from foresight.forecast.coverage import wilson
from foresight.inference.language_model import LanguageModel, ScoreRequest
from foresight.worlds.pictures import PictureQuestion


@dataclass(frozen=True)
class Accuracy:
    """Share of questions whose right choice has the highest log-probability.

    low, high: 95 % Wilson score interval; n: questions; chance: mean of 1 / choices.
    """

    family: str
    accuracy: float
    low: float
    high: float
    n: int
    chance: float


def answer_questions(
    model: LanguageModel, questions: Sequence[PictureQuestion], see: bool
) -> list[bool]:
    """Whether each question is answered rightly; without `see` its images are removed."""
    requests = [
        ScoreRequest(
            tuple(part for part in question.parts if see or isinstance(part, Text)),
            question.choices,
        )
        for question in questions
    ]
    right = []
    for question, scores in zip(questions, model.score(requests), strict=True):
        options = [score.logprob for score in scores]
        right.append(max(range(len(options)), key=options.__getitem__) == question.answer)
    return right


def accuracies(questions: Sequence[PictureQuestion], right: Sequence[bool]) -> list[Accuracy]:
    """Per family and, first, over all."""
    families = ["all", *sorted({question.family for question in questions})]
    found = []
    for family in families:
        rows = [
            (hit, 1 / len(question.choices))
            for question, hit in zip(questions, right, strict=True)
            if family in ("all", question.family)
        ]
        hits, n = sum(hit for hit, _ in rows), len(rows)
        chance = sum(share for _, share in rows) / n
        found.append(Accuracy(family, hits / n, *wilson(hits, n), n, chance))
    return found
