"""Multiple choice by writing: an explanation first, then the letter (GPT-4 report, appendix A)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from foresight.document import Text
from foresight.evals.item import Item
from foresight.evals.layout import Layout, joined, letters, prompt_text
from foresight.evals.protocols.protocol import (
    Answer,
    Attempt,
    Emit,
    Protocol,
    came,
    needs_choices,
    requests,
    unanswered,
)
from foresight.evals.record import Reason
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Parts,
    Sampling,
)


class ChoiceGenerate(Protocol):
    """The explanation is drawn at `temperature` and ends at `phrase`; phrase and " [" are written
    behind it, and the letter is taken at temperature 0.

    `answer` in a record is the letter in the item's own order; with shuffled options,
    `details.order` tells which choice stood where and `details.letter` what was written.
    """

    kind: Literal["choice_generate"] = "choice_generate"

    layout: Layout = Layout(
        instruction="ANSWER KEY\n\nHere are the answers for the problems in the exam.\n\n",
        question=(
            "Problem {number}. {question}\nChoose from the following options:\n{options}"
            "Explanation for Problem {number}:"
        ),
        option="[{letter}] {choice}\n",
        answer=" {solution}\nThe answer is therefore [{answer}]",
    )
    phrase: Annotated[str, Field(min_length=1)] = "\nThe answer is therefore"
    """Ends the explanation and announces the letter."""
    explanation_tokens: Annotated[int, Field(ge=0)] = 512
    """At most so many tokens of explanation; 0: none, the letter is asked for at once."""
    temperature: Annotated[float, Field(ge=0)] = 0.3
    """Of the explanation."""
    shuffle_seed: int | None = None
    """Show the options in an order of their own for every item and sample; None: as they are."""

    def check(self, item: Item) -> None:
        needs_choices(item)
        letters(item)

    def samples_differ(self) -> bool:
        drawn = self.temperature > 0 and self.explanation_tokens > 0
        return drawn or self.shuffle_seed is not None

    def order(self, attempt: Attempt) -> list[int]:
        """Which choice stands at each letter."""
        places = list(range(len(attempt.item.choices)))
        if self.shuffle_seed is not None:
            name = f"{self.shuffle_seed}/{attempt.item.id}/{attempt.sample}"
            random.Random(name).shuffle(places)
        return places

    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        orders = [self.order(one) for one in attempts]
        prompts = [self.prompt(*pair) for pair in zip(attempts, orders, strict=True)]
        explained = self._explain(attempts, prompts, model)
        open_ones = []
        for at, one in enumerate(explained):
            if one is None or came(one):
                open_ones.append(at)
            else:
                emit(at, unanswered(prompt_text(prompts[at]), one))
        # A letter is one token for most vocabularies; a few more let a space come first.
        likeliest = Sampling(temperature=0.0, max_tokens=4, stop=("]",))
        told = {at: one.text if (one := explained[at]) else "" for at in open_ones}
        letter = [
            GenerateRequest(joined([*prompts[at], Text(told[at] + self._lead)]), likeliest)
            for at in open_ones
        ]

        def done(index: int, answers: tuple[Completion, ...]) -> None:
            at = open_ones[index]
            text = prompt_text(prompts[at])
            emit(at, self._answer(attempts[at], orders[at], text, explained[at], answers[0]))

        model.generate(letter, done)

    @property
    def _lead(self) -> str:
        return self.phrase + " ["

    def _explain(
        self, attempts: Sequence[Attempt], prompts: Sequence[Parts], model: LanguageModel
    ) -> list[Completion | None]:
        if self.explanation_tokens == 0:
            return [None] * len(attempts)
        asked = requests(
            attempts,
            prompts,
            "explanation",
            temperature=self.temperature,
            max_tokens=self.explanation_tokens,
            stop=(self.phrase,),
        )
        return [answers[0] for answers in model.generate(asked)]

    def _answer(
        self,
        attempt: Attempt,
        order: Sequence[int],
        prompt: str,
        explained: Completion | None,
        letter: Completion,
    ) -> Answer:
        if not came(letter):
            return unanswered(prompt, letter)
        item = attempt.item
        read = read_letter(letter.text, letters(item))
        told = explained.text if explained else ""
        details = {} if self.shuffle_seed is None else {"order": list(order), "letter": read}
        if explained is not None and explained.finish == "length":
            details["finish"] = "length"
        chosen = None if read is None else order[letters(item).index(read)]
        return Answer(
            prompt=prompt,
            output=told + self._lead + letter.text + "]",
            answer=None if chosen is None else letters(item)[chosen],
            score=float(chosen == item.target),
            reason=Reason.INVALID_FORMAT if chosen is None else Reason.OK,
            tokens=letter.completion_tokens + (explained.completion_tokens if explained else 0),
            details=details,
        )


def read_letter(text: str, allowed: str) -> str | None:
    """The letter at the start of what was written behind "[", if it stands alone."""
    head = text.strip()
    if head[:1] in allowed and head[:1] and not head[1:2].isalnum():
        return head[0]
    return None
