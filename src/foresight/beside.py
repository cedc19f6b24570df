"""Post-training as the demo does it: in a process of its own, beside the ladder.

It is one thread from beginning to end, minutes of it: after everything else it would leave the
other cores idle."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from types import TracebackType

from rich.console import Console

from foresight.experiment import Experiment
from foresight.posttrain.chain import ChainSettings, Outcome
from foresight.recipe import Recipe
from foresight.training.ladder import last_row, prepare_worker, unheard_interrupts

_SHOWN = ("loss", "reward", "kl")


class Beside:
    """Post-trains the base model of a recipe in `directory`, in the background; with a `with`
    block, at whose end the process is stopped: what it has done is kept, and gone on with."""

    def __init__(self, directory: Path, recipe: Recipe, settings: ChainSettings) -> None:
        self._directory = directory
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=prepare_worker, initargs=(1,))
        with unheard_interrupts():
            self._future: Future[Outcome] = self._pool.submit(
                _post_train, directory, recipe, settings
            )

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is not None:
            # Runs are made for it, and between them nothing gentler is heard. Other pools are
            # gone by now.
            for child in multiprocessing.active_children():
                child.kill()
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def result(self, console: Console) -> Outcome:
        """Waits for the end; says how far it is. Raises what was raised there."""
        with console.status("post-training") as status:
            while True:
                try:
                    return self._future.result(timeout=1.0)
                except NotYet:
                    status.update(self._stage())

    def _stage(self) -> str:
        """The newest run's last step."""
        paths = [*self._directory.glob("*/*/metrics.jsonl")]
        newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
        row = last_row(newest) if newest else None
        if newest is None or row is None:
            return "post-training: its corpus"
        told = "  ".join(f"{name} {row[name]:.3f}" for name in _SHOWN if name in row)
        return f"post-training: {newest.parent.name}, step {row['step']}  {told}"


def _post_train(directory: Path, recipe: Recipe, settings: ChainSettings) -> Outcome:
    return Experiment.create(directory, recipe).post_train(settings)
