"""The server: what it answers, to whom, and that it notices a file that grew."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from foresight.errors import UserError
from foresight.report.record_server import PAGE_ROWS, Viewer, serve
from tests.report.records import SHA, record, several, write


class Client:
    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=10)

    def get(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()

    def json(self, path: str, **words: object) -> Any:
        status, _, body = self.get(f"{path}?{urlencode(words)}")
        assert status == 200, body
        return json.loads(body)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Path]]:
    path = write(tmp_path, several(400))
    with serve(Viewer([path], lambda done: None), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Client(server.server_port), path
        server.shutdown()


def test_pages_of_rows_are_parts_of_one_order(served: tuple[Client, Path]) -> None:
    client, _ = served
    words = {"sort": "tokens", "task": "arc"}
    whole = [
        row["id"]
        for start in range(0, 400, 100)
        for row in client.json("/rows", start=start, count=100, **words)["rows"]
    ]
    assert len(whole) == len(set(whole)) == 400
    answer = client.json("/rows", start=0, count=10**6, **words)
    assert [row["id"] for row in answer["rows"]] == whole[:PAGE_ROWS]
    assert answer["summary"]["n"] == 400
    linked = client.json("/rows", start=0, count=1, item="q-8", of="large", **words)
    assert whole[linked["place"]] == 408


def test_a_record_and_its_picture(served: tuple[Client, Path]) -> None:
    client, path = served
    found = client.json("/record", row=3)
    assert found["item"] == "q-3" and found["prompt"].startswith(f"[image {SHA} 12x16]")
    status, kind, body = client.get(f"/images/{SHA}.png")
    assert (status, kind[:9], body[:4]) == (200, "image/png", b"\x89PNG")
    assert body == (path.parent / "images" / f"{SHA}.png").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/images/../records.jsonl", "/images/%2e%2e/records.jsonl", f"/images/{'0' * 64}.png",
     "/images/..%2f..%2fetc%2fpasswd", "/records.jsonl", "/favicon.ico"],
)  # fmt: skip
def test_nothing_else_is_served(served: tuple[Client, Path], path: str) -> None:
    assert served[0].get(path)[0] == 404


def test_another_name_for_this_machine_gets_nothing(served: tuple[Client, Path]) -> None:
    client, _ = served
    assert client.get("/", Host="evil.example")[0] == 403
    assert client.get("/rows?start=0&count=1", Host="127.0.0.1.evil.example:80")[0] == 403
    assert client.get("/", Host="localhost:9999")[0] == 200


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/rows?start=-1&count=5", "start '-1': must be a whole number"),
        ("/rows?start=0", "count '': must be a whole number"),
        ("/rows?start=0&count=5&sort=mood", "sort 'mood': must be one of"),
        ("/record?row=1000000", "row 1000000: there are 799"),
        ("/record?row=²", "row '²'"),
    ],
)
def test_a_wrong_request_is_told(served: tuple[Client, Path], path: str, message: str) -> None:
    status, _, body = served[0].get(path.replace("²", "%C2%B2"))
    assert status == 400 and message in body.decode()


def test_a_file_that_grew_is_read_again_with_the_page(served: tuple[Client, Path]) -> None:
    client, path = served
    with path.open("a") as stream:
        stream.write(record("new").to_line() + "\n")
    assert client.json("/rows", start=0, count=1)["summary"]["n"] == 799
    client.get("/")
    assert client.json("/rows", start=0, count=1)["summary"]["n"] == 800


def test_a_taken_port_is_told(served: tuple[Client, Path]) -> None:
    client, path = served
    with pytest.raises(UserError, match="--port 0 takes any that is free"):
        serve(Viewer([path], lambda done: None), client.connection.port)


def test_a_question_called_off_is_no_error(
    served: tuple[Client, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    client, _ = served
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", client.connection.port)) as called:
            called.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
            # Closed at once, with the answers unread: the server's next write fails.
            called.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert client.json("/rows", start=0, count=1)["summary"]["n"] == 799
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


def test_what_is_known_is_answered_while_a_search_runs(tmp_path: Path) -> None:
    viewer = Viewer([write(tmp_path, several(4))], lambda done: None)
    known = viewer.rows({"start": "0", "count": "2"})
    with viewer._lock:
        assert viewer.rows({"start": "0", "count": "2"}) == known
        waiting = threading.Thread(
            target=viewer.rows, args=({"start": "0", "count": "2", "text": "x"},)
        )
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()
