"""The chat page and the reviewers' desk in a real browser."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from foresight.inference.language_model import Completion, GenerateRequest
from foresight.serve.audit import FEEDBACK, LABELS
from foresight.serve.keys import add_key
from foresight.serve.settings import ServiceSettings
from foresight.serve.worker import Delta, Worker
from tests import browser as chromium
from tests.browser import ENTER, ESCAPE, Browser
from tests.serve.service import Running, running

pytestmark = pytest.mark.skipif(not chromium.installed(), reason=chromium.MISSING)
SHOTS = os.environ.get("FORESIGHT_SCREENSHOTS")
"""A folder for screenshots, to be looked at."""
XSS = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
POLICY = """
sample_rate: 1.0
categories: [{name: weapons, rules: [how to arm]}]
"""
CONTRAST = """
const channel = (v) => v <= 10 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
const ground = (e) => { for (; e; e = e.parentElement) {
  const c = numbers(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > 0.99) return c; }
  return [255, 255, 255]; };
const all = 'button, h1, h2, p, label, .text, select, textarea, th, td, a, input';
return [...document.querySelectorAll(all)]
  .filter((e) => e.offsetParent && !e.disabled).map((e) => {
    const a = light(numbers(getComputedStyle(e).color)), b = light(ground(e));
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 60)]; })
  .filter(([ratio]) => ratio < 4.5);
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    return file, {role: add_key(file, role, role) for role in ("user", "reviewer")}


@pytest.fixture(scope="module")
def service(
    run: Path, keys: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "policy.yaml").write_text(POLICY)
    settings = ServiceSettings(
        models={"tiny": str(run), "<b>twin</b>": str(run)}, keys=keys[0],
        policy=folder / "policy.yaml", database=f"sqlite:///{folder}/a.db",
    )  # fmt: skip
    with running(settings) as found:
        yield found


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(service: Running, keys: tuple[Path, dict[str, str]], window: Browser) -> Browser:
    window.log()  # of the test before
    enter(window, service, keys[1]["user"], "/")
    window.wait(lambda: window.run("return document.querySelectorAll('#model option').length") == 2)
    assert complaints(window) == []
    return window


@pytest.fixture
def desk(service: Running, keys: tuple[Path, dict[str, str]], window: Browser) -> Browser:
    enter(window, service, keys[1]["reviewer"], "/review")
    window.wait(lambda: window.text("#who") == "reviewer")
    return window


def enter(window: Browser, service: Running, key: str, path: str) -> None:
    """As who types a key into the browser's own question, which asks once."""
    window.open(f"http://x:{key}@127.0.0.1:{service.port}/")
    window.open(f"{service.base}{path}")


def complaints(page: Browser) -> list[str]:
    """Of the pages; below an address with a key in it, as `enter` opens first, no style loads."""
    return [one for one in page.log() if "//x:" not in one]


def shoot(page: Browser, name: str) -> None:
    if SHOTS:
        page.screenshot(Path(SHOTS) / f"{name}.png")


def say(page: Browser, text: str) -> None:
    page.choose("#said", text)
    page.run("document.querySelector('#said').focus()")
    page.press(ENTER)


def answered(page: Browser, count: int = 1) -> list[str]:
    page.wait(lambda: page.run("return !document.querySelector('#send').disabled"))
    texts = page.texts(".assistant .text")
    assert len(texts) == count, texts
    return texts


def rows(service: Running, table: sql.Table) -> list[dict[str, Any]]:
    with service.service.watch.audit.engine.connect() as database:
        return [dict(row) for row in database.execute(sql.select(table)).mappings()]


class Scripted:
    """What a model is made to say, in pieces, the last only when it is let go."""

    def __init__(self, *pieces: str, endless: bool = False) -> None:
        self.pieces, self.endless, self.left = pieces, endless, False
        self.asked: list[GenerateRequest] = []

    async def __call__(
        self, worker: Worker, request: GenerateRequest
    ) -> AsyncIterator[Delta | Completion]:
        import asyncio

        self.asked.append(request)
        try:
            for piece in self.pieces:
                yield Delta(0, piece)
            while self.endless:
                await asyncio.sleep(0.02)
                yield Delta(0, "on ")
            yield Completion("".join(self.pieces), "stop", prompt_tokens=1, completion_tokens=2)
        finally:
            self.left = True


def script(monkeypatch: pytest.MonkeyPatch, said: Scripted) -> Scripted:
    # A plain function, so that it becomes a method.
    monkeypatch.setattr(Worker, "generate", lambda *asked: said(*asked))  # noqa: PLW0108
    return said


def test_a_conversation(page: Browser, service: Running) -> None:
    page.choose("#longest", "12")
    say(page, "How many are there?")
    [text] = answered(page)
    assert text
    say(page, "And now?")
    assert answered(page, 2)[0] == text
    shoot(page, "chat")
    assert complaints(page) == []
    event = service.service.watch.audit
    with event.engine.connect() as database:
        newest = database.exec_driver_sql(
            "select input from events order by id desc limit 1"
        ).scalar()
    assert [one["role"] for one in json.loads(newest or "")] == ["user", "assistant", "user"]


def test_a_system_message_goes_along(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    said = script(monkeypatch, Scripted("yes"))
    page.run("document.querySelector('details').open = true")
    page.choose("#system", "Be brief.")
    say(page, "Hi")
    answered(page)
    assert "Be brief." in str(said.asked[0].prompt)


def test_stop(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    said = script(monkeypatch, Scripted("on ", endless=True))
    say(page, "Go")
    page.wait(lambda: "on on" in page.text(".assistant .text"))
    page.press(ESCAPE)
    page.wait(lambda: said.left)
    [text] = answered(page)
    assert text.startswith("on on") and "Stopped." in page.text(".assistant")
    assert page.run("return document.activeElement.id") == "said"


def test_edit_and_retry(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, Scripted("first"))
    say(page, "One")
    answered(page)
    script(monkeypatch, Scripted("second"))
    page.run(
        "[...document.querySelectorAll('button')].find((b) => b.textContent == 'Retry').click()"
    )
    page.wait(lambda: page.texts(".assistant .text") == ["second"])
    answered(page)
    page.run(
        "[...document.querySelectorAll('button')].find((b) => b.textContent == 'Edit').click()"
    )
    assert page.run("return document.querySelector('#said').value") == "One"
    assert page.texts(".turn") == []
    script(monkeypatch, Scripted("third"))
    say(page, "Two")
    assert answered(page) == ["third"]
    assert page.texts(".user .text") == ["Two"]


def test_two_models_side_by_side(page: Browser) -> None:
    assert page.texts("#model option") == ["tiny", "<b>twin</b>"]
    page.choose("#other", "<b>twin</b>")
    page.choose("#temperature", "0")
    page.choose("#longest", "8")
    say(page, "Which?")
    one, other = answered(page, 2)
    assert one == other != "", "the same weights under two names"
    assert page.texts(".assistant h2") == ["tiny", "<b>twin</b>"]
    places = page.run(
        "return [...document.querySelectorAll('.assistant')]"
        ".map((e) => e.getBoundingClientRect().top)"
    )
    assert places[0] == places[1]
    shoot(page, "two-models")


def test_colours_of_probability(page: Browser) -> None:
    page.click("#logprobs")
    page.choose("#longest", "8")
    page.choose("#temperature", "0")
    say(page, "How many are there?")
    answered(page)
    tokens = page.run(
        "return [...document.querySelectorAll('.token')]"
        ".map((e) => [e.title, e.style.backgroundColor])"
    )
    assert len(tokens) >= 4 and all("%" in title for title, _ in tokens)
    assert len({colour for _, colour in tokens}) > 1
    shoot(page, "colours")


def test_a_picture_is_sent(page: Browser, service: Running) -> None:
    """Pasted as people do: made small enough, shown, sent, and in the log."""
    page.choose("#longest", "4")
    page.run(
        """
        const canvas = Object.assign(document.createElement('canvas'), {width: 300, height: 150});
        const c = canvas.getContext('2d'); c.fillStyle = 'red'; c.fillRect(0, 0, 300, 150);
        return new Promise((done) => canvas.toBlob((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], 'a.png', {type: 'image/png'}));
          document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}));
          done(true); }));
        """
    )
    page.wait(lambda: page.run("return document.querySelectorAll('#pictures img').length") == 1)
    say(page, "What is it?")
    answered(page)
    assert page.run("return document.querySelectorAll('.user img').length") == 1
    with service.service.watch.audit.engine.connect() as database:
        newest = database.exec_driver_sql(
            "select input from events order by id desc limit 1"
        ).scalar()
    [message] = json.loads(newest or "")
    assert message["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_feedback_arrives(page: Browser, service: Running) -> None:
    page.choose("#longest", "4")
    say(page, "Well?")
    answered(page)
    page.choose(".assistant .tools input", "not kind")
    page.run(
        "[...document.querySelectorAll('button')].find((b) => b.textContent == 'unsafe').click()"
    )
    page.wait(lambda: "Noted" in page.text("#status"))
    found = rows(service, FEEDBACK)[-1]
    assert (found["verdict"], found["why"], found["key"]) == ("unsafe", "not kind", "user")


def test_blocked_is_told(page: Browser) -> None:
    say(page, "tell me how to arm it")
    answered(page)
    assert "weapons" in page.text(".assistant .error")


def test_what_a_model_says_is_never_markup(page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, Scripted(XSS))
    say(page, XSS)
    assert answered(page) == [XSS]
    assert page.texts(".user .text") == [XSS]
    assert page.run("return document.title") == "Chat"
    # And if it had become markup: the policy of the page stops it.
    page.run("document.querySelector('main').insertAdjacentHTML('beforeend', arguments[0])", XSS)
    page.wait(lambda: any("Content Security Policy" in one for one in page.log()))
    assert page.run("return document.title") == "Chat"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "desk"])
def test_it_can_be_read_and_used(
    request: pytest.FixtureRequest, which: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contrast, names for all that is pressed or filled in, on a phone no sideways scrolling."""
    page: Browser = request.getfixturevalue(which)
    page.chrome("Emulation.setEmulatedMedia", features=[
        {"name": "prefers-color-scheme", "value": scheme}])  # fmt: skip
    if which == "page":
        script(monkeypatch, Scripted("Some text."))
        say(page, "Hi")
        answered(page)
    assert page.run(CONTRAST) == []
    nodes = page.chrome("Accessibility.getFullAXTree")["nodes"]
    used = ("textbox", "button", "combobox", "checkbox", "spinbutton", "link")
    nameless = [
        one for one in nodes
        if one.get("role", {}).get("value") in used and not one.get("name", {}).get("value")
    ]  # fmt: skip
    assert nameless == []
    page.resize(400, 800)
    try:
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        shoot(page, f"{which}-{scheme}-phone")
    finally:
        page.resize(1400, 900)
        page.chrome("Emulation.setEmulatedMedia", features=[])


def test_review(
    service: Running, keys: tuple[Path, dict[str, str]], page: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From what was asked to a label in the database and a file."""
    script(monkeypatch, Scripted(XSS))
    say(page, f"hello {XSS}")
    answered(page)
    say(page, "how to arm it")
    page.wait(lambda: page.texts(".assistant .error") != [])
    page.log()  # the blocked request's status
    enter(page, service, keys[1]["reviewer"], "/review")
    page.wait(lambda: len(page.texts(".case")) >= 2)
    shoot(page, "review")
    assert any(XSS in text for text in page.texts(".case .text"))
    assert page.run("return document.title") == "Review"
    before = len(rows(service, LABELS))
    page.choose(".case:last-child textarea", "I would rather not say.")
    page.run("document.querySelector('.case:last-child .tools button:nth-child(2)').click()")
    page.wait(lambda: len(rows(service, LABELS)) == before + 1)
    found = rows(service, LABELS)[-1]
    assert (found["verdict"], found["better"]) == ("weapons", "I would rather not say.")
    assert found["reviewer"] == "reviewer"
    page.wait(lambda: "n = 1" in page.text("#standing"))
    told = page.run(
        "return fetch(new URL('/review/export/sft', location.origin)).then((r) => r.text())"
    )
    assert "I would rather not say." in told
    assert complaints(page) == []


def test_a_users_key_opens_no_desk(service: Running, keys: tuple[Path, dict[str, str]]) -> None:
    headers = {"Authorization": f"Bearer {keys[1]['user']}"}
    for path in ("/review", "/review/cases", "/review/export/sft"):
        assert service.ask("GET", path, **headers)[0] == 403
    assert service.ask("GET", "/pages/..%2fapp.py", **headers)[0] == 404
