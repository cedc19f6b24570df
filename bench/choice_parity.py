"""Multiple choice by log-probability: lm-evaluation-harness against ours, on the same weights.

    make .venv-evals-peers
    python bench/choice_parity.py ../shared/data/evals/mmlu --hf FOLDER --run RUN

FOLDER: a Hugging Face folder, RUN: the checkpoint it was exported from. Both sides get the same
prompts and options of the same MMLU items, in float32 on one thread. Stated is the largest
difference of an option's log-probability over all items, in nats; accuracies; how many answers
agree; and seconds per item, of the whole evaluation and of the model's part alone, as median
[lowest, highest] over rounds in which every arm is measured once, one after the other.

The harness at another batch size is an arm of its own: its difference from itself is what the
order of float32 sums makes, and nobody can agree better than that. Without --run only this is
measured. Exit code 1 if a difference exceeds --tolerance or an accuracy differs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tokenizers import Tokenizer

from foresight.evals.interop.lm_eval import read_samples
from foresight.evals.layout import prompt_text
from foresight.evals.protocols import ChoiceLogprob
from foresight.evals.record import Record
from foresight.evals.runner import run
from foresight.evals.suites import SUITES
from foresight.evals.task import Task
from foresight.inference.open import open_model
from foresight.runs import read_json, write_atomic

PEERS = Path(".venv-evals-peers/bin/python")
TASK = "choice_parity"


@dataclass(frozen=True)
class Measured:
    """One evaluation: records, seconds in all, seconds in the model."""

    records: Sequence[Record]
    seconds: float
    model_seconds: float


class Harness:
    """The worker process; it stays, so that imports and loading are not measured."""

    def __init__(self, python: Path, folder: Path, work: Path, batches: Sequence[int]) -> None:
        worker = Path(__file__).with_name("lm_eval_worker.py")
        command = [python, worker, folder, work / "tasks", TASK, work / "theirs", 1, *batches]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(work / "hf")}
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(work / "harness.log").open("w"),
            text=True,
            env=os.environ | offline | {"OMP_NUM_THREADS": "1"},
        )
        self._log = work / "harness.log"
        self._told()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The harness prints to standard output, too.
            if line.startswith("{"):
                return dict(json.loads(line))
        sys.exit(f"the harness ended:\n{self._log.read_text()[-2000:]}")

    def evaluate(self, batch: int) -> Measured:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{batch}\n")
        self._process.stdin.flush()
        told = self._told()
        (found,) = read_samples(Path(told["file"]))
        return Measured(found.records, told["seconds"], told["model_seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Ours:
    """Our runner on a checkpoint, every time in a new folder."""

    def __init__(self, task: Task, model: str, work: Path) -> None:
        self._task, self._work, self._times = task, work / "ours", 0
        self._model = open_model(model)
        self._score, self._inside = self._model.score, 0.0
        self._model.score = self._timed  # type: ignore[method-assign]

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return self._score(*args, **kwargs)
        finally:
            self._inside += time.perf_counter() - begun

    def evaluate(self) -> Measured:
        self._times += 1
        self._inside, begun = 0.0, time.perf_counter()
        records = run(self._task, self._model, self._work / str(self._times))
        return Measured(records, time.perf_counter() - begun, self._inside)


def subset(mmlu: Path, folder: Path, items: int, shots: int) -> Task:
    """So many items of MMLU that fit the model's context with every option."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    context = read_json(folder / "config.json")["max_position_embeddings"]
    whole = SUITES["mmlu"](mmlu, "").task(TASK, shots=shots)
    texts = [_prompt(whole, item) for item in whole.items]
    # An option is a space and a letter: at most two tokens where bytes are tokens.
    fits = [len(one.ids) + 2 <= context for one in tokenizer.encode_batch_fast(texts)]
    short = tuple(item for item, fit in zip(whole.items, fits, strict=True) if fit)
    if not short:
        sys.exit(f"no prompt of {shots} examples fits the context of {context}; lower --shots")
    task = Task(TASK, short, whole.protocol, whole.few_shot)
    return Task(TASK, tuple(task.chosen(items)), whole.protocol, whole.few_shot)


def _prompt(task: Task, item: Any) -> str:
    return prompt_text(task.protocol.prompt(task.attempt(item)))


def write_task(task: Task, folder: Path) -> None:
    """The same task for the harness: exact prompts, options with the space before them."""
    protocol = task.protocol
    assert isinstance(protocol, ChoiceLogprob)
    lines = [
        {
            "id": item.id,
            "prompt": _prompt(task, item),
            "options": [protocol.layout.continuation(item, at) for at in range(len(item.choices))],
            "answer": item.target,
        }
        for item in task.items
    ]
    write_atomic(folder / f"{TASK}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    spec = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str((folder / f"{TASK}.jsonl").resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "options",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    write_atomic(folder / f"{TASK}.yaml", yaml.safe_dump(spec))


def difference(first: Sequence[Record], second: Sequence[Record]) -> dict[str, Any]:
    """Of two evaluations of the same items."""
    others = {record.item: record for record in second}
    assert others.keys() == {record.item for record in first}, "the same items"
    pairs = [(record, others[record.item]) for record in first]
    gaps = [
        abs(a - b)
        for one, other in pairs
        for a, b in zip(one.choice_logprobs, other.choice_logprobs, strict=True)
    ]
    picks = [_pick(one) == _pick(other) for one, other in pairs]
    return {
        "max_difference_nats": max(gaps),
        "mean_difference_nats": statistics.fmean(gaps),
        "same_answers": sum(picks),
        "items": len(pairs),
        "accuracies": [statistics.fmean(r.score or 0.0 for r in side) for side in (first, second)],
    }


def _pick(record: Record) -> int:
    return record.choice_logprobs.index(max(record.choice_logprobs))


def measure(arms: dict[str, Callable[[], Measured]], rounds: int) -> dict[str, list[Measured]]:
    """Every arm once a round; a first round warms up and is not counted."""
    found: dict[str, list[Measured]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            one = arm()
            if number:
                found[name].append(one)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return found


def report(found: dict[str, list[Measured]], tolerance: float) -> dict[str, Any]:
    """Differences from the harness, and times."""
    first = next(iter(found))
    times = {
        name: {
            key: _spread([getattr(one, key) / len(one.records) for one in rounds])
            for key in ("seconds", "model_seconds")
        }
        for name, rounds in found.items()
    }
    differences = {
        name: difference(found[first][0].records, rounds[0].records)
        for name, rounds in found.items()
        if name != first
    }
    holds = all(
        one["max_difference_nats"] <= tolerance and len(set(one["accuracies"])) == 1
        for one in differences.values()
    )
    value = {"seconds_per_item": times, f"against {first}": differences, "holds": holds}
    if "ours" in found:
        ratios = [a.seconds / b.seconds for a, b in zip(found[first], found["ours"], strict=True)]
        value["times_faster"] = _spread(ratios)
    return value


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mmlu", type=Path, help="folder or archive of MMLU's CSV files")
    parser.add_argument("--hf", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--run", help="run directory or checkpoint of ours with the same weights")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16, help="of the harness")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="nats")
    parser.add_argument("--peers", type=Path, default=PEERS, help="Python with lm-eval")
    args = parser.parse_args()
    if not args.peers.exists():
        sys.exit(f"{args.peers} is absent: make .venv-evals-peers")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        task = subset(args.mmlu, args.hf, args.items, args.shots)
        write_task(task, work / "tasks")
        harness = Harness(args.peers, args.hf.resolve(), work, (args.batch, 1))
        arms: dict[str, Callable[[], Measured]] = {
            "lm-eval": lambda: harness.evaluate(args.batch),
            "lm-eval, batch 1": lambda: harness.evaluate(1),
        }
        if args.run:
            arms["ours"] = Ours(task, args.run, work).evaluate
        found = measure(arms, args.rounds)
        harness.close()
    value = report(found, args.tolerance)
    print(json.dumps(value, indent=2))
    sys.exit(0 if value["holds"] else 1)


if __name__ == "__main__":
    main()
