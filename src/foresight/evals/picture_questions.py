"""Questions about held-out pictures, put with the pictures and without them: records of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foresight.document import Text
from foresight.evals.item import Item
from foresight.evals.layout import Layout
from foresight.evals.protocols.choice_logprob import ChoiceLogprob
from foresight.evals.record import Record
from foresight.evals.runner import run
from foresight.evals.task import Task
from foresight.forecast.coverage import wilson
from foresight.inference.language_model import LanguageModel
from foresight.worlds.pictures import PictureQuestion
from foresight.worlds.suite_problem import SuiteProblem

SEEN, REMOVED = "pictures", "pictures-removed"


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


def choice_task(name: str, questions: Iterable[PictureQuestion | SuiteProblem]) -> Task:
    """Questions in the words of the training documents; choices are scored as texts."""
    items = tuple(
        Item(
            one.id,
            one.parts,
            tuple(choice.removeprefix(" ") for choice in one.choices),
            one.answer if one.answer is not None else (),
            meta={"category": one.family},
        )
        for one in questions
    )
    return Task(name, items, ChoiceLogprob(layout=Layout(answers="choice")))


def picture_task(questions: Iterable[PictureQuestion], see: bool) -> Task:
    """The questions; without `see`, less their pictures."""
    if see:
        return choice_task(SEEN, questions)
    return choice_task(
        REMOVED,
        (
            replace(one, parts=tuple(part for part in one.parts if isinstance(part, Text)))
            for one in questions
        ),
    )


def ask_about_pictures(
    model: LanguageModel, questions: Sequence[PictureQuestion], directory: Path
) -> dict[str, list[Accuracy]]:
    """Accuracies with the pictures ("seen") and without ("removed"), over all and by family; the
    records go to DIR/pictures and DIR/pictures-removed, and those that are there stay."""
    found = {}
    for name, see in (("seen", True), ("removed", False)):
        task = picture_task(questions, see)
        found[name] = accuracies(task, run(task, model, directory / task.name))
    return found


def accuracies(task: Task, records: Sequence[Record]) -> list[Accuracy]:
    """Of all items and then of every category."""
    items = {item.id: item for item in task.items}
    found = []
    for family in ("all", *sorted({one.details["category"] for one in records})):
        rows = [one for one in records if family in ("all", one.details["category"])]
        hits, n = sum(one.score == 1 for one in rows), len(rows)
        chance = sum(1 / len(items[one.item].choices) for one in rows) / n
        found.append(Accuracy(family, hits / n, *wilson(hits, n), n, chance))
    return found
