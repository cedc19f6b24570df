"""The server of votes and grades: who may say what, and what nobody is told."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from foresight.errors import UserError
from foresight.evals.people.collection import Collection
from foresight.evals.people.desk import Sharing
from foresight.evals.people.entry import read_journal
from foresight.evals.people.vote import Vote, VoteDesk
from foresight.report.local_server import LARGEST
from foresight.report.people_server import serve_people
from tests.evals.people.samples import collected


class Client:
    """One person's connection; `path` begins behind the token."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self.base, self.port = parts.path, parts.port
        self.connection = HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        where = path if path.startswith("/") else self.base + path
        kind = {"Content-Type": "application/json"} if method == "POST" else {}
        sent = data if method == "POST" else None
        self.connection.request(method, where, sent, kind | named)
        answer = self.connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()

    def card(self) -> Any:
        return json.loads(self.ask("GET", "card")[2])["card"]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return collected(tmp_path, 6)


@pytest.fixture
def clients(collection: Collection) -> Iterator[list[Client]]:
    with VoteDesk(collection, Sharing(("ann", "ben"), 1.0)) as desk:
        server, urls = serve_people(desk, "prefer", 0)
        with server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield [Client(url) for url in urls.values()]
            server.shutdown()


def test_a_vote_is_written_with_what_stood_where(
    clients: list[Client], collection: Collection
) -> None:
    ann, ben = clients
    shown = ann.card()
    status, _, body = ann.ask("POST", "enter", {"id": shown["id"], "action": "right"})
    assert status == 200 and json.loads(body)["done"] == 1
    [vote] = read_journal(collection.votes, Vote)
    assert (vote.judge, vote.action) == ("ann", "right")
    texts = {one.model: one.output for one in collection.answers if one.item == vote.prompt}
    assert (texts[vote.left], texts[vote.right]) == (shown["left"], shown["right"])
    assert json.loads(ben.ask("GET", "card")[2])["done"] == 0
    assert json.loads(ann.ask("POST", "undo", {"done": 1})[2])["card"] == shown
    assert read_journal(collection.votes, Vote)[-1].action == "undo"


def test_nothing_that_is_sent_names_a_model(clients: list[Client]) -> None:
    sent = []
    for client in clients:
        for path in ("", "card"):
            _, headers, body = client.ask("GET", path)
            sent.append(f"{headers} {body.decode()}")
        while shown := client.card():
            said = {"id": shown["id"], "action": "tie"}
            _, headers, body = client.ask("POST", "enter", said)
            sent.append(f"{headers} {body.decode()}")
    assert len(sent) == 2 * (2 + 6)
    for word in ("alpha", "beta", "model"):
        assert not [one for one in sent if re.search(rf"\b{word}", one)], word


def test_only_who_has_the_address_gets_anything(
    clients: list[Client], collection: Collection
) -> None:
    ann, ben = clients
    assert ann.base != ben.base and len(ann.base) == 34
    said = {"id": ann.card()["id"], "action": "left"}
    for base in (
        "/",
        "/card",
        "/[",
        "//[",
        f"/{'0' * 32}/",
        f"/{'0' * 32}/card",
        "//",
        ann.base[:-2] + "/",
    ):
        assert ann.ask("GET", base)[0] == 404
        assert ann.ask("POST", base.rstrip("/") + "/enter", said)[0] == 404
    for path in (".secret", "../votes.jsonl", "images/", "images/..%2f.secret", "x", "card/x",
                 f"images/{'0' * 64}.png"):  # fmt: skip
        assert ann.ask("GET", path)[0] == 404, path
    assert ann.ask("POST", "card", {})[0] == 404
    assert collection.votes.read_text() == ""


def test_other_sites_cannot_ask_or_vote(clients: list[Client], collection: Collection) -> None:
    ann, _ = clients
    said = {"id": ann.card()["id"], "action": "left"}
    for host in ("evil.example", "127.0.0.1.evil.example:80", "[", ""):
        for method, path in (("GET", "card"), ("GET", ""), ("POST", "enter"), ("POST", "undo")):
            assert ann.ask(method, path, said, Host=host)[0] == 403, (method, path, host)
    # What a page elsewhere can send without being asked: a form, or text.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ann.ask("POST", "enter", said, Content_Type=kind)[0] == 400
        assert ann.ask("POST", "undo", {"done": 0}, Content_Type=kind)[0] == 400
    assert ann.ask("OPTIONS", "enter")[0] == 501
    assert collection.votes.read_text() == ""
    assert ann.ask("POST", "enter", said, Host=f"localhost:{ann.port}")[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"id": "0" * 16, "action": "left"}, "there is no such thing to judge"),
        ({"action": "left"}, "there is no such thing to judge"),
        ({"id": ["x"], "action": "left"}, "there is no such thing to judge"),
        ([], "expected a JSON object"),
        (b"{", "expected a JSON object"),
        (b"[" * 50_000, "expected a JSON object"),
        (b"\xff", "expected a JSON object"),
        (b"{" + b" " * LARGEST, "expected a JSON object"),
    ],
    ids=range(8),
)
def test_nonsense_is_told(
    clients: list[Client], collection: Collection, body: object, message: str
) -> None:
    status, _, told = clients[0].ask("POST", "enter", body)
    assert status == 400 and message in told.decode()
    clients[0].connection.close()
    assert clients[0].card() is not None
    assert collection.votes.read_text() == ""


def test_a_broken_request_does_not_stop_the_others(clients: list[Client]) -> None:
    for length in ("-1", "many", "\u00b2", "9" * 30, "9" * 5000):
        with socket.create_connection(("127.0.0.1", clients[0].port), timeout=5) as raw:
            head = f"POST {clients[0].base}enter HTTP/1.1\r\nHost: localhost\r\n"
            raw.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode("latin-1"))
            assert b" 400 " in raw.recv(200)
    assert clients[0].card() is not None


def test_pages_are_guarded(clients: list[Client]) -> None:
    _, headers, body = clients[0].ask("GET", "")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-inline'; script-src 'sha256-" in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert policy.split("; frame")[0] in body.decode(), "the same stands in the page"
    assert clients[0].ask("GET", "card")[1]["Content-Type"].startswith("application/json")


def test_pictures_of_prompts(clients: list[Client], collection: Collection) -> None:
    [image] = (collection.folder / "images").iterdir()
    status, headers, body = clients[0].ask("GET", f"images/{image.name}")
    assert (status, headers["Content-Type"][:9]) == (200, "image/png")
    assert body == image.read_bytes()


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "::1", "1.2.3"])
def test_an_address_is_needed(collection: Collection, host: str) -> None:
    with VoteDesk(collection, Sharing(("ann",))) as desk, pytest.raises(UserError, match=host):
        serve_people(desk, "prefer", 0, host)


def test_another_address_of_this_machine(collection: Collection) -> None:
    with VoteDesk(collection, Sharing(("ann",))) as desk:
        server, urls = serve_people(desk, "prefer", 0, "127.0.0.2")
        with server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            assert urls["ann"].startswith("http://127.0.0.2:")
            connection = HTTPConnection("127.0.0.2", server.server_port, timeout=10)
            for host, status in (("127.0.0.2", 200), ("localhost", 403)):
                connection.request("GET", urlsplit(urls["ann"]).path, headers={"Host": host})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == status
            server.shutdown()
