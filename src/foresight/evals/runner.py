"""Run a task on a model: records as they come, nothing asked twice, nothing lost."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from foresight.document import Image
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.journal import Journal, claim, read_records, write_sorted
from foresight.evals.layout import image_sha256
from foresight.evals.protocols import Answer, Attempt
from foresight.evals.record import FAILED, Record, record_key
from foresight.evals.summary import summarise
from foresight.evals.task import Task
from foresight.inference.language_model import LanguageModel
from foresight.runs import locked, write_atomic, write_json


@dataclass
class Progress:
    """How far a run is: attempts, and the scores so far. `kept`: done before this call."""

    total: int
    kept: int
    done: int = 0
    scored: int = 0
    score: float = 0.0

    @property
    def mean(self) -> float | None:
        """Unweighted mean of what is scored."""
        return self.score / self.scored if self.scored else None

    def add(self, record: Record) -> None:
        self.done += 1
        if record.score is not None:
            self.scored += 1
            self.score += record.score


def run(
    task: Task,
    model: LanguageModel,
    out_dir: Path,
    samples: int = 1,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Records of `samples` attempts at every item (at `limit` of them), in the order of the items.

    `out_dir` gets `task.json` (hash and settings), `records.jsonl`, `timings.jsonl` (`key`,
    `seconds` from when its batch was asked to when it was answered), `summary.json`, and the
    pictures that prompts name under `images/`. A killed run is taken up where it stopped: records
    that are there are kept, but those that failed are asked for again. When all are there, the
    file is sorted, so that it has the same bytes however often the run was interrupted.

    Raises UserError if `out_dir` holds another task or model, or is in use; if more than one
    sample is asked of a protocol whose samples are all alike.
    """
    check_samples(task, samples)
    items = task.chosen(limit)
    places = {
        record_key(task.hash, item.id, sample, model.name): at * samples + sample
        for at, item in enumerate(items)
        for sample in range(samples)
    }
    path = out_dir / "records.jsonl"
    with locked(out_dir), ExitStack() as stack:
        _claim(task, model, out_dir)
        write_images(items, out_dir / "images")
        journal = stack.enter_context(Journal(path))
        timings = stack.enter_context(Journal(out_dir / "timings.jsonl"))
        kept = [one for one in read_records(path) if one.reason not in FAILED]
        have = {one.key for one in kept}
        progress = Progress(len(places), len(have & places.keys()))
        for one in kept:
            if one.key in places:
                progress.add(one)
        wanted = (
            one
            for one, key in zip(task.attempts(items, samples), places, strict=True)
            if key not in have
        )
        while batch := list(islice(wanted, task.protocol.batch)):
            _ask(task, model, batch, journal, timings, progress, on_progress)
        write_sorted(path, places)
        records = [one for one in read_records(path) if one.key in places]
        write_json(out_dir / "summary.json", asdict(summarise(records)))
    return records


def check_samples(task: Task, samples: int) -> None:
    """Raises UserError if there are none, or several that would be all alike."""
    if samples < 1:
        raise UserError(f"samples {samples}: must be 1 or more")
    if samples > 1 and not task.protocol.samples_differ():
        raise UserError(
            f"task {task.name}: {samples} samples would be {samples} times the same; leave "
            f"--samples out, or give a protocol that writes a `temperature` above 0"
        )


def _ask(
    task: Task,
    model: LanguageModel,
    batch: Sequence[Attempt],
    journal: Journal,
    timings: Journal,
    progress: Progress,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Put one batch; every answer becomes a line as soon as it is there."""
    asked, answered = time.perf_counter(), set()

    def emit(at: int, answer: Answer) -> None:
        assert at not in answered, "an attempt is answered once"
        answered.add(at)
        record = _record(task, model.name, batch[at], answer)
        journal.append(record.to_line())
        seconds = round(time.perf_counter() - asked, 6)
        timings.append(json.dumps({"key": record.key, "seconds": seconds}))
        progress.add(record)
        if on_progress:
            on_progress(progress)

    task.protocol.ask(batch, model, emit)
    assert len(answered) == len(batch), "every attempt is answered"


def _record(task: Task, model: str, attempt: Attempt, answer: Answer) -> Record:
    item = attempt.item
    category = item.meta.get("category")
    return Record(
        key=record_key(task.hash, item.id, attempt.sample, model),
        task=task.name,
        item=item.id,
        sample=attempt.sample,
        model=model,
        group=item.group,
        weight=item.weight,
        prompt=answer.prompt,
        output=answer.output,
        answer=answer.answer,
        target=item.target,
        score=answer.score,
        reason=answer.reason,
        choices=item.choices,
        choice_logprobs=answer.choice_logprobs,
        tokens=answer.tokens,
        details=answer.details | ({} if category is None else {"category": category}),
    )


def _claim(task: Task, model: LanguageModel, out_dir: Path) -> None:
    """Write down whose records a directory holds, or refuse it."""
    path = out_dir / "task.json"
    if not path.exists() and (out_dir / "records.jsonl").exists():
        raise UserError(f"{out_dir}: records without a task.json; give another --out")
    value = {
        "name": task.name,
        "sha256": task.hash,
        "model": model.name,
        "items": len(task.items),
        "protocol": task.protocol.settings(),
    }
    claim(path, value, {"sha256": "records of another task", "model": "records of another model"})


def write_images(items: Sequence[Item], folder: Path) -> None:
    """Every picture of the items as `SHA-256.png`, as their prompts name it."""
    for image in _images(items):
        path = folder / f"{image_sha256(image)}.png"
        if not path.exists():
            from PIL import Image as Pillow

            data = io.BytesIO()
            Pillow.fromarray(image.pixels).save(data, "PNG")
            write_atomic(path, data.getvalue())


def _images(items: Sequence[Item]) -> Iterator[Image]:
    return (part for item in items for part in item.parts if isinstance(part, Image))
