"""Keys, roles, limits, ids, sizes, origins: each guard fires."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.serve.app import build
from foresight.serve.keys import Bucket, Keys, add_key, read_keys
from foresight.serve.pool import Pool
from foresight.serve.settings import Limits, ServiceSettings
from tests.serve.service import Running, running

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    file = folder / "keys.yaml"
    return {role: add_key(file, f"a-{role}", role) for role in ("user", "reviewer", "admin")}


@pytest.fixture(scope="module")
def locked_up(run: Path, folder: Path, keys: dict[str, str]) -> Iterator[Running]:
    settings = ServiceSettings(
        models={"tiny": str(run)}, keys=folder / "keys.yaml", database=f"sqlite:///{folder}/a.db",
        limits=Limits(body_bytes=20_000),
    )  # fmt: skip
    with running(settings) as found:
        yield found


def paths(service: Running) -> list[tuple[str, str]]:
    """Every route there is, from the application itself."""
    described = service.app._app.openapi()["paths"]  # type: ignore[attr-defined]
    found = [
        (method.upper(), path.replace("{name}", "tiny").replace("{id}", "1"))
        for path, methods in described.items()
        for method in methods
    ]
    return [*found, ("GET", "/openapi.json"), ("GET", "/nowhere"), ("HEAD", "/health")]


def test_no_route_answers_without_a_key(locked_up: Running) -> None:
    asked = paths(locked_up)
    assert len(asked) > 10
    for method, path in asked:
        for headers in ({}, {"Authorization": "Bearer fs-wrong"}, {"Authorization": "Basic ???"}):
            status, told, body = locked_up.ask(method, path, {}, **headers)
            assert status == 401 and told["www-authenticate"], (method, path)
            if method != "HEAD":
                assert body["error"]["code"] == "invalid_api_key", (method, path)


def test_a_key_lets_in(locked_up: Running, keys: dict[str, str]) -> None:
    bearer = {"Authorization": f"Bearer {keys['user']}"}
    status, _, body = locked_up.ask("POST", "/v1/chat/completions", CHAT, **bearer)
    assert status == 200 and body["usage"]["completion_tokens"] > 0
    basic = base64.b64encode(f"me:{keys['user']}".encode()).decode()
    assert locked_up.ask("GET", "/v1/models", Authorization=f"Basic {basic}")[0] == 200


def test_roles(locked_up: Running, keys: dict[str, str]) -> None:
    for role, expected in (("user", 403), ("reviewer", 403), ("admin", 200)):
        headers = {"Authorization": f"Bearer {keys[role]}"}
        assert locked_up.ask("GET", "/metrics", **headers)[0] == expected


def test_every_answer_has_an_id(service: Running) -> None:
    _, told, _ = service.ask("GET", "/v1/models", x_request_id="mine-1")
    assert told["x-request-id"] == "mine-1"
    # What could end a header or a log line is not taken over.
    for given in ("a b", "x" * 65, "é"):
        _, told, _ = service.ask("GET", "/nowhere", x_request_id=given)
        assert told["x-request-id"].startswith("req-")


def test_errors_have_openais_shape(service: Running) -> None:
    for method, path, body, raw in (
        ("GET", "/nowhere", None, None),
        ("GET", "/v1/chat/completions", None, None),
        ("POST", "/v1/chat/completions", {}, None),
        ("POST", "/v1/chat/completions", None, b"{"),
        ("POST", "/v1/chat/completions", None, b"\xff\xfe"),
        ("POST", "/v1/chat/completions", [], None),
        ("POST", "/v1/chat/completions", None, b"[" * 100_000),
    ):
        status, told, answer = service.ask(method, path, body, raw)
        assert 400 <= status < 500, (path, status)
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert told["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("/v1/chat/completions", {**CHAT, "max_tokens": True}, "max_tokens"),
        ("/v1/chat/completions", {**CHAT, "seed": "1"}, "seed"),
        ("/v1/chat/completions", {**CHAT, "stream": "yes"}, "stream"),
        ("/v1/completions", {"model": "tiny", "prompt": "", "max_tokens": False}, "max_tokens"),
        ("/admin/policy", {"path": "a\0b"}, "path"),
    ],
)
def test_values_of_another_type(
    service: Running, route: str, body: dict[str, object], field: str
) -> None:
    status, _, told = service.ask("POST", route, body)
    assert status == 400 and str(told["error"]["param"]).startswith(field), told


def test_a_fault_of_ours_is_told_as_one(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "to_ask", lambda *_: 1 / 0)
    status, headers, told = service.ask("POST", "/v1/chat/completions", CHAT)
    assert status == 500 and told["error"]["code"] == "internal_error"
    assert headers["x-request-id"] in told["error"]["message"]


def test_a_body_is_bounded(locked_up: Running, keys: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {keys['user']}"}
    big = {**CHAT, "messages": [{"role": "user", "content": "x" * 30_000}]}
    status, _, answer = locked_up.ask("POST", "/v1/chat/completions", big, **headers)
    assert status == 413 and "20,000" in answer["error"]["message"]
    assert locked_up.ask("POST", "/v1/chat/completions", CHAT, **headers)[0] == 200


def test_a_body_without_a_length_is_bounded(locked_up: Running, keys: dict[str, str]) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", locked_up.port, timeout=20)
    parts = (b"x" * 4000 for _ in range(20))
    headers = {
        "Authorization": f"Bearer {keys['user']}", "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }  # fmt: skip
    connection.request("POST", "/v1/chat/completions", parts, headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413, answer.read()


def test_a_compressed_body_is_not_unpacked(service: Running) -> None:
    bomb = gzip.compress(b" " * (50 << 20))
    assert len(bomb) < 1 << 20
    status, _, told = service.ask("POST", "/v1/chat/completions", raw=bomb, Content_Encoding="gzip")
    assert status == 400 and told["error"]["type"] == "invalid_request_error"


def test_other_sites_pages_are_turned_away(service: Running) -> None:
    """A browser would send the key that it knows along."""
    post = ("POST", "/v1/chat/completions", CHAT)
    assert service.ask(*post, Origin="https://evil.example")[0] == 403
    assert service.ask(*post, Sec_Fetch_Site="cross-site")[0] == 403
    assert service.ask(*post, Origin=service.base)[0] == 200
    # A form of another site can send no JSON.
    plain = service.ask("POST", "/v1/chat/completions", raw=json.dumps(CHAT).encode(),
                        Content_Type="text/plain")  # fmt: skip
    assert plain[0] == 400
    # A name that was pointed at this machine.
    assert service.ask("GET", "/v1/models", Host="evil.example")[0] == 403


def test_requests_a_minute(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    secret = add_key(file, "slow")
    file.write_text(file.read_text().rstrip() + "\n  requests_per_minute: 2\n")
    settings = ServiceSettings(
        models={"tiny": str(run)}, keys=file, database=f"sqlite:///{tmp_path}/a.db"
    )
    with running(settings) as found:
        headers = {"Authorization": f"Bearer {secret}"}
        statuses = [found.ask("GET", "/v1/models", **headers)[0] for _ in range(3)]
        assert statuses == [200, 200, 429]
        _, told, _ = found.ask("GET", "/v1/models", **headers)
        assert 1 <= int(told["retry-after"]) <= 31


def test_tokens_a_minute(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    secret = add_key(file, "dear")
    file.write_text(file.read_text().rstrip() + "\n  tokens_per_minute: 30\n")
    settings = ServiceSettings(
        models={"tiny": str(run)}, keys=file, database=f"sqlite:///{tmp_path}/a.db"
    )
    with running(settings) as found:
        headers = {"Authorization": f"Bearer {secret}"}
        asked = {**CHAT, "max_tokens": 30}
        statuses = [
            found.ask("POST", "/v1/chat/completions", asked, **headers)[0] for _ in range(2)
        ]
        assert statuses == [200, 429]


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    bucket = Bucket(60.0, lambda: now[0])
    bucket.take(60.0)
    assert bucket.wait_seconds(1.0) == pytest.approx(1.0)
    now[0] = 1.0
    assert bucket.wait_seconds(1.0) == 0.0
    bucket.take(61.0)
    assert bucket.wait_seconds(1.0) == pytest.approx(61.0)


def test_keys_are_hashed_and_found_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    first, second = add_key(file, "ann"), add_key(file, "ben", "admin")
    text = file.read_text()
    assert first not in text and second not in text
    found = Keys(file)
    assert found.find(second) == read_keys(file)[1]
    assert found.find(first + "x") is None and found.find("") is None
    with pytest.raises(UserError, match="already"):
        add_key(file, "ann")
    with pytest.raises(UserError, match="name"):
        add_key(file, "two words")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    first = add_key(file, "ann")
    keys = Keys(file)
    second = add_key(file, "ben")
    assert keys.find(second)
    file.write_text("keys: nonsense")
    assert keys.find(first), "what was known holds while the file is broken"
    with pytest.raises(UserError, match="field keys"):
        read_keys(file)


def test_time_to_compare_does_not_tell(tmp_path: Path) -> None:
    """A key that shares its beginning with a real one is refused no later than another."""
    file = tmp_path / "keys.yaml"
    secret = add_key(file, "ann")
    for at in range(20):
        add_key(file, f"k{at}")
    keys = Keys(file)
    near, far = secret[:-1] + "~", "~" + secret[1:]
    seconds: dict[str, list[float]] = {near: [], far: [], secret: []}
    for _ in range(400):
        for one, times in seconds.items():
            start = time.perf_counter()
            keys.find(one)
            times.append(time.perf_counter() - start)
    medians = [statistics.median(times) for times in seconds.values()]
    assert max(medians) < 1.5 * min(medians)


def test_strangers_are_not_let_in_without_keys(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without a key"):
        build(ServiceSettings(models={}, host="0.0.0.0"))


def test_keys_are_never_logged(
    locked_up: Running, keys: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "foresight.serve"):
        locked_up.ask("GET", "/v1/models", Authorization=f"Bearer {keys['user']}")
        locked_up.ask("GET", f"/v1/models/{keys['user']}", Authorization=f"Bearer {keys['user']}")
        locked_up.ask("POST", "/v1/completions", {"x": keys["user"]}, Authorization="Bearer fs-bad")
    assert "a-user" in caplog.text
    assert keys["user"] not in caplog.text and "fs-bad" not in caplog.text


def test_paths_lead_nowhere_else(service: Running) -> None:
    for path in ("/..%2f..%2fetc/passwd", "/static/../../etc/passwd", "/v1/models/..%2f..%2fetc"):
        status, _, body = service.ask("GET", path)
        assert status == 404 and b"root:" not in json.dumps(body).encode()


def test_metrics(service: Running) -> None:
    service.ask("POST", "/v1/chat/completions", CHAT)
    text = service.ask("GET", "/metrics")[2].decode()
    for name in ("first_token_seconds_count", "requests_total", "cache_bytes", "tokens_total"):
        assert f"foresight_{name}" in text, name
    line = next(row for row in text.splitlines() if row.startswith("foresight_cache_bytes{"))
    assert float(line.split()[-1]) > 0
