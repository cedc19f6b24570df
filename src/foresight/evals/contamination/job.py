"""A scan as a job: units over processes or a Ray cluster, each finished one a line in a journal."""

from __future__ import annotations

import ctypes
import importlib
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.contamination.corpora import STDIN, Unit
from foresight.evals.contamination.questions import Plan
from foresight.evals.contamination.scanner import Found, scan_unit
from foresight.evals.journal import Journal, claim
from foresight.runs import locked, read_jsonl, sha256_json

OnUnit = Callable[[Unit], None]
_PR_SET_PDEATHSIG = 1


def scan(
    plan: Plan,
    units: Sequence[Unit],
    out_dir: Path,
    processes: int = 1,
    ray: bool = False,
    on_unit: OnUnit = lambda _: None,
) -> list[Found]:
    """What each unit holds, in their order, whatever the number of processes.

    `out_dir` gets `job.json` (what is looked for, and in which files) and `units.jsonl`, a line
    for each finished unit: a killed job is taken up where it stopped, and has lost the units in
    work at most. Raises UserError if the directory holds another job, or files have changed since.
    """
    if any(STDIN in unit.files for unit in units):
        if ray:
            raise UserError(
                "--ray: a cluster cannot read this machine's standard input; give files"
            )
        processes = 1
    with locked(out_dir):
        _claim(plan, units, out_dir)
        path = out_dir / "units.jsonl"
        with Journal(path, sync_every=1) as journal:
            done = {int(row["unit"]): row["found"] for row in read_jsonl(path)}
            for number in done:
                on_unit(units[number])
            waiting = [number for number in range(len(units)) if number not in done]
            for number, found in _work(plan, units, waiting, processes, ray):
                line = json.dumps({"unit": number, "found": found}, ensure_ascii=False)
                journal.append(line)
                # As it is read from the journal: with texts for the numbers of substrings.
                done[number] = json.loads(line)["found"]
                on_unit(units[number])
    return [done[number] for number in range(len(units))]


def _claim(plan: Plan, units: Sequence[Unit], out_dir: Path) -> None:
    """Write down whose findings a directory holds, or refuse it."""
    value = {
        "settings": asdict(plan.settings),
        "questions": plan.sha256,
        "units": sha256_json([asdict(unit) for unit in units]),
        "files": {name: _identity(name) for unit in units for name in unit.files},
    }
    kept = {
        "settings": "findings with other settings",
        "questions": "findings of other questions",
        "files": "findings of another corpus, or a file of it has changed since",
        "units": "findings of another corpus",
    }
    claim(out_dir / "job.json", value, kept)


def _identity(name: str) -> list[int]:
    """Size and time of a file's last change; standard input is another one each time."""
    if name == STDIN:
        return [0, time.time_ns()]
    # A shard is several arrays; its tokens tell it.
    path = Path(name) if Path(name).exists() else Path(f"{name}.tokens.npy")
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _work(
    plan: Plan, units: Sequence[Unit], waiting: Sequence[int], processes: int, ray: bool
) -> Iterator[tuple[int, Found]]:
    """Numbers and findings of units as they are finished."""
    if ray:
        yield from _on_ray(plan, units, waiting)
    elif min(processes, len(waiting)) < 2:
        for number in waiting:
            yield number, scan_unit(plan, units[number])
    else:
        with _pool(min(processes, len(waiting))) as pool:
            futures = {pool.submit(scan_unit, plan, units[number]): number for number in waiting}
            for future in as_completed(futures):
                yield futures[future], future.result()


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with what goes wrong here, in the middle of a unit if need be."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_prepare)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()
        raise
    pool.shutdown()


def _prepare() -> None:
    """A worker: interrupts are its parent's to hear, and it does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _on_ray(
    plan: Plan, units: Sequence[Unit], waiting: Sequence[int]
) -> Iterator[tuple[int, Found]]:
    """The same units as tasks of a cluster, whose machines must see the corpus under one path."""
    try:
        cluster: Any = importlib.import_module("ray")
    except ImportError:
        raise UserError(
            "--ray: the package `ray` is missing; install it with "
            "`pip install 'foresight[cluster]'`"
        ) from None
    if not cluster.is_initialized():
        # RAY_ADDRESS names a cluster; without it this machine is one.
        cluster.init(log_to_driver=False, include_dashboard=False)
    shared = cluster.put(plan)
    task = cluster.remote(scan_unit).options(num_cpus=1, max_retries=3)
    running = {task.remote(shared, units[number]): number for number in waiting}
    while running:
        ready, _ = cluster.wait(list(running))
        try:
            found = cluster.get(ready[0])
        except cluster.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        yield running.pop(ready[0]), found
