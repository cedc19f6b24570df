"""Ctrl-C between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading


class Interrupt:
    """Inside the block a SIGINT only sets `asked`, so that a half-applied update is never saved.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    asked = False

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
