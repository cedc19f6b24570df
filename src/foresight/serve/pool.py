"""The models that are served, by name; one can take another's place while it answers."""

from __future__ import annotations

import asyncio
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from foresight.data.tokenizer import Tokenizer
from foresight.inference.engine import Engine
from foresight.serve.errors import ServiceError
from foresight.serve.remote import Remote
from foresight.serve.settings import ServiceSettings
from foresight.serve.worker import About, Worker

_WAIT_SECONDS = 0.05


@dataclass(frozen=True, eq=False)
class Served:
    """`name`: what clients call it; `weights`: which ones answer, as `RUN@HASH`."""

    name: str
    weights: str
    worker: Worker | Remote
    since: int

    @property
    def about(self) -> About:
        return self.worker.about

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises ServiceError 400 for a model behind another endpoint."""
        if self.about.tokenizer is None:
            raise ServiceError(400, f"{self.name}: is behind another endpoint, which alone knows "
                               "its tokens", "not_offered", "model")  # fmt: skip
        return self.about.tokenizer


class Pool:
    """Opened with `await open()`, closed with `await close()`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._served: dict[str, Served] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Raises UserError for a model that cannot be loaded."""
        for name, at in self._settings.models.items():
            await self.load(name, at)

    async def load(self, name: str, at: str) -> Served:
        """Serve what is at a path under a name. Whoever asked before is still answered by what was
        there. Raises UserError if nothing can be loaded; then all stays as it was."""
        worker: Worker | Remote
        worker = Remote(at) if at.startswith("api:") else Worker(await self._loaded(Path(at)))
        served = Served(name, worker.name, worker, int(time.time()))
        served.worker.start()
        before = self._served.get(name)
        self._served[name] = served
        if before:
            task = asyncio.create_task(_retire(weakref.ref(before), before.worker))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        return served

    async def _loaded(self, run: Path) -> Engine:
        """On a thread that ends with it: the threads that OpenMP makes for a thread stay as long as
        that lives, and where there are more of them than cores none waits actively any more, so
        that every step waits to be woken many times."""
        s, loop = self._settings, asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as own:
            return await loop.run_in_executor(
                own, lambda: Engine.load(run, batch=s.batch, memory_bytes=s.memory_bytes)
            )

    @property
    def all(self) -> list[Served]:
        return list(self._served.values())

    def get(self, name: str) -> Served:
        """Raises ServiceError 404 for an unknown name."""
        served = self._served.get(name)
        if served is None:
            known = ", ".join(self._served)
            raise ServiceError(
                404, f"model {name!r}: not served here; there are {known}", "model_not_found",
                "model",
            )  # fmt: skip
        return served

    def to_ask(self, name: str) -> Served:
        """Raises ServiceError 404 for an unknown name, 429 if too many wait already."""
        served = self.get(name)
        if served.worker.open_requests >= self._settings.limits.waiting:
            raise ServiceError(
                429, f"{served.worker.open_requests} requests are open already; come again later",
                "overloaded", retry_after_seconds=1.0,
            )  # fmt: skip
        return served

    async def close(self) -> None:
        """Whatever is open is given up."""
        for task in self._retiring:
            task.cancel()
        for one in self.all:
            await one.worker.stop()


async def _retire(served: weakref.ref[Served], worker: Worker | Remote) -> None:
    """Once nobody holds it: who is still being judged has not asked it yet, and will."""
    while served() is not None:
        await asyncio.sleep(_WAIT_SECONDS)
    await worker.stop()
