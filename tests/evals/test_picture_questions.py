from __future__ import annotations

from pathlib import Path
from typing import Any

from foresight.evals.journal import record_sets
from foresight.evals.layout import prompt_text
from foresight.evals.picture_questions import ask_about_pictures, picture_task
from foresight.evals.task import Task
from foresight.inference.language_model import ScoreRequest
from foresight.worlds import pictures
from tests.evals.models import Written

QUESTIONS = list(pictures.questions(seed=5, count=70))
RIGHT = {question.id: question.choices[question.answer] for question in QUESTIONS}


def test_the_prompt_is_that_of_the_training_documents() -> None:
    question = QUESTIONS[0]
    task = picture_task([question], see=True)
    (request,) = asked(task)
    assert request == (question.parts, question.choices)
    assert asked(picture_task([question], see=False))[0][0] == question.parts[-1:]


def asked(task: Task) -> list[tuple[Any, Any]]:
    model = Written()
    task.protocol.ask([task.attempt(item) for item in task.items], model, lambda at, answer: None)
    requests = [one for one in model.requests if isinstance(one, ScoreRequest)]
    return [(request.prompt, request.continuations) for request in requests]


def test_accuracies_by_family_and_records_of_both_ways(tmp_path: Path) -> None:
    def nats(prompt: str, choice: str) -> float:
        """Knows the answer where the picture is shown; else takes the longest word."""
        shown = "[image" in prompt
        return float(choice in known.get(prompt, ())) if shown else float(len(choice))

    task = picture_task(QUESTIONS, see=True)
    known: dict[str, tuple[str, ...]] = {}
    for item, question in zip(task.items, QUESTIONS, strict=True):
        known[prompt_text(question.parts)] = (RIGHT[item.id],)
    found = ask_about_pictures(Written(nats=nats), QUESTIONS, tmp_path)
    everything = found["seen"][0]
    assert (everything.family, everything.accuracy, everything.n) == ("all", 1.0, 70)
    assert sum(one.n for one in found["seen"][1:]) == 70
    assert found["removed"][0].accuracy < 1
    assert everything.low < 0.95 < everything.high and 0 < everything.chance < 1
    sets = record_sets(tmp_path)
    assert {name: len(rows) for name, rows in sets.items()} == {
        "pictures": 70, "pictures-removed": 70
    }  # fmt: skip
    assert list((tmp_path / "pictures" / "images").glob("*.png"))
