"""Multiple choice by the log-probability of each option."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from scipy.special import softmax

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import Layout, letters, prompt_text
from foresight.evals.protocols.protocol import Answer, Attempt, Emit, Protocol, needs_choices
from foresight.evals.record import Reason
from foresight.inference.language_model import LanguageModel, Score, ScoreRequest


class ChoiceLogprob(Protocol):
    """The option with the highest score is the answer; equal scores go to the first.

    Scores of an option with log-probability L: `plain` L; `per_token` L / tokens; `per_byte` L /
    UTF-8 bytes of the option without what stands before it (Gao et al., lm-evaluation-harness:
    acc_bytes); `domain_conditional` L minus the log-probability behind `domain` alone (Holtzman et
    al. 2021, PMI_DC); `suffix` the log-probability of `meta["suffix"]`, with which every option
    ends, behind the rest of the option (Trinh and Le 2018, partial scoring). Records keep L itself
    as `choice_logprobs`; the others are in `details.scores`, the picks of all in `details.picks`.

    Where `target` lists the texts of several right options, the score is the share of probability
    on them (softmax of the scores; Lin et al. 2022, MC2).
    """

    kind: Literal["choice_logprob"] = "choice_logprob"
    batch: ClassVar[int] = 2048

    layout: Layout = Layout(question="{question}\n{options}Answer:")
    normalise: Literal["plain", "per_token", "per_byte", "domain_conditional", "suffix"] = "plain"
    """Which score picks the answer."""
    domain: str = "Answer:"
    """The premise of `domain_conditional`."""

    def check(self, item: Item) -> None:
        letters(item)
        if isinstance(item.target, int) or not (item.target and item.choices):
            needs_choices(item)
        elif not set(item.target) < set(item.choices):
            raise UserError(
                f"item {item.id}: `target` must list the texts of some of the `choices`, not of all"
            )
        suffix = str(item.meta.get("suffix", ""))
        ends = all(one.endswith(suffix) and one != suffix for one in item.choices)
        if self.normalise == "suffix" and not (suffix and ends):
            raise UserError(f"item {item.id}: every choice must end with `meta.suffix`")

    def ask(self, attempts: Sequence[Attempt], model: LanguageModel, emit: Emit) -> None:
        prompts = [self.prompt(one) for one in attempts]
        written = [
            tuple(self.layout.continuation(one.item, at) for at in range(len(one.item.choices)))
            for one in attempts
        ]
        requests = [
            ScoreRequest(prompt, some + self._bare(one, some))
            for one, prompt, some in zip(attempts, prompts, written, strict=True)
        ]
        conditional = self.normalise == "domain_conditional"
        premises = self._premises(written, model) if conditional else {}

        def done(at: int, scores: tuple[Score, ...]) -> None:
            n = len(written[at])
            priors = [premises[one] for one in written[at]] if conditional else scores[n:]
            text = prompt_text(prompts[at])
            emit(at, self._answer(attempts[at], text, scores[:n], priors))

        model.score(requests, done)

    def _bare(self, attempt: Attempt, written: tuple[str, ...]) -> tuple[str, ...]:
        """For `suffix`, the options without it, scored beside them in one reading of the prompt."""
        if self.normalise != "suffix":
            return ()
        return tuple(one.removesuffix(attempt.item.meta["suffix"]) for one in written)

    def _premises(
        self, written: Sequence[tuple[str, ...]], model: LanguageModel
    ) -> dict[str, Score]:
        """Options behind the premise alone; those that occur often (letters) are asked once."""
        options = list(dict.fromkeys(option for some in written for option in some))
        premise = (Text(self.domain),)
        alone = model.score([ScoreRequest(premise, (option,)) for option in options])
        return {option: one for option, (one,) in zip(options, alone, strict=True)}

    def _answer(
        self,
        attempt: Attempt,
        prompt: str,
        scores: Sequence[Score],
        priors: Sequence[Score] = (),
    ) -> Answer:
        item = attempt.item
        errors = [one.error for one in (*scores, *priors) if one.error]
        errors += ["a log-probability is no number"] * any(math.isnan(s.logprob) for s in scores)
        if errors:
            why = {"error": errors[0]}
            return Answer(prompt, "", None, None, Reason.NO_RESPONSE, details=why)
        values = {"plain": [one.logprob for one in scores]}
        if self.layout.answers == "choice":
            counts = [max(len(one.token_logprobs), 1) for one in scores]
            sizes = [max(len(choice.encode()), 1) for choice in item.choices]
            values["per_token"] = _ratio(values["plain"], counts)
            values["per_byte"] = _ratio(values["plain"], sizes)
        if priors:
            values[self.normalise] = [
                one.logprob - prior.logprob for one, prior in zip(scores, priors, strict=True)
            ]
        # Letters are one token and one byte each: all lengths are equal.
        used = self.normalise if self.normalise in values else "plain"
        picks = {name: some.index(max(some)) for name, some in values.items()}
        details: dict[str, Any] = {"picks": picks} if len(picks) > 1 else {}
        if used != "plain":
            details["scores"] = values[used]
        return Answer(
            prompt=prompt,
            output="",
            answer=letters(item)[picks[used]],
            score=_score(item, picks[used], values[used]),
            choice_logprobs=tuple(values["plain"]),
            tokens=sum(len(one.token_logprobs) for one in scores),
            details=details,
        )


def _score(item: Item, pick: int, values: Sequence[float]) -> float:
    if isinstance(item.target, int):
        return float(pick == item.target)
    finite = values if max(values) > -math.inf else [0.0] * len(values)
    shares = zip(item.choices, softmax(finite).tolist(), strict=True)
    return min(math.fsum(share for choice, share in shares if choice in item.target), 1.0)


def _ratio(values: Sequence[float], by: Sequence[int]) -> list[float]:
    return [value / size for value, size in zip(values, by, strict=True)]
