"""Many runs side by side: one single-threaded process per core.

Two such processes give 1.5-2 times the tokens per second of one process with two threads
at the widths of a ladder (`make bench` prints it here).
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foresight.data.corpus import Corpus
from foresight.recipe import Recipe, RunSpec
from foresight.runs import Run
from foresight.training.loop import Settings
from foresight.training.trainer import train

_PR_SET_PDEATHSIG = 1


ASKED = 3
"""Runs of a rung that suites are put to, at most: models of one compute differ by more than
samples of one model do."""


@dataclass(frozen=True)
class Job:
    """One run to carry out in its own directory."""

    run: Run
    spec: RunSpec
    settings: Settings

    @property
    def compute_flops(self) -> float:
        """Planned FLOPs, image patches left out."""
        return self.spec.tokens * self.spec.shape.flops_per_token()


@dataclass(frozen=True)
class Progress:
    """Where a job stands: steps done, last training loss (None before the first step)."""

    job: Job
    step: int
    loss: float | None
    finished: bool


def rung_jobs(recipe: Recipe, directory: Path) -> list[Job]:
    """The fitted runs of a recipe: DIR/ladder/c<compute>-s<seed>. The first of a rung
    keep their weights if suites are put to them."""
    jobs = []
    for compute, seeds in zip(recipe.ladder.rungs, recipe.ladder.seeds, strict=True):
        for seed in range(1, seeds + 1):
            run = Run(directory / "ladder" / f"c{compute:.1e}-s{seed}")
            spec = recipe.at(compute, 1000 * recipe.seed + seed)
            keep = bool(recipe.ladder.suites) and seed <= ASKED
            jobs.append(Job(run, spec, Settings(keep_weights=keep)))
    return jobs


def target_job(recipe: Recipe, directory: Path, compute_flops: float) -> Job:
    """A predicted run: DIR/targets/c<compute>; its weights are kept."""
    run = Run(directory / "targets" / f"c{compute_flops:.1e}")
    return Job(run, recipe.at(compute_flops, 1000 * recipe.seed), Settings())


def cores() -> int:
    return len(os.sched_getaffinity(0))


def run_jobs(
    jobs: Sequence[Job],
    recipe: Recipe,
    corpus: Path,
    watch: Callable[[list[Progress]], None] = lambda _: None,
    workers: int | None = None,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """Carry out jobs, the longest first, and return their results in the order given.

    Finished runs are not repeated and killed ones resume. `watch` is called about twice a
    second. The first error ends the pool and is raised; the other runs keep their checkpoints.
    """
    waiting = sorted(jobs, key=lambda job: -job.compute_flops)
    context = multiprocessing.get_context("spawn")
    done: dict[Path, dict[str, Any]] = {}
    with ProcessPoolExecutor(
        workers or cores(), context, initializer=prepare_worker, initargs=(threads,)
    ) as pool:
        with unheard_interrupts():
            futures = {pool.submit(_carry_out, job, recipe, corpus): job for job in waiting}
        try:
            while futures:
                finished, _ = wait(futures, timeout=0.5, return_when="FIRST_COMPLETED")
                for future in finished:
                    done[futures.pop(future).run.path] = future.result()
                watch([_progress(job) for job in jobs])
        except BaseException:
            _stop(futures)
            raise
    return [done[job.run.path] for job in jobs]


@contextmanager
def unheard_interrupts() -> Iterator[None]:
    """Processes begun inside ignore SIGINT until `prepare_worker`: imports are no place for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(futures: Iterable[Future[Any]]) -> None:
    """Drop what has not begun; what has begun saves a checkpoint and stops (see `Interrupt`).

    Asks until all have: a worker that is starting or loading its corpus does not hear it.
    """
    for future in futures:
        future.cancel()
    while not all(future.done() for future in futures):
        for child in multiprocessing.active_children():
            if child.pid:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGINT)
        time.sleep(0.1)


def prepare_worker(threads: int) -> None:
    """A worker: so many threads, no life without its parent, and deaf to SIGINT outside a run.

    Inside a run `Interrupt` takes the signal; a worker that died of it would break the pool.
    """
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _carry_out(job: Job, recipe: Recipe, corpus: Path) -> dict[str, Any]:
    return train(job.run, recipe, job.spec, Corpus(corpus), job.settings)


def _progress(job: Job) -> Progress:
    row = last_row(job.run.metrics_path)
    if row is None:
        return Progress(job, 0, None, job.run.finished)
    return Progress(job, int(row["step"]), float(row["loss"]), job.run.finished)


def last_row(path: Path) -> dict[str, Any] | None:
    """The last complete line of a growing JSONL file; None if there is none yet."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 4096))
            lines = stream.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    row: dict[str, Any] | None = json.loads(lines[-1]) if lines else None
    return row
