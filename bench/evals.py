"""What the evaluation framework itself costs, with a model that answers at once.

Estimand: milliseconds of processor time per sample (and wall time beside it) of whole runs on real
public sets, from the first prompt to the sorted record file, all items; and of reading the task,
of taking up a finished run, of the summary, and of a paired comparison. The bound is 1 ms per
sample. The model gives one constant answer and is written here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from foresight.evals.compare import compare
from foresight.evals.protocols import ChoiceGenerate
from foresight.evals.reading import read_task
from foresight.evals.record import Record
from foresight.evals.runner import run
from foresight.evals.suites import SUITES
from foresight.evals.summary import summarise
from foresight.evals.task import Task
from foresight.inference.language_model import Completion, GenerateRequest, Score, ScoreRequest

DATA = Path(__file__).parents[2] / "shared" / "data" / "evals"
BOUND_MS = 1.0
T = TypeVar("T")


class Constant:
    """Answers the same to everything, at once."""

    def __init__(self, text: str, nats: Sequence[float]) -> None:
        self.name = f"constant {text}"
        self._completion = (Completion(text, "stop", completion_tokens=1),)
        self._scores = tuple(Score(one, (one,), False) for one in nats)

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        for at in range(len(requests)) if on_done else ():
            on_done(at, self._completion)
        return [self._completion] * len(requests)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]:
        answers = [self._scores[: len(one.continuations)] for one in requests]
        for at, answer in enumerate(answers) if on_done else ():
            on_done(at, answer)
        return answers


def timed(call: Callable[[], T]) -> tuple[T, float, float]:
    """Result, processor seconds, wall seconds."""
    processor, wall = time.process_time(), time.perf_counter()
    result = call()
    return result, time.process_time() - processor, time.perf_counter() - wall


def row(name: str, n: int, processor: float, wall: float) -> float:
    each = 1000 * processor / n
    print(f"{name:44}{n:8}{each:12.3f}{1000 * wall / n:12.3f}{wall:10.2f}")
    return each


def measure(name: str, task: Task, folder: Path) -> tuple[float, list[Record]]:
    """Run it whole, take it up again, summarise."""
    first = Constant(" B", (-2.0, -1.0, -3.0, -4.0, -5.0))
    records, processor, wall = timed(lambda: run(task, first, folder))
    cost = row(name, len(records), processor, wall)
    again, *times = timed(lambda: run(task, first, folder))
    assert again == records and len(records) == len(task.items)
    row("  a finished run taken up", len(records), *times)
    _, *times = timed(lambda: summarise(records))
    row("  summary", len(records), *times)
    size = (folder / "records.jsonl").stat().st_size
    print(f"  {size / 1e6:.1f} MB of records")
    return cost, records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    print(f"{'':44}{'samples':>8}{'cpu ms':>12}{'wall ms':>12}{'wall s':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mmlu, *times = timed(lambda: read_task(f"mmlu@{data / 'mmlu'}"))
        row("reading MMLU", len(mmlu.items), *times)
        _, *times = timed(lambda: mmlu.hash)
        row("hash of MMLU", len(mmlu.items), *times)
        written = SUITES["mmlu"](data / "mmlu", "").task("mmlu-written", ChoiceGenerate())
        costs, sets = [], []
        for title, task in (
            ("MMLU, 5-shot, log-probabilities", mmlu),
            ("MMLU, 5-shot, explanation and letter", written),
            ("GSM8K, 5-shot, numeric answer", read_task(f"gsm8k@{data / 'gsm8k'}")),
        ):
            cost, records = measure(title, task, folder / task.name)
            costs.append(cost)
            sets.append(records)
        _, *times = timed(lambda: compare(sets[0], sets[1]))
        row("paired comparison of the two MMLU runs", len(sets[0]), *times)
    worst = max(costs)
    print(f"worst: {worst:.3f} ms of processor time per sample (bound {BOUND_MS} ms)")
    if worst > BOUND_MS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
