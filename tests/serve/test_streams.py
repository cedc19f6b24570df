"""Clients that leave, readers that are slow, models that are swapped, services that are stopped."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foresight.data.corpus import Corpus
from foresight.recipe import Recipe
from foresight.serve.settings import ServiceSettings
from foresight.serve.streams import _json
from tests.serve.service import Running, running, started, until, write_run

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Go on"}], "n": 8,
         "max_tokens": 60, "logit_bias": {"1": -100, "7": -100}}  # fmt: skip
"""Some hundred tokens, none of them an end."""


@pytest.fixture
def slow(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A service whose engine takes its time, so that one can leave before the end."""
    with running(ServiceSettings(models={"tiny": str(run)}, database=f"sqlite:///{tmp_path}/a.db")
                 ) as found:  # fmt: skip
        engine = found.service.pool.get("tiny").worker.engine
        step = engine.step

        def slowed() -> int:
            time.sleep(0.02)
            return int(step())

        monkeypatch.setattr(engine, "step", slowed)
        yield found


def _drawn(service: Running) -> int:
    return int(service.service.pool.get("tiny").worker.tokens_drawn)


def _open(service: Running) -> int:
    return int(service.service.pool.get("tiny").worker.open_requests)


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_is_not_answered_on(slow: Running, stream: bool) -> None:
    whole = slow.ask("POST", "/v1/chat/completions", ASKED)[2]
    uncancelled = whole["usage"]["completion_tokens"]
    before = _drawn(slow)
    connection = http.client.HTTPConnection("127.0.0.1", slow.port)
    body = json.dumps({**ASKED, "stream": stream})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    until(lambda: _drawn(slow) > before + 16)
    assert connection.sock is not None
    connection.sock.close()
    until(lambda: _open(slow) == 0)
    time.sleep(0.1)  # a step that was begun is ended
    drawn = _drawn(slow) - before
    assert 0 < drawn < uncancelled / 2, (drawn, uncancelled)
    time.sleep(0.2)
    assert _drawn(slow) - before == drawn, "and nothing goes on"
    text = slow.ask("GET", "/metrics")[2].decode()
    assert 'foresight_cancelled_total{model="tiny"} 1.0' in text


def test_what_a_leaver_saw_is_on_record(slow: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", slow.port)
    body = json.dumps({**ASKED, "n": 1, "stream": True})
    connection.request("POST", "/v1/chat/completions", body,
                       {"Content-Type": "application/json", "x-request-id": "left"})  # fmt: skip
    with connection.getresponse() as answer:
        answer.read(2000)
    connection.close()

    def rows() -> list[tuple[str, str]]:
        with slow.service.watch.audit.engine.connect() as database:
            return list(database.exec_driver_sql(
                "select finish, output from events where request_id = 'left'"))  # fmt: skip

    until(lambda: len(rows()) == 1)
    [(finish, output)] = rows()
    assert finish == "cancelled" and json.loads(output)[0]


def test_a_slow_reader_holds_up_nobody(slow: Running) -> None:
    reader = http.client.HTTPConnection("127.0.0.1", slow.port)
    body = json.dumps({**ASKED, "stream": True})
    reader.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    start = time.monotonic()
    status, _, _ = slow.ask("POST", "/v1/chat/completions", {**ASKED, "n": 1, "max_tokens": 5})
    assert status == 200 and time.monotonic() - start < 5
    assert b"[DONE]" in reader.getresponse().read()


def test_what_goes_wrong_beside_a_stream_does_not_touch_it(slow: Running) -> None:
    given = {**ASKED, "n": 1, "temperature": 1.0, "seed": 5, "stream": True}
    calm = slow.ask("POST", "/v1/chat/completions", given)[2]
    noise: list[tuple[bytes, int]] = [
        (b"{", 400), (b"[" * 50_000, 400), (b"\xff\x00", 400), (b'{"model": "nobody"}', 400),
        (json.dumps({**ASKED, "temperature": 99}).encode(), 400),
        (json.dumps({**ASKED, "model": "nobody"}).encode(), 404),
        (json.dumps({**ASKED, "messages": [{"role": "user", "content": "x " * 5000}]}).encode(),
         400),
    ]  # fmt: skip
    found: list[bytes] = []
    stream = threading.Thread(
        target=lambda: found.append(slow.ask("POST", "/v1/chat/completions", given)[2])
    )
    stream.start()
    while stream.is_alive():
        for raw, status in noise:
            assert slow.ask("POST", "/v1/chat/completions", raw=raw)[0] == status
    assert _said(found[0]) == _said(calm) != ""


def _said(stream: bytes) -> str:
    events = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: {")]
    return "".join(json.loads(one)["choices"][0]["delta"].get("content", "") for one in events)


def test_a_model_is_swapped_without_dropping_anyone(
    slow: Running, recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", recipe, corpus, "other", seed=1)
    served = slow.service.pool.get("tiny")
    before, worker = served.weights, served.worker
    del served  # it is retired once nobody holds it
    answers: list[tuple[int, dict[str, str], dict[str, object]]] = []
    asking = threading.Thread(
        target=lambda: answers.append(slow.ask("POST", "/v1/chat/completions", ASKED))
    )
    asking.start()
    until(lambda: _drawn(slow) > 0)
    status, _, told = slow.ask("POST", "/admin/models/tiny", {"path": str(other)})
    assert status == 200, told
    assert told["weights"] != before
    fresh = slow.ask("POST", "/v1/chat/completions", {**ASKED, "n": 1})[2]
    assert fresh["system_fingerprint"] == told["weights"]
    asking.join()
    status, _, body = answers[0]
    assert status == 200 and body["system_fingerprint"] == before
    until(lambda: not worker._thread.is_alive())


def test_who_was_let_in_before_a_swap_is_answered(
    slow: Running, recipe: Recipe, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged for a while, and only then put to a model that was swapped in the meantime."""
    other = write_run(tmp_path / "other", recipe, corpus, "other", seed=1)
    judged, go_on = threading.Event(), threading.Event()

    async def admit(exchange: object) -> None:
        if not judged.is_set():
            judged.set()
            await asyncio.to_thread(go_on.wait, 30)

    monkeypatch.setattr(slow.service.watch, "admit", admit)
    before = slow.service.pool.get("tiny").weights
    answers: list[tuple[int, dict[str, str], dict[str, object]]] = []
    body = {**ASKED, "n": 1, "max_tokens": 3}
    asking = threading.Thread(
        target=lambda: answers.append(slow.ask("POST", "/v1/chat/completions", body))
    )
    asking.start()
    until(judged.is_set)
    assert slow.ask("POST", "/admin/models/tiny", {"path": str(other)})[0] == 200
    time.sleep(0.3)  # the old one could be stopped by now
    go_on.set()
    asking.join(20)
    assert answers, "it waits for a model that is gone"
    assert (answers[0][0], answers[0][2]["system_fingerprint"]) == (200, before)


def test_a_corrupt_checkpoint_changes_nothing(
    service: Running, recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    broken = write_run(tmp_path / "broken", recipe, corpus, "broken", seed=2)
    [weights] = broken.glob("checkpoints/*/weights.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    before = service.service.pool.get("tiny").weights
    for path, named in ((broken, "bytes are not the ones"), (tmp_path / "nowhere", "no such run")):
        status, _, told = service.ask("POST", "/admin/models/tiny", {"path": str(path)})
        assert status == 400 and named in told["error"]["message"]
    assert service.service.pool.get("tiny").weights == before
    assert service.ask("POST", "/v1/chat/completions", {**ASKED, "n": 1})[0] == 200


def test_a_broken_step_is_an_error_and_the_service_goes_on(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = service.service.pool.get("tiny").worker.engine

    def fail() -> int:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine, "step", fail)
    status, _, told = service.ask("POST", "/v1/chat/completions", ASKED)
    assert status == 500 and told["error"]["code"] == "engine_failed"
    monkeypatch.undo()
    assert service.ask("POST", "/v1/chat/completions", {**ASKED, "n": 1})[0] == 200


def test_a_stopped_service_ends_what_it_began(run: Path, tmp_path: Path) -> None:
    process, port = started(run, tmp_path)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        body = json.dumps({**ASKED, "model": run.name, "stream": True, "n": 16})
        connection.request(
            "POST", "/v1/chat/completions", body, {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        answer.read(200)
        process.send_signal(signal.SIGTERM)
        assert answer.read().endswith(b"data: [DONE]\n\n")
        assert process.wait(30) is not None
    finally:
        process.kill()


def test_half_a_surrogate_pair_does_not_end_a_stream() -> None:
    assert _json({"text": "ä"}) == '{"text":"ä"}'.encode()
    assert json.loads(_json({"text": "a\ud800"})) == {"text": "a?"}
