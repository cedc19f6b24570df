"""A model behind another endpoint: that of another service of ours, so that both can be asked."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from foresight.serve.settings import ServiceSettings
from tests.serve.service import Running, free_port, running, until

POLICY = "categories: [{name: weapons, rules: [how to arm]}]"
ASKED: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hm?"}]


@pytest.fixture(scope="module")
def front(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("front")
    (folder / "policy.yaml").write_text(POLICY)
    models = {"far": f"api:tiny@{service.base}/v1", "gone": f"api:x@http://127.0.0.1:{free_port()}",
              "odd": f"api:nobody@{service.base}/v1"}  # fmt: skip
    settings = ServiceSettings(
        models=models, policy=folder / "policy.yaml", database=f"sqlite:///{folder}/a.db"
    )
    with running(settings) as found:
        yield found


@pytest.fixture
def far(front: Running) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{front.base}/v1", max_retries=0)


def test_it_says_what_the_other_says(client: openai.OpenAI, far: openai.OpenAI) -> None:
    given: dict[str, Any] = {
        "messages": ASKED, "max_tokens": 12, "seed": 3, "n": 2, "logprobs": True,
        "top_logprobs": 2, "stop": ["e"],
    }  # fmt: skip
    near = client.chat.completions.create(model="tiny", **given)
    told = far.chat.completions.create(model="far", **given)
    assert [one.message.content for one in told.choices] == [
        one.message.content for one in near.choices
    ]
    assert [one.finish_reason for one in told.choices] == [
        one.finish_reason for one in near.choices
    ]
    assert told.usage == near.usage
    for one, other in zip(told.choices, near.choices, strict=True):
        assert one.logprobs is not None and other.logprobs is not None
        nats = [token.logprob for token in other.logprobs.content or ()]
        assert [token.logprob for token in one.logprobs.content or ()] == pytest.approx(nats)
    texts = ["", ""]
    for chunk in far.chat.completions.create(model="far", stream=True, **given):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [one.message.content for one in near.choices]


def test_completions(client: openai.OpenAI, far: openai.OpenAI) -> None:
    given: dict[str, Any] = {"prompt": "import", "max_tokens": 8, "temperature": 0, "logprobs": 1}
    near = client.completions.create(model="tiny", **given).choices[0]
    told = far.completions.create(model="far", **given).choices[0]
    assert (told.text, told.finish_reason) == (near.text, near.finish_reason)
    with pytest.raises(openai.BadRequestError, match="behind another endpoint"):
        far.completions.create(model="far", **{**given, "echo": True})


def test_the_watch_is_ours(front: Running, service: Running) -> None:
    before = service.service.pool.get("tiny").worker.tokens_drawn
    body = {"model": "far", "messages": [{"role": "user", "content": "how to arm it"}]}
    status, _, told = front.ask("POST", "/v1/chat/completions", body)
    assert status == 400 and told["error"]["code"] == "content_filter"
    assert service.service.pool.get("tiny").worker.tokens_drawn == before
    body["messages"] = ASKED
    status, told_headers, _ = front.ask("POST", "/v1/chat/completions", {**body, "max_tokens": 3})
    assert status == 200
    with front.service.watch.audit.engine.connect() as database:
        row = database.exec_driver_sql(
            "select weights, tokens from events where request_id = ?",
            (told_headers["x-request-id"],),
        ).one()
    assert row.weights.startswith("api:tiny@") and row.tokens == 3


def test_errors_of_the_other_are_told(front: Running) -> None:
    for model, status, named in (("gone", 503, "does not answer"), ("odd", 404, "nobody")):
        for stream in (True, False):
            body = {"model": model, "messages": ASKED, "stream": stream}
            found, _, told = front.ask("POST", "/v1/chat/completions", body)
            assert found == status and named in told["error"]["message"], told
    body = {"model": "far", "messages": ASKED, "max_tokens": 3000}
    assert front.ask("POST", "/tokenize", {"model": "far", "prompt": "x"})[0] == 400
    decide = {"model": "far", "input": "x", "questions": [
        {"type": "predicate", "instructions": "y"}]}  # fmt: skip
    assert front.ask("POST", "/v1/decisions", decide)[0] == 400
    assert front.ask("GET", "/tokenizer_info")[2] == {"models": []}


def test_what_is_no_answer_is_an_error(tmp_path: Path) -> None:
    """An endpoint that says something else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def say() -> None:
            while True:
                try:
                    one, _ = listening.accept()
                except OSError:
                    return
                one.recv(65536)
                one.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: {oops\n\n")
                one.close()

        threading.Thread(target=say, daemon=True).start()
        at = f"api:x@http://127.0.0.1:{listening.getsockname()[1]}/v1"
        settings = ServiceSettings(models={"x": at}, database=f"sqlite:///{tmp_path}/a.db")
        with running(settings) as found:
            body = {"model": "x", "messages": ASKED}
            status, _, told = found.ask("POST", "/v1/chat/completions", body)
            assert status == 502 and "OpenAI's form" in told["error"]["message"]


def test_who_leaves_is_not_answered_on_over_there(
    front: Running, service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = service.service.pool.get("tiny").worker
    step = worker.engine.step

    def slowed() -> int:
        time.sleep(0.02)
        return int(step())

    monkeypatch.setattr(worker.engine, "step", slowed)
    before = worker.tokens_drawn
    connection = http.client.HTTPConnection("127.0.0.1", front.port)
    body = {"model": "far", "messages": ASKED, "n": 8, "stream": True, "max_tokens": 60}
    connection.request("POST", "/v1/chat/completions", json.dumps(body),
                       {"Content-Type": "application/json"})  # fmt: skip
    until(lambda: worker.tokens_drawn > before + 16)
    assert connection.sock is not None
    connection.sock.close()
    until(lambda: worker.open_requests == 0)
    time.sleep(0.1)
    drawn = worker.tokens_drawn - before
    assert 0 < drawn < 8 * 40
    time.sleep(0.2)
    assert worker.tokens_drawn - before == drawn
