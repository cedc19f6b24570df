"""Log-probability of the target itself, and whether the model would have written it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from foresight.evals.item import Item
from foresight.evals.layout import Layout, prompt_text
from foresight.evals.protocols.protocol import Answer, Attempt, Emit, Protocol, needs_answers
from foresight.evals.record import Reason
from foresight.inference.language_model import LanguageModel, Score, ScoreRequest


class Cloze(Protocol):
    """Score 1 if every token of an accepted target is the likeliest one (LAMBADA's accuracy).

    `details.logprob`: nats of the likeliest accepted target, which changes smoothly where the
    score jumps.
    """

    kind: Literal["cloze"] = "cloze"
    samples_differ: ClassVar[bool] = False
    batch: ClassVar[int] = 2048

    layout: Layout = Layout(answer=" {answer}")

    def check(self, item: Item) -> None:
        needs_answers(item)

    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        prompts = [self.prompt(one) for one in attempts]
        requests = []
        for one, prompt in zip(attempts, prompts, strict=True):
            assert isinstance(one.item.target, tuple), "check() has seen it"
            written = tuple(self.layout.answer.replace("{answer}", t) for t in one.item.target)
            requests.append(ScoreRequest(prompt, written))

        def done(at: int, scores: tuple[Score, ...]) -> None:
            emit(at, self._answer(attempts[at].item, prompt_text(prompts[at]), scores))

        model.score(requests, done)

    def _answer(self, item: Item, prompt: str, scores: Sequence[Score]) -> Answer:
        errors = [one.error for one in scores if one.error]
        if errors:
            details = {"error": errors[0]}
            return Answer(prompt, "", None, None, Reason.NO_RESPONSE, details=details)
        assert isinstance(item.target, tuple)
        best = max(range(len(scores)), key=lambda at: (scores[at].greedy, scores[at].logprob))
        return Answer(
            prompt=prompt,
            output="",
            answer=item.target[best] if scores[best].greedy else None,
            score=float(scores[best].greedy),
            tokens=sum(len(one.token_logprobs) for one in scores),
            details={"logprob": max(one.logprob for one in scores)},
        )
