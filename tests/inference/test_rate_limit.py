"""The limit holds in every window, and no more waiting is done than it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.inference.rate_limit import WINDOW_SECONDS, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def worst_window(starts: list[tuple[float, int]]) -> tuple[int, int]:
    """Most requests and most tokens in any [t, t + 60); one that begins at a start is worst."""
    windows = [
        [tokens for at, tokens in starts if start <= at < start + WINDOW_SECONDS]
        for start, _ in starts
    ]
    return max(map(len, windows)), max(map(sum, windows))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 80).map(lambda quarter: quarter / 4),  # seconds between two requests
        st.integers(0, 50),  # tokens asked for
        st.none() | st.integers(0, 50),  # tokens that were counted in the end, if fewer
    ),
    min_size=1,
    max_size=60,
)


@given(STEPS, st.none() | st.integers(1, 7), st.none() | st.integers(50, 120))
def test_no_window_holds_more_than_the_limit(
    steps: list[tuple[float, int, int | None]], requests: int | None, tokens: int | None
) -> None:
    clock = Clock()
    limiter = RateLimiter(requests, tokens, clock)
    starts: list[tuple[float, int]] = []
    for seconds, asked, counted in steps:
        clock.seconds += seconds
        place = limiter.reserve(asked)
        assert place.start_seconds >= max([clock.seconds, *[at for at, _ in starts]])
        if counted is not None and counted < asked:
            limiter.settle(place, counted)
        starts.append((place.start_seconds, place.tokens))
    most_requests, most_tokens = worst_window(starts)
    assert requests is None or most_requests <= requests
    assert tokens is None or most_tokens <= tokens
    if requests is None and tokens is None:
        assert [at for at, _ in starts] == pytest.approx(
            [sum(step[0] for step in steps[: at + 1]) for at in range(len(steps))]
        )


@given(st.integers(1, 20), st.integers(1, 100))
def test_the_limit_is_used_up(requests: int, count: int) -> None:
    """Asked for all at once: full windows, one after the other."""
    limiter = RateLimiter(requests, clock=Clock())
    starts = [limiter.reserve(1).start_seconds for _ in range(count)]
    assert starts == [WINDOW_SECONDS * (at // requests) for at in range(count)]


def test_a_window_that_is_too_full_is_seen() -> None:
    assert worst_window([(0.0, 5), (59.9, 5), (60.0, 5)]) == (2, 10)
    assert worst_window([(0.0, 5), (30.0, 5), (59.9, 5)]) == (3, 15)


def test_a_pause_holds_everybody() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    limiter.pause(7.0)
    assert [limiter.reserve(1).start_seconds for _ in range(3)] == [7.0, 7.0, 7.0]
    clock.seconds = 8.0
    assert limiter.reserve(1).start_seconds == 8.0


def test_a_settled_request_makes_room() -> None:
    limiter = RateLimiter(tokens_per_minute=100, clock=Clock())
    first = limiter.reserve(100)
    limiter.settle(first, 40)
    assert limiter.reserve(60).start_seconds == 0.0
    late = limiter.reserve(1)
    assert late.start_seconds == WINDOW_SECONDS
    limiter.settle(first, 90)  # long past: takes nothing from anybody
    assert limiter.reserve(99).start_seconds == WINDOW_SECONDS


def test_what_can_never_start_is_refused() -> None:
    with pytest.raises(UserError, match="raise tokens_per_minute"):
        RateLimiter(tokens_per_minute=10).reserve(11)
    with pytest.raises(UserError, match="requests_per_minute 0"):
        RateLimiter(requests_per_minute=0)
