"""Runs: resumed, killed, refused; the same bytes in every case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.journal import read_records
from foresight.evals.protocols import ChoiceGenerate, ChoiceLogprob, FreeResponse, Protocol
from foresight.evals.record import Reason
from foresight.evals.runner import Progress, run
from foresight.evals.task import Task
from tests.evals.models import Written, choice_items, open_items, unit

ROOT = Path(__file__).parents[2]


def _sum(prompt: str, request: Any) -> str:
    """Right for most sums, and another answer for every seed."""
    number = int(prompt.rpartition(" + ")[0].split()[-1])
    return f" {number + (unit(f'{prompt}{request.sampling.seed}') < 0.7)}"


def _task(n: int = 40) -> Task:
    return Task("sums", open_items(n), FreeResponse())


def _bytes(folder: Path) -> bytes:
    return (folder / "records.jsonl").read_bytes()


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    run(_task(), Written(_sum), tmp_path / "whole", samples=3)
    return _bytes(tmp_path / "whole")


def test_records_stand_in_the_order_of_items_and_samples(whole: bytes, tmp_path: Path) -> None:
    records = read_records(tmp_path / "whole")
    assert [(one.item, one.sample) for one in records] == [
        (f"q{at}", sample) for at in range(40) for sample in range(3)
    ]
    assert {one.score for one in records} == {0.0, 1.0}
    first = records[0]
    assert (first.prompt, first.target, first.reason) == ("0 + 1 =", ["1"], Reason.OK)
    by_sample = {one.output for one in records if one.item == "q7"}
    assert by_sample <= {" 7", " 8"}


@settings(max_examples=20, deadline=None)
@given(stop=st.integers(0, 119), cut=st.integers(0, 200))
def test_any_interruption_leaves_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, stop: int, cut: int
) -> None:
    """Stopped after `stop` answers, the file then torn by `cut` bytes."""
    folder = tmp_path_factory.mktemp("run")
    run(_task(), Written(_sum), folder / "whole", samples=3)
    part = folder / "part"
    with pytest.raises(KeyboardInterrupt):
        run(_task(), Written(_sum, stop_after=stop), part, samples=3)
    torn = _bytes(part)[: max(0, len(_bytes(part)) - cut)]
    (part / "records.jsonl").write_bytes(torn)
    model = Written(_sum, backward=True)
    run(_task(), model, part, samples=3)
    assert model.asked == 120 - torn.count(b"\n")
    assert _bytes(part) == _bytes(folder / "whole")


def test_a_finished_run_asks_nothing(whole: bytes, tmp_path: Path) -> None:
    model = Written(_sum)
    run(_task(), model, tmp_path / "whole", samples=3)
    assert model.asked == 0 and _bytes(tmp_path / "whole") == whole


def test_answers_do_not_depend_on_batches_or_order(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Protocol, "batch", 7)
    run(_task(), Written(_sum, backward=True), tmp_path / "other", samples=3)
    assert _bytes(tmp_path / "other") == whole


KILLED = """
import sys, time
from pathlib import Path
from foresight.evals.runner import run
from tests.evals.models import Written
from tests.evals.test_runner import _sum, _task

def slow(prompt, request):
    time.sleep(0.02)
    return _sum(prompt, request)

run(_task(), Written(slow), Path(sys.argv[1]), samples=3)
"""


def test_kill_9_loses_nothing_that_was_answered(whole: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], env=environment)
    records = folder / "records.jsonl"
    for _ in range(600):
        if records.exists() and records.read_bytes().count(b"\n") >= 10:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    answered = _bytes(folder).count(b"\n")
    assert 10 <= answered < 120
    model = Written(_sum)
    run(_task(), model, folder, samples=3)
    assert model.asked == 120 - answered
    assert _bytes(folder) == whole


def test_what_has_no_score_is_asked_for_again(tmp_path: Path) -> None:
    task = Task("choices", choice_items(10), ChoiceLogprob())
    broken = Written(nats=lambda prompt, choice: float("nan") if "3?" in prompt else -1.0)
    run(task, broken, tmp_path)
    failed = [one for one in read_records(tmp_path) if one.score is None]
    assert [(one.item, one.reason) for one in failed] == [("q3", Reason.NO_RESPONSE)]
    model = Written()
    run(task, model, tmp_path)
    assert model.asked == 1
    assert [one.item for one in read_records(tmp_path)] == [f"q{at}" for at in range(10)]
    assert all(one.score is not None for one in read_records(tmp_path))


def test_another_task_or_model_is_refused(whole: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another task"):
        run(_task(41), Written(_sum), tmp_path / "whole", samples=3)
    with pytest.raises(UserError, match="another model"):
        run(_task(), Written(_sum, name="other"), tmp_path / "whole", samples=3)
    with pytest.raises(UserError, match="3 times the same"):
        run(Task("c", choice_items(2), ChoiceLogprob()), Written(), tmp_path / "c", samples=3)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "records.jsonl").write_text("")
    with pytest.raises(UserError, match=r"without a task\.json"):
        run(_task(), Written(_sum), tmp_path / "odd")


def test_two_processes_cannot_write_one_directory(tmp_path: Path) -> None:
    def meddle(prompt: str, request: Any) -> str:
        with pytest.raises(UserError, match="in use by another process"):
            run(_task(), Written(_sum), tmp_path / "run")
        return _sum(prompt, request)

    run(_task(1), Written(meddle), tmp_path / "run")


def test_a_limit_is_a_subset_that_grows(tmp_path: Path) -> None:
    task = _task()
    few, more = ({item.id for item in task.chosen(n)} for n in (5, 12))
    assert len(few) == 5 and few < more and few != {f"q{at}" for at in range(5)}
    run(task, Written(_sum), tmp_path, limit=5)
    model = Written(_sum)
    assert len(run(task, model, tmp_path, limit=12)) == 12
    assert model.asked == 7
    # What more was asked earlier stays in the file, and out of the result.
    assert len(run(task, Written(_sum), tmp_path, limit=5)) == 5
    assert len(read_records(tmp_path)) == 12


def test_progress_and_timings(tmp_path: Path) -> None:
    seen: list[tuple[int, float | None]] = []

    def watch(now: Progress) -> None:
        seen.append((now.done, now.mean))

    run(_task(), Written(_sum), tmp_path, on_progress=watch)
    assert [done for done, _ in seen] == list(range(1, 41))
    scores = [one.score or 0.0 for one in read_records(tmp_path)]
    assert seen[-1][1] == pytest.approx(sum(scores) / 40)
    timings = [json.loads(line) for line in (tmp_path / "timings.jsonl").open()]
    assert {one["key"] for one in timings} == {one.key for one in read_records(tmp_path)}
    assert all(one["seconds"] >= 0 for one in timings)
    assert json.loads((tmp_path / "summary.json").read_text())["records"] == 40


def test_pictures_are_written_beside_the_records(tmp_path: Path) -> None:
    image = Image(np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    item = Item("one", (Text("See "), image, Text(" what?")), ("a", "b"), 1)
    task = Task("seen", (item,), ChoiceGenerate())
    (record,) = run(task, Written(lambda prompt, request: "B"), tmp_path)
    mark = record.prompt.split("[image ")[1].split("]")[0]
    sha, size = mark.split()
    assert size == "3x3"
    back = Image.from_file(tmp_path / "images" / f"{sha}.png")
    assert (back.pixels == image.pixels).all()
