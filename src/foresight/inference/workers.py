"""Many slow questions at once, answered in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

Answer = TypeVar("Answer")
_FAREWELL_SECONDS = 1.0


def in_order(
    count: int,
    work: Callable[[int], Answer],
    concurrency: int,
    on_done: Callable[[int, Answer], None] | None,
    cancel: Callable[[], None],
) -> list[Answer]:
    """`[work(0), work(1), ...]` by `concurrency` threads.

    `on_done` is called in this thread as answers come. Whatever is raised here or by a worker, an
    interrupt included, stops the rest, calls `cancel`, which must end the work in flight, and goes
    on up.
    """
    answers: dict[int, Answer] = {}
    done: SimpleQueue[tuple[int, Answer, BaseException | None]] = SimpleQueue()
    todo = iter(range(count))
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                at = next(todo, None)
            if at is None:
                return
            try:
                done.put((at, work(at), None))
            except BaseException as error:
                done.put((at, None, error))  # type: ignore[arg-type]
                return

    # Daemons: an interrupt must not wait for a name server.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(concurrency, count))]
    try:
        for thread in threads:
            thread.start()
        for _ in range(count):
            at, answer, error = done.get()
            if error is not None:
                raise error
            answers[at] = answer
            if on_done is not None:
                on_done(at, answer)
    except BaseException:
        with lock:
            todo = iter(())
        cancel()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        raise
    return [answers[at] for at in range(count)]
