"""What goes wrong between here and an endpoint, with a real server that does it."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from foresight.errors import UserError
from foresight.inference import endpoint as rooms
from foresight.inference.endpoint import Cancelled, Endpoint, EndpointError
from foresight.inference.rate_limit import RateLimiter
from tests.inference.endpoint import Server

BODY = {"model": "bigram", "prompt": "The cat", "max_tokens": 2, "temperature": 0}
DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "FIRST_DELAY_SECONDS", 0.01)


def to(
    url: str, max_retries: int = 4, timeout_seconds: float = 5.0, key_env: str = "NO_SUCH_KEY"
) -> Endpoint:
    return Endpoint(url, key_env, timeout_seconds, max_retries, RateLimiter())


@pytest.mark.parametrize(
    "faults", [[500], [503, 502, 500, 529], ["reset"], ["short"], ["cut"], [429], ["reset", 500]]
)
def test_what_goes_by_is_asked_again(server: Server, faults: list[object]) -> None:
    server.behaviour.faults.extend(faults)
    answer = to(server.url).post("/completions", BODY, 1)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert len(server.behaviour.asked) == len(faults) + 1


def test_a_burst_that_does_not_end_is_given_up(server: Server) -> None:
    server.behaviour.faults.extend([500] * 9)
    with pytest.raises(EndpointError, match="500: out of order"):
        to(server.url).post("/completions", BODY, 1)
    assert len(server.behaviour.asked) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_stays_is_not_asked_again(server: Server, status: int) -> None:
    server.behaviour.faults.append(status)
    with pytest.raises(EndpointError) as caught:
        to(server.url).post("/completions", BODY, 1)
    assert caught.value.status == status and len(server.behaviour.asked) == 1


def test_retry_after_is_obeyed(server: Server) -> None:
    server.behaviour.faults.append(("429", "0.4"))
    to(server.url).post("/completions", BODY, 1)
    first, second = server.behaviour.times
    assert 0.4 <= second - first < 3


def test_retry_after_holds_the_other_workers(server: Server) -> None:
    endpoint = to(server.url)
    endpoint.limiter.pause(0.3)
    started = time.monotonic()
    endpoint.post("/completions", BODY, 1)
    assert time.monotonic() - started >= 0.3


def test_retry_after_as_a_date_and_too_long(server: Server) -> None:
    seconds = rooms._rest_seconds({"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert seconds is not None and 28 <= seconds <= 31
    assert rooms._rest_seconds({"retry-after": "soon"}) is None
    assert rooms._rest_seconds({"retry-after-ms": "1500"}) == 1.5
    server.behaviour.faults.append(("429", "7200"))
    with pytest.raises(EndpointError, match="slow down"):
        to(server.url).post("/completions", BODY, 1)


def test_slow_answers_time_out_and_are_asked_again(server: Server) -> None:
    server.behaviour.faults.append(8.0)
    started = time.monotonic()
    to(server.url, timeout_seconds=0.2).post("/completions", BODY, 1)
    assert time.monotonic() - started < 7
    server.behaviour.faults.extend([8.0] * 3)
    with pytest.raises(EndpointError, match=r"no answer within 0\.\d seconds"):
        to(server.url, max_retries=2, timeout_seconds=0.2).post("/completions", BODY, 1)


def test_jitter_comes_from_the_seed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Endpoint, "_wait", lambda self, seconds: waits.append(seconds))
    for _ in range(2):
        server.behaviour.faults.extend([500] * 4)
        to(server.url).post("/completions", BODY, 1, "7")
    delays = [seconds for seconds in waits if seconds > 0]
    assert delays[:4] == delays[4:]
    for attempt, seconds in enumerate(delays[:4]):
        assert 0.005 * 2**attempt <= seconds <= 0.01 * 2**attempt


def test_a_connection_is_used_again_and_replaced_when_closed(server: Server) -> None:
    endpoint = to(server.url, max_retries=0)
    endpoint.post("/completions", BODY, 1)
    (kept,) = endpoint._idle
    endpoint.post("/completions", BODY, 1)
    assert endpoint._idle == [kept]
    # The server has closed it since: no retry is spent on that.
    kept.sock.shutdown(2)
    endpoint.post("/completions", BODY, 1)
    assert endpoint._idle != [kept]


def test_nobody_listens() -> None:
    started = time.monotonic()
    with pytest.raises(EndpointError, match="refused") as caught:
        to(DEAD).post("/completions", BODY, 1, patient=False)
    assert caught.value.unreachable and time.monotonic() - started < 5


def test_the_key_is_sent_and_never_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " sk-secret-1\n")
    endpoint = to(server.url, key_env="SOME_KEY")
    server.behaviour.key = "sk-secret-1"
    endpoint.post("/completions", BODY, 1)
    server.behaviour.key = "another"
    with pytest.raises(
        EndpointError, match=r"Incorrect API key provided: Bearer \[key\]"
    ) as caught:
        endpoint.post("/completions", BODY, 1)
    assert "secret" not in str(caught.value) + repr(caught.value) + repr(endpoint)
    monkeypatch.setenv("SOME_KEY", "a\nb")
    with pytest.raises(UserError, match="SOME_KEY"):
        to(server.url, key_env="SOME_KEY")


def test_a_proxy_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert to("http://no.such.host:81/v1").post("/completions", BODY, 1)["choices"]
    assert server.behaviour.headers[0]["Host"] == "no.such.host:81"
    assert to(server.url)._proxy is None


def test_redirects_are_not_followed(server: Server) -> None:
    server.behaviour.faults.append(("307", "0"))
    with pytest.raises(EndpointError, match="use that URL if you trust it"):
        to(server.url).post("/completions", BODY, 1)


def test_cancelled_before_it_is_sent(server: Server) -> None:
    endpoint = to(server.url)
    endpoint.cancel()
    with pytest.raises(Cancelled):
        endpoint.post("/completions", BODY, 1)
    assert server.behaviour.asked == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://localhost:8000", "/v1"),
        ("http://localhost:8000/v1/", "/v1"),
        ("https://a.b/x/v1/chat/completions", "/x/v1"),
    ],
)
def test_urls(url: str, path: str) -> None:
    assert to(url).url.path == path


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a/v1", "http://", "http://u:secret@a/v1", "http://a:0/", ""]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UserError) as caught:
        to(url)
    assert "secret" not in str(caught.value)
