"""Graders: how likely an answer is of each class of a rubric.

All give probabilities (n, classes + 1), the last column for `unreadable`. Which grader is used in
training and which in evaluation is a choice of the run: with two different ones it can be seen
where a policy learns to please its grader. `foresight.posttrain.gold` measures them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.special import softmax

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.inference.language_model import (
    GenerateRequest,
    LanguageModel,
    Parts,
    Sampling,
    ScoreRequest,
)
from foresight.posttrain.chat import IMAGE_PLACE, Message, render_prompt
from foresight.posttrain.condition import Bools, Floats
from foresight.posttrain.rubric import UNREADABLE, Answered, Rubric, quoted
from foresight.posttrain.text_classifier import TextClassifier, TextSettings

OPENING = 120
"""Characters of an answer's beginning, where refusals are, that a trained grader sees apart."""
LONGEST = 4000
"""Characters of a text that it sees at all."""


class Grader(Protocol):
    """Every row sums to 1. `name` says which grader it was, in reports."""

    @property
    def name(self) -> str: ...

    def grade(self, samples: Sequence[Answered]) -> Floats: ...


@dataclass(frozen=True, eq=False)
class _Asking:
    """A model that is asked to choose a word.

    By `score`, or with `written` by one word that it writes (endpoints that give no scores). With
    `chat` the question is a user's turn of our template; endpoints have templates of their own.
    Pictures of the conversation are shown before the question, in their order.
    """

    model: LanguageModel
    rubric: Rubric
    chat: bool = False
    written: bool = False

    def _prompt(self, sample: Answered, question: str, examples: str = "") -> Parts:
        said = "\n".join(f"{one.role}: {_said(one)}" for one in sample.messages)
        filled = {
            "conversation": quoted(said),
            "response": quoted(sample.response),
            "question": question,
            "examples": examples,
        }
        # In one pass: what an answer has in braces stays as it is.
        pattern = re.compile("{(" + "|".join(filled) + ")}")
        text = pattern.sub(lambda found: filled[found[1]], self.rubric.instruction)
        pictures = [
            part for one in sample.messages for part in one.parts if isinstance(part, Image)
        ]
        if self.chat:
            return render_prompt((Message("user", (*pictures, Text(text))),))
        return (*pictures, Text(f"{text.rstrip()}\nAnswer:"))

    def _chosen(self, prompts: Sequence[Parts], words: Sequence[str]) -> tuple[Floats, Floats]:
        """Shares (n, words), nan where there was no answer, and the probability (n,) of all words
        together, nan where the model only writes."""
        if self.written:
            return self._by_writing(prompts, words), np.full(len(prompts), np.nan)
        options = tuple(words if self.chat else (f" {word}" for word in words))
        scored = self.model.score([ScoreRequest(prompt, options) for prompt in prompts])
        nats = np.array(
            [[math.nan if one.error else one.logprob for one in row] for row in scored]
        ).reshape(len(prompts), len(words))
        # No log-probability, or none above -inf: nan, which is unreadable.
        nats[np.isneginf(nats).all(axis=1)] = np.nan
        return softmax(nats, axis=1), np.exp(nats).sum(1)

    def _by_writing(self, prompts: Sequence[Parts], words: Sequence[str]) -> Floats:
        sampling = Sampling(temperature=0.0, max_tokens=8)
        answers = self.model.generate([GenerateRequest(one, sampling) for one in prompts])
        # "A refusal ..." is not the letter A.
        pattern = re.compile(rf"\W*({'|'.join(words)})(?:\W*$|[).:,\n])", re.IGNORECASE)
        shares = np.full((len(prompts), len(words)), np.nan)
        for at, (answer, *_) in enumerate(answers):
            if not answer.error and (found := pattern.match(answer.text)):
                shares[at] = [word.lower() == found[1].lower() for word in words]
        return shares


@dataclass(frozen=True, eq=False)
class LabelGrader(_Asking):
    """Zero-shot, as GPT-4's rule-based reward model: the softmax of the letters' log-probabilities.

    What the model would rather have said than a letter is not in the softmax. The letters' joint
    probability tells of it only roughly, as "(A" or a spelled-out name is not counted: with
    `least_mass` answers are unreadable where it is lower; default 0 never calls one so.
    """

    least_mass: float = 0.0

    @property
    def name(self) -> str:
        return f"letters by {self.model.name}"

    def grade(self, samples: Sequence[Answered]) -> Floats:
        options = "\n".join(f"({one.letter}) {one.text}" for one in self.rubric.classes)
        question = f"Which of these fits it best?\n{options}\nReply with the letter alone."
        letters = {one.name: one.letter for one in self.rubric.classes}
        examples = "".join(
            f"An example. To\n{quoted(one.question)}\nthe answer\n{quoted(one.response)}\n"
            f"is {letters[one.label]}.\n\n"
            for one in self.rubric.examples
        )
        prompts = [self._prompt(one, question, examples) for one in samples]
        shares, mass = self._chosen(prompts, list(letters.values()))
        shares[np.flatnonzero(mass < self.least_mass)] = np.nan
        return _with_unreadable(shares)


@dataclass(frozen=True, eq=False)
class PropositionGrader(_Asking):
    """One yes-no question per proposition, then the classes by their `when` (Mu et al. 2024).

    Classes get their exact probabilities under independence of the propositions, which keeps a
    doubtful answer doubtful (a threshold would turn .49 into never); propositions about one text
    are not independent, so these are scores to be measured on gold rows, not beliefs. With
    `threshold` a proposition holds where yes is likelier than that, and one class gets it all.
    """

    threshold: float | None = None

    @property
    def name(self) -> str:
        return f"propositions by {self.model.name}"

    def propositions(self, samples: Sequence[Answered]) -> Floats:
        """Chance of yes (n, propositions); nan where there was no answer."""
        questions = [f"{one}\nReply with yes or no." for one in self.rubric.propositions.values()]
        prompts = [self._prompt(one, question) for one in samples for question in questions]
        shares, _ = self._chosen(prompts, ("yes", "no"))
        return shares[:, 0].reshape(len(samples), len(questions))

    def grade(self, samples: Sequence[Answered]) -> Floats:
        return self.classes(self.propositions(samples))

    def classes(self, yes: Floats) -> Floats:
        """Classes (n, classes + 1) by the propositions' chances."""
        columns = dict(zip(self.rubric.propositions, yes.T, strict=True))
        if self.threshold is None:
            return _with_unreadable(self.rubric.class_probabilities(columns))
        facts: dict[str, Bools] = {name: one > self.threshold for name, one in columns.items()}
        certain = np.eye(len(self.rubric.names))[self.rubric.classes_of(facts)]
        certain[np.isnan(yes).any(axis=1)] = np.nan
        return _with_unreadable(certain)


class ParserGrader:
    """For worlds whose answers can be parsed: a function to the class's name, None for what it
    cannot read. It is right by construction: the gold of synthetic worlds."""

    def __init__(self, rubric: Rubric, function: Callable[[Answered], str | None]) -> None:
        self.rubric, self.function, self.name = rubric, function, "parser"

    def grade(self, samples: Sequence[Answered]) -> Floats:
        places = {name: at for at, name in enumerate(self.rubric.columns)}
        found = [places[self.function(one) or UNREADABLE] for one in samples]
        certain: Floats = np.eye(len(places))[np.array(found, np.intp)]
        return certain


class TrainedGrader:
    """A logistic regression on character n-grams of the answer, its opening and the last question.

    Milliseconds for a thousand answers. Classes that it was never shown have probability 0; an
    answer without any sign is unreadable.
    """

    def __init__(self, rubric: Rubric, classifier: TextClassifier) -> None:
        if odd := set(classifier.labels) - set(rubric.columns):
            raise UserError(f"trained grader: class {sorted(odd)[0]!r} is not in rubric "
                            f"{rubric.name} ({', '.join(rubric.names)})")  # fmt: skip
        self.rubric, self.classifier, self.name = rubric, classifier, "trained"

    @classmethod
    def fit(
        cls,
        rubric: Rubric,
        samples: Sequence[Answered],
        labels: Sequence[str],
        settings: TextSettings | None = None,
    ) -> TrainedGrader:
        """From answers whose class is known."""
        texts = [_fields(one) for one in samples]
        return cls(rubric, TextClassifier.fit(texts, labels, settings or TextSettings()))

    @classmethod
    def load(cls, folder: Path, rubric: Rubric) -> TrainedGrader:
        """What `save` wrote. Raises UserError if it is not whole or of other classes."""
        return cls(rubric, TextClassifier.load(folder))

    def save(self, folder: Path) -> None:
        self.classifier.save(folder)

    def grade(self, samples: Sequence[Answered]) -> Floats:
        places = [self.rubric.columns.index(label) for label in self.classifier.labels]
        found = np.zeros((len(samples), len(self.rubric.columns)))
        found[:, places] = self.classifier.probabilities([_fields(one) for one in samples])
        found[[not one.response.strip() for one in samples]] = np.eye(len(self.rubric.columns))[-1]
        return found


def _fields(sample: Answered) -> tuple[str, str, str]:
    response = sample.response.strip()
    asked = [one.text for one in sample.messages if one.role == "user"]
    return response[:LONGEST], response[:OPENING], (asked or [""])[-1][-LONGEST:]


def _said(message: Message) -> str:
    return "".join(
        part.text.strip() if isinstance(part, Text) else IMAGE_PLACE for part in message.parts
    )


def _with_unreadable(shares: Floats) -> Floats:
    """(n, k) with nan rows to (n, k + 1), where such rows are unreadable."""
    lost = np.isnan(shares).any(axis=1, keepdims=True)
    return np.hstack([np.where(lost, 0.0, shares), lost])
