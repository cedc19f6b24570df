"""A limit on requests and tokens per minute, shared by all who ask one endpoint."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from foresight.errors import UserError

WINDOW_SECONDS = 60.0


@dataclass
class Reservation:
    """A place in the window: when its request may start, and what it is counted as."""

    start_seconds: float
    tokens: int
    past: bool = False


class RateLimiter:
    """Sliding window: no 60 seconds contain more starts, or more tokens, than allowed.

    Windows are half open, [t, t + 60). Places are given in the order in which they are asked for.
    `clock` tells seconds, monotonic. None: no such limit.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, limit in (("requests", requests_per_minute), ("tokens", tokens_per_minute)):
            if limit is not None and limit < 1:
                raise UserError(f"{name}_per_minute {limit}: must be 1 or more, or left out")
        self.requests, self.tokens, self.clock = requests_per_minute, tokens_per_minute, clock
        self._placed: deque[Reservation] = deque()
        self._used = 0
        self._earliest = 0.0
        self._lock = threading.Lock()

    def reserve(self, tokens: int) -> Reservation:
        """The next place for a request of about `tokens`; the caller waits until it starts.

        Raises UserError if the request alone is above the limit.
        """
        if self.tokens is not None and tokens > self.tokens:
            raise UserError(
                f"a request of about {tokens} tokens can never start under a limit of "
                f"{self.tokens} tokens per minute: raise tokens_per_minute or shorten the request"
            )
        with self._lock:
            start = self._first_room(max(self.clock(), self._earliest), tokens)
            self._earliest = start
            place = Reservation(start, tokens)
            if self.requests is not None or self.tokens is not None:
                self._placed.append(place)
                self._used += tokens
            return place

    def settle(self, place: Reservation, tokens: int) -> None:
        """Count a request as the tokens that its answer reports, from now on."""
        with self._lock:
            if not place.past:
                self._used += tokens - place.tokens
            place.tokens = tokens

    def pause(self, seconds: float) -> None:
        """Nobody starts before `seconds` from now: the endpoint asked for rest."""
        with self._lock:
            self._earliest = max(self._earliest, self.clock() + seconds)

    def _first_room(self, start: float, tokens: int) -> float:
        """The first moment from `start` on at which the window before it has room."""
        while self._placed:
            oldest = self._placed[0]
            if oldest.start_seconds + WINDOW_SECONDS <= start:
                self._placed.popleft()
                self._used -= oldest.tokens
                oldest.past = True
                continue
            few = self.requests is None or len(self._placed) < self.requests
            if few and (self.tokens is None or self._used + tokens <= self.tokens):
                break
            start = oldest.start_seconds + WINDOW_SECONDS
        return start
