"""Every public set that is there, put to one model: log-probabilities against written answers.

    python bench/benchmarks.py RUN --limit 200 --out runs/benchmarks

Estimand of a score: mean over items like these, 95 % interval (see `Summary`); of seconds: wall
time of the run of one task, prompts to sorted records. Multiple-choice sets are put twice, by
log-probability and by an explanation and a letter, on the same items; where the two disagree
(paired, 5 %), a warning says so. `chance` is what guessing scores. Prompts longer than the context
lose their beginning; items with an option longer than the context are left out. Called again it
goes on; what is finished is read from its records, with the seconds it took then. `foresight view
OUT` shows every answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from foresight.errors import UserError
from foresight.evals.categories import read_series
from foresight.evals.protocols import ChoiceGenerate, ChoiceLogprob
from foresight.evals.reading import read_task
from foresight.evals.record import Record
from foresight.evals.runner import Progress, run
from foresight.evals.summary import summarise
from foresight.evals.task import Task
from foresight.inference.engine import Engine
from foresight.inference.language_model import LanguageModel
from foresight.inference.open import open_model
from foresight.runs import read_json, write_json
from foresight.views import show_table
from foresight.views.evals import running, warnings

DATA = Path(__file__).parents[2] / "shared" / "data" / "evals"
CHOICE = {
    "mmlu": "mmlu",
    "mmlu_language": "mmlu",
    "arc": "arc",
    "arc:easy": "arc",
    "hellaswag": "hellaswag_subset",
    "truthfulqa": "truthfulqa",
    "agieval": "agieval",
}
"""Suites and their folders, put in both ways."""
OTHER = {
    "truthfulqa:mc2": "truthfulqa",
    "gsm8k": "gsm8k",
    "mgsm": "mgsm",
    "humaneval": "humaneval",
    "mbpp": "mbpp",
}
console = Console()


def tasks(data: Path, tokens: int, model: LanguageModel) -> Iterator[list[Task]]:
    """What is put, those together that ask the same."""
    for suite, folder in CHOICE.items():
        task = fitting(read_task(f"{suite}@{data / folder}"), model)
        written = ChoiceGenerate(explanation_tokens=tokens)
        yield [task, Task(f"{task.name}-written", task.items, written, task.few_shot)]
    for suite, folder in OTHER.items():
        yield [fitting(read_task(f"{suite}@{data / folder}"), model)]


def fitting(task: Task, model: LanguageModel) -> Task:
    """The items whose options fit the context of a checkpoint; an endpoint sees to its own."""
    if not isinstance(model, Engine) or not isinstance(task.protocol, ChoiceLogprob):
        return task
    layout, tokenizer, context = task.protocol.layout, model.tokenizer, model.shape.context
    fits = tuple(
        item
        for item in task.items
        if all(
            len(tokenizer.encode(layout.continuation(item, at))) < context
            for at in range(len(item.choices))
        )
    )
    if len(fits) < len(task.items):
        console.print(f"{task.name}: {len(task.items) - len(fits)} of {len(task.items)} left out")
    return replace(task, items=fits)


def put(task: Task, model: LanguageModel, out: Path, limit: int) -> tuple[list[Record], float]:
    """Records, and the seconds that they took when they were made."""
    path, kept = out / task.name / "seconds.json", 0
    begun = time.perf_counter()
    with running(console, task.name) as watch:

        def told(now: Progress) -> None:
            nonlocal kept
            kept = now.kept
            watch(now)

        records = run(task, model, out / task.name, limit=limit, on_progress=told)
    seconds = time.perf_counter() - begun
    before: dict[str, Any] = read_json(path) if path.exists() else {"records": 0, "seconds": 0.0}
    if before["records"] < len(records):
        # A killed call leaves no time: what it made is not counted as made now.
        before = {"records": len(records), "seconds": seconds, "asked": len(records) - kept}
        write_json(path, before)
    return records, before["seconds"]


def row(task: Task, records: list[Record], seconds: float, out: Path) -> list[str]:
    found = summarise(records)
    chance = read_series([out / task.name], "task")[0].chance
    assert found.score is not None, "items were answered"
    low, high = found.score.low, found.score.high
    return [
        task.name,
        str(found.score.n),
        f"{found.score.mean:.3f}",
        "" if low is None or high is None else f"{low:.3f} to {high:.3f}",
        "" if chance is None else f"{chance:.3f}",
        f"{100 * (found.invalid_format_rate or 0):.0f} %",
        f"{seconds:.1f}",
        f"{1000 * seconds / len(records):.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="run directory, checkpoint, or api:NAME@URL")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--explanation-tokens", type=int, default=64)
    arguments = parser.parse_args()
    model = open_model(arguments.model, keep_end=True)
    rows, told, failed = [], [], []
    for together in tasks(arguments.data, arguments.explanation_tokens, model):
        made = []
        for task in together:
            try:
                records, seconds = put(task, model, arguments.out, arguments.limit)
            except UserError as error:
                failed.append(f"{task.name}: {error}")
                continue
            made.append((task, records))
            rows.append(row(task, records, seconds, arguments.out))
        told += warnings([task for task, _ in made], [records for _, records in made])
    columns = ["task", "n", "score", "95 %", "chance", "bad format", "seconds", "ms each"]
    show_table(console, f"{model.name}, up to {arguments.limit} items a task", columns, rows)
    for line in (*(f"warning: {one}" for one in told), *(f"not run: {one}" for one in failed)):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
