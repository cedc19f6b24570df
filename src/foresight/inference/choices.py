"""Multiple choice by log-probability, with and without the pictures of the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from foresight.data.shards import Encoded
from foresight.data.tokenizer import Tokenizer
from foresight.document import Image, Text
from foresight.forecast.coverage import wilson
from foresight.inference.prompt import encode_prompt, to_batch
from foresight.model.decoder import Decoder
from foresight.worlds.pictures import PictureQuestion

_BATCH = 64


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


@torch.no_grad()
def choice_logprobs(
    model: Decoder, tokenizer: Tokenizer, prompts: Sequence[tuple[Sequence[Text | Image], str]]
) -> list[float]:
    """Log-probability in nats of each continuation given its parts."""
    sequences = []
    for parts, continuation in prompts:
        # Only the continuation is a target.
        silent = [Text(part.text, 0.0) if isinstance(part, Text) else part for part in parts]
        sequences.append(encode_prompt([*silent, Text(continuation)], tokenizer, model.spec))
    scores = []
    for start in range(0, len(sequences), _BATCH):
        some: list[Encoded] = sequences[start : start + _BATCH]
        inputs = model.inputs(to_batch(some))
        nats = model(inputs)[1] * inputs.weights
        scores += (-nats.view(len(some), -1).sum(1)).tolist()
    return scores


def answer_questions(
    model: Decoder, tokenizer: Tokenizer, questions: Sequence[PictureQuestion], see: bool
) -> list[bool]:
    """Whether each question is answered rightly; without `see` its images are removed."""
    prompts = [
        ([part for part in question.parts if see or isinstance(part, Text)], choice)
        for question in questions
        for choice in question.choices
    ]
    scores = iter(choice_logprobs(model, tokenizer, prompts))
    right = []
    for question in questions:
        options = [next(scores) for _ in question.choices]
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
