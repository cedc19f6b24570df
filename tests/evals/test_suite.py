"""A suite put to a model: what is asked, what passes, what is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.picture_questions import accuracies, choice_task
from foresight.evals.runner import run
from foresight.evals.suite_forecast import count_passes
from foresight.inference.language_model import Completion, GenerateRequest, Score, ScoreRequest
from foresight.worlds.suite_problem import SuiteProblem
from foresight.worlds.suites import suite


class Reciter:
    """Knows the solutions of some problems, by prompt; fails to answer every third sample of
    those in `mute`."""

    name = "reciter"

    def __init__(self, known: Sequence[SuiteProblem], mute: Sequence[SuiteProblem] = ()) -> None:
        self.known = {one.parts: one for one in known}
        self.mute = {one.parts for one in mute}
        self.seeds: list[int] = []

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        answers = []
        for index, request in enumerate(requests):
            self.seeds.append(request.sampling.seed)
            problem = self.known.get(request.prompt)  # type: ignore[arg-type]
            text = problem.solution if problem else "    return None\n"
            made = tuple(
                Completion("", "failed", error="busy")
                if request.prompt in self.mute and at % 3 == 0
                else Completion(text if at % 2 else "    return 0\n", "stop")
                for at in range(request.n)
            )
            answers.append(made)
            if on_done:
                on_done(index, made)
        return answers

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]:
        answers = []
        for index, request in enumerate(requests):
            problem = self.known.get(request.prompt)  # type: ignore[arg-type]
            right = problem.solution.strip() if problem else ""
            made = tuple(
                Score(-1.0 if str(one).strip() == right else -2.0, (), False)
                for one in request.continuations
            )
            answers.append(made)
            if on_done:
                on_done(index, made)
        return answers


def test_passes_are_counted_problem_by_problem() -> None:
    problems = suite("programs")[:40]
    model = Reciter(problems[:10], mute=problems[:2])
    found = count_passes(model, problems, 6)
    assert list(found) == [one.id for one in problems]
    # Samples 0 and 3 of the mute ones are not answered; of 1, 2, 4, 5 the odd ones pass.
    assert [found[one.id] for one in problems[:3]] == [(2, 4), (2, 4), (3, 6)]
    assert all(found[one.id] == (0, 6) for one in problems[10:])
    # No two problems draw from one stream.
    assert sorted(model.seeds) == list(range(0, 6 * 40, 6))


def test_short_answers_of_pictures_pass_too() -> None:
    problems = suite("pictures")[:12]
    found = count_passes(Reciter(problems[:6]), problems, 2)
    assert [passes for passes, _ in found.values()] == [1] * 6 + [0] * 6


def test_a_problem_that_is_never_answered_is_said() -> None:
    problems = suite("programs")[:1]
    with pytest.raises(UserError, match=r"not answered \(busy\)"):
        count_passes(Reciter([], mute=problems), problems, 1)


def test_choices_by_log_probability(tmp_path: Path) -> None:
    problems = suite("inverse")[:30]
    task = choice_task("inverse", problems)
    everything = accuracies(task, run(task, Reciter(problems), tmp_path / "right"))[0]
    assert (everything.accuracy, everything.n) == (1.0, 30)
    wrong = run(task, Reciter([]), tmp_path / "wrong")
    # All equal: the first choice.
    assert [one.score for one in wrong] == [float(one.answer == 0) for one in problems]
    with pytest.raises(UserError, match=r"must list the texts of some|two or more `choices`"):
        choice_task("programs", suite("programs")[:1])
