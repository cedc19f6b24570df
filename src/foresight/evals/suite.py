"""Suites put to a language model: passes of sampled completions, and choices by log-probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foresight.errors import UserError
from foresight.inference.language_model import (
    Completion,
    GenerateRequest,
    LanguageModel,
    Sampling,
    Score,
    ScoreRequest,
)
from foresight.worlds.suite_problem import SuiteProblem

MAX_TOKENS = 64
"""Longer than any right answer of a suite."""


def count_passes(
    model: LanguageModel,
    problems: Sequence[SuiteProblem],
    samples: int,
    seed: int = 0,
    on_done: Callable[[int], None] | None = None,
) -> dict[str, tuple[int, int]]:
    """{problem: (passes, samples)} of so many samples at temperature 1, the model's own
    distribution; `on_done(index)` as soon as a problem is judged.

    Samples that were never answered are left out of both. Raises UserError if a problem has none.
    """
    found: dict[int, tuple[int, int]] = {}

    def judge(index: int, completions: tuple[Completion, ...]) -> None:
        answered = [one for one in completions if one.finish not in ("failed", "cancelled")]
        if not answered:
            raise UserError(f"problem {problems[index].id}: not answered ({completions[0].error})")
        passes = sum(problems[index].passes(one.text) for one in answered)
        found[index] = (passes, len(answered))
        if on_done is not None:
            on_done(index)

    requests = [
        GenerateRequest(
            problem.parts,
            Sampling(
                max_tokens=MAX_TOKENS,
                stop=("\ndef ",) if problem.tests else ("\n",),
                seed=seed + at * samples,
            ),
            samples,
        )
        for at, problem in enumerate(problems)
    ]
    model.generate(requests, judge)
    return {problem.id: found[index] for index, problem in enumerate(problems)}


def choose(
    model: LanguageModel,
    problems: Sequence[SuiteProblem],
    on_done: Callable[[int], None] | None = None,
) -> dict[str, bool]:
    """{problem: whether the right choice has the highest log-probability}. Raises UserError for a
    problem without choices, or one that the model could not score."""
    without = [problem.id for problem in problems if not problem.choices]
    if without:
        raise UserError(f"problem {without[0]}: has no choices; sample it instead")
    found: dict[int, bool] = {}

    def judge(index: int, scores: tuple[Score, ...]) -> None:
        problem = problems[index]
        failed = [one.error for one in scores if one.error]
        if failed:
            raise UserError(f"problem {problem.id}: not scored ({failed[0]})")
        best = max(range(len(scores)), key=lambda at: scores[at].logprob)
        found[index] = best == problem.answer
        if on_done is not None:
            on_done(index)

    model.score([ScoreRequest(problem.parts, problem.choices) for problem in problems], judge)
    return {problem.id: found[index] for index, problem in enumerate(problems)}
