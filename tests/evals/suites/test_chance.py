"""The harness itself: who knows nothing scores chance on every multiple-choice set there is, by
log-probability and in writing; and a leak of the answers does not go unseen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from foresight.document import Text
from foresight.evals.item import Item
from foresight.evals.layout import letters
from foresight.evals.protocols import ChoiceGenerate
from foresight.evals.reading import read_task
from foresight.evals.record import Record
from foresight.evals.runner import run
from foresight.evals.task import Task
from foresight.views.evals import warnings
from tests.evals.models import Written, unit

SUITES = {
    "mmlu": "mmlu",
    "mmlu_language": "mmlu",
    "arc": "arc",
    "arc:easy": "arc",
    "hellaswag": "hellaswag_subset",
    "truthfulqa": "truthfulqa",
    "agieval": "agieval",
}
LIMIT = 1000
Z = 3.2905
"""Normal quantile of 99.9 %: some twenty checks are made, on models drawn once."""


@pytest.fixture(scope="module")
def tasks(shared_data: Path) -> dict[str, Task]:
    """Up to 1,000 items each, as the suite draws them."""
    found = {}
    for suite, folder in SUITES.items():
        task = read_task(f"{suite}@{shared_data / 'evals' / folder}")
        found[suite] = replace(task, items=tuple(task.chosen(LIMIT)))
    return found


def chance(task: Task, pick: Callable[[Item], float]) -> tuple[float, float]:
    """Interval of the mean score of who is right with probability `pick` by item, 99.9 %.

    Questions on one passage are no more alike than others to who does not read.
    """
    p = [pick(item) for item in task.items]
    mean = sum(p) / len(p)
    half = Z * math.sqrt(sum(one * (1 - one) for one in p)) / len(p)
    return mean - half, mean + half


def score(records: list[Record]) -> float:
    assert all(one.score is not None for one in records)
    return sum(one.score or 0.0 for one in records) / len(records)


def guess(item: Item) -> float:
    return 1 / len(item.choices)


def uniform(prompt: str, request: object) -> str:
    """A letter of the options shown last, evenly drawn; an explanation of nothing."""
    if not prompt.endswith("["):
        return " Hm.\nThe answer is therefore [A]"
    shown = prompt.rpartition("Choose from the following options:\n")[2]
    options = [line[1] for line in shown.split("\n") if line[:1] == "[" and line[2:4] == "] "]
    return options[int(unit(prompt) * len(options))] + "]"


@pytest.mark.parametrize("suite", SUITES)
def test_guessing_by_log_probability_scores_chance(
    suite: str, tasks: dict[str, Task], tmp_path: Path
) -> None:
    low, high = chance(tasks[suite], guess)
    assert low < score(run(tasks[suite], Written(), tmp_path)) < high


@pytest.mark.parametrize("suite", SUITES)
def test_guessing_in_writing_scores_chance_and_nothing_warns(
    suite: str, tasks: dict[str, Task], tmp_path: Path
) -> None:
    task = tasks[suite]
    written = Task(f"{task.name}-written", task.items, ChoiceGenerate(), task.few_shot)
    records = run(written, Written(uniform), tmp_path / "written")
    low, high = chance(task, guess)
    assert low < score(records) < high
    assert {one.reason.value for one in records} == {"ok"}
    scored = run(task, Written(), tmp_path / "scored")
    assert warnings([task, written], [scored, records]) == []
    # A model that cannot write a letter is at zero, and the warning says that.
    mute = run(written, Written(lambda prompt, request: "no idea"), tmp_path / "mute")
    (told,) = warnings([task, written], [scored, mute])
    assert f"100% of the answers to {written.name} name no option" in told


@pytest.mark.parametrize("suite", SUITES)
def test_one_constant_answer_scores_the_share_of_its_letter(
    suite: str, tasks: dict[str, Task], tmp_path: Path
) -> None:
    """Equal log-probabilities go to the first option: it is right as often as its letter, and that
    is chance where the letters are even."""
    # HellaSwag compares options by their lengths, where equal ones would prefer the longest.
    plain = tasks[suite].protocol.model_copy(update={"normalise": "plain"})
    task = replace(tasks[suite], protocol=plain)
    found = score(run(task, Written(nats=lambda prompt, choice: -1.0), tmp_path))
    shares = Counter(item.target for item in task.items)
    assert found == pytest.approx(shares[0] / len(task.items))
    low, high = chance(task, guess)
    assert low < found < high, shares


def test_the_share_on_true_answers_is_chance_for_who_guesses(
    shared_data: Path, tmp_path: Path
) -> None:
    task = read_task(f"truthfulqa:mc2@{shared_data / 'evals' / 'truthfulqa'}")
    records = run(task, Written(), tmp_path)
    even = [len(item.target) / len(item.choices) for item in task.items]  # type: ignore[arg-type]
    errors = [(one.score or 0.0) - p for one, p in zip(records, even, strict=True)]
    mean = sum(errors) / len(errors)
    sd = math.sqrt(sum((one - mean) ** 2 for one in errors) / len(errors))
    assert sd > 0 and abs(mean) < Z * sd / math.sqrt(len(errors))


# Negative controls: what would be a leak leaves the interval of chance.


def test_a_right_answer_that_stands_first_is_found(tasks: dict[str, Task], tmp_path: Path) -> None:
    """TruthfulQA as its file has it: who always takes the first is always right."""

    def first(item: Item) -> Item:
        assert isinstance(item.target, int)
        right = item.choices[item.target]
        rest = tuple(one for one in item.choices if one != right)
        return replace(item, choices=(right, *rest), target=0)

    task = tasks["truthfulqa"]
    leaking = replace(task, items=tuple(map(first, task.items)))
    found = score(run(leaking, Written(nats=lambda prompt, choice: -1.0), tmp_path))
    assert found == 1.0 > chance(leaking, guess)[1]


@pytest.mark.parametrize("leaks", [False, True])
def test_a_letter_that_stands_in_the_prompt_is_found(
    leaks: bool, tasks: dict[str, Task], tmp_path: Path
) -> None:
    """Who repeats the last letter of the question's first line: chance, unless it is the key."""

    def copied(prompt: str, choice: str) -> float:
        question = prompt.rpartition("\n\n")[2].partition("\n")[0]
        last = next((c for c in reversed(question.upper()) if c in "ABCD"), "A")
        return -0.1 if choice == f" {last}" else -3.0

    def with_key(item: Item) -> Item:
        key = letters(item)[int(str(item.target))]
        first, *rest = item.text.split("\n")
        return replace(item, parts=(Text("\n".join([f"{first} {key}", *rest])),))

    task = tasks["mmlu"]
    if leaks:
        task = replace(task, items=tuple(map(with_key, task.items)))
    low, high = chance(task, guess)
    assert (low < score(run(task, Written(nats=copied), tmp_path)) < high) == (not leaks)
