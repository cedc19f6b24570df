"""The red team's server over HTTP, and its page in a real browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from foresight.posttrain.red_team import Exercise, Settings, read_exercise
from foresight.report.red_team_server import serve_red_team
from tests import browser as chromium
from tests.browser import ENTER, ESCAPE, Browser
from tests.evals.models import Written
from tests.posttrain.red_team_page import answer

ROOT = Path(__file__).parents[2]
SAID = {"category": "privacy", "severity": 3, "verdict": "harmful", "note": "", "ideal": ""}
in_browser = pytest.mark.skipif(not chromium.installed(), reason=chromium.MISSING)


class Client:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self.base, self.port = parts.path, parts.port

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        kind = {"Content-Type": "application/json"} if method == "POST" else {}
        sent = json.dumps(body).encode() if method == "POST" else None
        where = path if path.startswith("/") else self.base + path
        connection.request(
            method, where, sent, kind | {k.replace("_", "-"): v for k, v in headers.items()}
        )
        found = connection.getresponse()
        return found.status, dict(found.headers), found.read()

    def post(self, path: str, **body: Any) -> Any:
        status, _, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return json.loads(answer)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with Exercise(folder, Written(answer, name="m"), Settings(), "ann") as exercise:
        server, url = serve_red_team(exercise, folder, 0)
        with server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield url
            server.shutdown()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path) as url:
        yield Client(url)


def test_what_is_answered_is_on_disk(client: Client, tmp_path: Path) -> None:
    shown = client.post("ask", id="a", prompt="How?")
    [entry] = read_exercise(tmp_path)[2]
    assert entry.to_json() == shown and shown["judged"] is None
    assert client.post("ask", id="a", prompt="How?") == shown
    again = client.post("ask", id="b", prompt="And?", follows="a")
    assert [one["role"] for one in again["turns"]] == ["user", "assistant", "user"]
    judged = client.post("judge", id="a", **SAID)
    assert judged["judged"] == SAID
    state = json.loads(client.ask("GET", "state")[2])
    assert state["entries"] == [judged, again] and state["expert"] == "ann"
    assert [one.to_json() for one in read_exercise(tmp_path)[2]] == state["entries"]


def test_nonsense_is_told(client: Client, tmp_path: Path) -> None:
    client.post("ask", id="a", prompt="How?")
    for path, body, words in (
        ("judge", {**SAID, "id": "z"}, b"no such answer"),
        ("judge", {**SAID, "id": "a", "verdict": "x"}, b"field verdict"),
        ("judge", {"id": "a"}, b"field verdict"),
        ("ask", {"id": "b"}, b"field prompt: empty"),
        ("ask", {"prompt": "x"}, b"field id"),
        ("ask", [], b"expected a JSON object"),
    ):
        status, _, told = client.ask("POST", path, body)
        assert status == 400 and words in told, (path, body, told)
    assert client.ask("POST", "undo", {})[0] == 404
    assert client.ask("GET", "entries.jsonl")[0] == 404
    assert len((tmp_path / "entries.jsonl").read_text().splitlines()) == 1


def test_only_the_expert_is_answered(client: Client, tmp_path: Path) -> None:
    body = {"id": "a", "prompt": "How?"}
    for base in ("/", f"/{'0' * 32}/"):
        assert client.ask("GET", f"{base}state")[0] == 404
        assert client.ask("POST", f"{base}ask", body)[0] == 404
    assert client.ask("POST", "ask", body, Host="evil.example")[0] == 403
    assert client.ask("POST", "ask", body, Content_Type="text/plain")[0] == 400
    assert (tmp_path / "entries.jsonl").read_text() == ""
    status, headers, page = client.ask("GET", "")
    assert status == 200 and "script-src 'sha256-" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer" and b"{%" not in page


def start(folder: Path, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.posttrain.red_team_page", str(folder), str(port)],
        stdout=subprocess.PIPE, text=True, env=os.environ, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_kill_minus_nine_loses_nothing(tmp_path: Path) -> None:
    process, url = start(tmp_path)
    try:
        shown = [Client(url).post("ask", id=f"q{at}", prompt=f"Question {at}?") for at in range(5)]
        judged = Client(url).post("judge", id="q2", **SAID)
        threading.Timer(0.3, process.send_signal, [signal.SIGKILL]).start()
        with pytest.raises((ConnectionError, OSError)):  # killed while it answers
            Client(url).post("ask", id="slow", prompt="Slow?")
        process.wait()
        process, again = start(tmp_path, Client(url).port)
        assert again == url, "the address is the same after a restart"
        state = json.loads(Client(url).ask("GET", "state")[2])
        assert state["entries"] == [*shown[:2], judged, *shown[3:]]
        assert Client(url).post("ask", id="slow", prompt="Slow?")["answer"]
    finally:
        process.kill()
        process.wait()


# In a browser.


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def opened(page: Browser, url: str) -> None:
    page.open(url)
    page.wait(lambda: "asked" in page.text("#count"))
    page.wait(lambda: page.run("return !document.querySelector('#ask').disabled"))


def control_enter(page: Browser) -> None:
    for event in ("keyDown", "keyUp"):
        page.chrome("Input.dispatchKeyEvent", type=event, key="Enter", code="Enter", modifiers=2,
                    windowsVirtualKeyCode=13)  # fmt: skip


@in_browser
def test_the_keyboard_alone(page: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as url:
        opened(page, url)
        page.press("p", *"How <i>?")
        control_enter(page)
        page.wait(lambda: "1 asked, 0 judged" in page.text("#count"))
        page.wait(lambda: page.run("return !document.querySelector('#save').disabled"))
        assert "<b>" in page.text("#turns") and "How <i>?" in page.text("#turns")
        page.press(ENTER)
        assert "Choose a verdict first" in page.text("#alert")
        page.press("4", ENTER)
        assert "Choose a category first" in page.text("#alert")
        page.press("p", "r", "i", ESCAPE)
        page.press("+", "+", "n", *"mild", ESCAPE, "i", *"It is so.", ESCAPE, ENTER)
        page.wait(lambda: "1 asked, 1 judged" in page.text("#count"))
        page.wait(lambda: page.run("return !document.querySelector('#ask').disabled"))
        page.press("g", "p", *"And?")
        control_enter(page)
        page.wait(lambda: "2 asked" in page.text("#count"))
        page.wait(lambda: page.run("return !document.querySelector('#save').disabled"))
        page.press("k")
        assert page.run("return document.querySelector('#note').value") == "mild"
        page.press("j", "2", ENTER)
        page.wait(lambda: "2 judged" in page.text("#count"))
        assert page.log() == []
        page.open("about:blank")
    first, second = read_exercise(tmp_path)[2]
    assert first.judged and second.judged
    said = first.judged
    assert (said.verdict, said.category, said.severity, said.note, said.ideal) == (
        "refused wrongly", "privacy", 2, "mild", "It is so."
    )  # fmt: skip
    assert second.judged.verdict == "fine" and len(second.asked.turns) == 3


@in_browser
def test_a_reload_loses_nothing(page: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as url:
        opened(page, url)
        page.choose("#prompt", "How is it?")
        opened(page, url)
        assert page.run("return document.querySelector('#prompt').value") == "How is it?"
        page.click("#ask")
        page.wait(lambda: "1 asked" in page.text("#count"))
        page.choose("#note", "half a note")
        page.run("document.querySelector('input[name=verdict]').click()")
        opened(page, url)
        assert page.run("return document.querySelector('#note').value") == "half a note"
        assert page.run("return document.querySelector('input[name=verdict]').checked")
        # Reloaded while the model answers: the answer is there, the prompt is not asked again.
        page.choose("#prompt", "Slow one?")
        page.run("document.querySelector('#ask').click(); onbeforeunload = null")
        page.chrome("Page.navigate", url="about:blank")
        page.wait(lambda: len(read_exercise(tmp_path)[2]) == 2)
        opened(page, url)
        assert "2 asked" in page.text("#count")
        assert page.run("return document.querySelector('#prompt').value") == ""
        page.open("about:blank")
    assert read_exercise(tmp_path)[2][0].judged is None


@in_browser
def test_a_prompt_asked_of_a_dead_server_is_asked_when_it_is_back(
    page: Browser, tmp_path: Path
) -> None:
    process, url = start(tmp_path)
    try:
        opened(page, url)
        process.kill()
        process.wait()
        page.choose("#prompt", "Still there?")
        page.click("#ask")
        page.wait(lambda: "does not answer" in page.text("#alert"))
        process, again = start(tmp_path, Client(url).port)
        assert again == url
        page.wait(lambda: "1 asked" in page.text("#count"))
        page.wait(lambda: page.text("#alert") == "")
        assert len(read_exercise(tmp_path)[2]) == 1
        page.open("about:blank")
    finally:
        process.kill()
        process.wait()
