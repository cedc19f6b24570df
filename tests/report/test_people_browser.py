"""Judging in a real browser: keys, blindness, and that nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from foresight.evals.people.collection import Collection
from foresight.evals.people.desk import Desk, Sharing
from foresight.evals.people.entry import read_journal
from foresight.evals.people.grades import Grade
from foresight.evals.people.grading import Answers, GradeDesk
from foresight.evals.people.rubrics import read_rubrics
from foresight.evals.people.vote import Vote, VoteDesk
from foresight.report.people_server import serve_people
from tests import browser as chromium
from tests.browser import ENTER, ESCAPE, Browser
from tests.evals.people.samples import answers, collected
from tests.report.records import HOSTILE, record

pytestmark = pytest.mark.skipif(not chromium.installed(), reason=chromium.MISSING)
TAB = "\ue004"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
FOCUSED = "return document.activeElement.id"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@contextmanager
def served(page: Browser, desk: Desk[Any], kind: str) -> Iterator[str]:
    with desk:
        server, urls = serve_people(desk, kind, 0)
        with server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                page.open(urls["ann"])
                page.wait(lambda: "left" in page.text("#count"))
                yield urls["ann"]
            finally:
                page.open("about:blank")
                server.shutdown()


@contextmanager
def judging(page: Browser, collection: Collection) -> Iterator[str]:
    with served(page, VoteDesk(collection, Sharing(("ann",), 0.0)), "prefer") as url:
        yield url


@contextmanager
def grading(page: Browser, folder: Path, rubric: str) -> Iterator[str]:
    desk = GradeDesk(Answers.read(folder), read_rubrics(rubric), Sharing(("ann",), 0.0))
    with served(page, desk, "grade") as url:
        yield url


def press(page: Browser, key: str, count: str) -> None:
    page.press(key)
    page.wait(lambda: count in page.text("#count"))


def test_keys_vote_and_take_back(page: Browser, tmp_path: Path) -> None:
    collection = collected(tmp_path, 6)
    with judging(page, collection):
        shown = page.text("#card")
        for done, key in enumerate("12t0s", start=1):
            press(page, key, f"{done} judged, {6 - done} left")
        assert "Skipped. 5 judged, 1 left." in page.text("#status")
        for done in (4, 3, 2, 1, 0):
            press(page, "u", f"{done} judged")
        assert page.text("#card") == shown
        for done in range(1, 7):
            press(page, "1", f"{done} judged")
        assert "Nothing is left" in page.text("#card")
        disabled = "return [...document.querySelectorAll('#tools button')].map((b) => b.disabled)"
        assert page.run(disabled) == [True, True, True, True, False]
        press(page, "u", "5 judged, 1 left")
        assert page.log() == []
    actions = [one.action for one in read_journal(collection.votes, Vote)]
    assert actions == ["left", "right", "tie", "tie", "skip", *["undo"] * 5, *["left"] * 6, "undo"]


def test_buttons_do_the_same_and_a_held_key_votes_once(page: Browser, tmp_path: Path) -> None:
    collection = collected(tmp_path, 6)
    with judging(page, collection):
        for done, name in enumerate(("right", "tie", "left", "skip"), start=1):
            page.click(f"[data-act={name}]")
            page.wait(lambda done=done: f"{done} judged" in page.text("#count"))
        page.click("[data-act=undo]")
        page.wait(lambda: "3 judged" in page.text("#count"))
        # A key that is held down is repeated by the keyboard, beyond the arrival of the next pair.
        press_one = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '1', repeat: "
        page.run(f"{press_one}false, bubbles: true}}))")
        page.wait(lambda: "4 judged" in page.text("#count"))
        page.wait(lambda: page.run("return !busy"))
        page.run(f"{press_one}true, bubbles: true}}))")
        assert page.run("return busy") is False
        assert page.log() == []
    assert [one.action for one in read_journal(collection.votes, Vote)] == [
        "right", "tie", "left", "skip", "undo", "left"
    ]  # fmt: skip


def test_everything_is_reached_with_tab_and_is_seen(page: Browser, tmp_path: Path) -> None:
    with judging(page, collected(tmp_path, 2)):
        order = []
        for _ in range(5):
            page.press(TAB)
            focused = "const e = document.activeElement; return e.dataset.act ?? e.className"
            order.append(page.run(focused))
            outline = "return getComputedStyle(document.activeElement).outlineStyle"
            assert page.run(outline) == "solid", order
        assert order == ["text", "left", "tie", "right", "skip"], "undo has nothing to undo yet"
        names = "return [...document.querySelectorAll('section, [role], progress')].every((e) =>"
        labelled = "e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.id)"
        assert page.run(names + labelled)


def test_the_page_does_not_tell_which_model(page: Browser, tmp_path: Path) -> None:
    collection = collected(tmp_path, 6)
    with judging(page, collection) as url:
        for done in range(6):
            source = page.run("return document.documentElement.outerHTML + document.cookie")
            fetched = page.run("return Promise.all(['', 'card'].map((p) => fetch(p).then((a) => "
                               "a.text()))).then((some) => some.join())")  # fmt: skip
            stored = page.run("return JSON.stringify([{...localStorage}, {...sessionStorage}])")
            for model in collection.models:
                assert model not in source + fetched + stored + url
            press(page, "t", f"{done + 1} judged")
    journal = collection.votes.read_text()
    assert all(model in journal for model in collection.models), "the control: these are the names"


def test_a_reload_loses_nothing(page: Browser, tmp_path: Path) -> None:
    collection = collected(tmp_path, 6)
    with judging(page, collection) as url:
        press(page, "1", "1 judged")
        press(page, "2", "2 judged")
        shown = page.text("#card")
        page.open(url)
        page.wait(lambda: "2 judged, 4 left" in page.text("#count"))
        assert page.text("#card") == shown
    with judging(page, collection):
        assert page.text("#card") == shown, "nor does another server"


def start(folder: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    words = ["prefer", "judge", folder, "--judge", "ann", "--overlap", 0, "--port", port, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "foresight", *map(str, words)],
        stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "]\n":
            break
    return process, json.loads("".join(lines))[0]["url"]


def test_kill_minus_nine_loses_nothing(page: Browser, tmp_path: Path) -> None:
    """A vote given while the server is dead is sent when it is back, at the same address."""
    collection = collected(tmp_path, 6)
    process, url = start(collection.folder, 0)
    try:
        page.open(url)
        page.wait(lambda: "6 left" in page.text("#count"))
        press(page, "1", "1 judged")
        process.send_signal(signal.SIGKILL)
        process.wait()
        shown = page.text("#card")
        page.press("2")
        page.wait(lambda: "Not saved yet" in page.text("#alert"))
        assert page.text("#card") == shown and "1 judged" in page.text("#count")
        page.press("1")  # while one vote waits there is no other
        with collection.votes.open("a") as stream:
            stream.write('{"key": "what the kill cut off')
        process, again = start(collection.folder, int(url.split(":")[2].split("/")[0]))
        assert again == url
        page.wait(lambda: "2 judged, 4 left" in page.text("#count"), 20)
        assert page.text("#alert") == ""
        page.log()  # connections that were refused
    finally:
        page.open("about:blank")
        process.kill()
        process.wait()
    assert [one.action for one in read_journal(collection.votes, Vote)] == ["left", "right"]


def test_two_windows_of_one_judge(page: Browser, tmp_path: Path) -> None:
    collection = collected(tmp_path, 6)
    with judging(page, collection):
        # The other window votes on the pair that this one shows.
        page.run(
            "return fetch('enter', {method: 'POST', headers: {'Content-Type': 'application/json'},"
            "body: JSON.stringify({id: state.card.id, action: 'left'})}).then((a) => a.text())"
        )
        page.press("2")
        page.wait(lambda: "judged this one in another window" in page.text("#alert"))
        assert "1 judged, 5 left" in page.text("#count")
        press(page, "2", "2 judged")
        assert page.text("#alert") == ""
        page.log()  # the refused vote
    assert [one.action for one in read_journal(collection.votes, Vote)] == ["left", "right"]


def test_hostile_answers_are_text(page: Browser, tmp_path: Path) -> None:
    markdown = "**bold** [link](javascript:alert(1)) ![x](https://evil.example/x.png)"
    with judging(page, collected(tmp_path / "votes", 2, text=HOSTILE + markdown)):
        assert HOSTILE[:40] in page.text("#left .text") and markdown in page.text("#right .text")
        assert page.run("return window.pwned ?? null") is None
        inside = "return document.querySelectorAll('#left *, #right *').length"
        assert page.run(inside) == 4, "a heading and a block each"
        assert page.log() == []
    folder = tmp_path / "grades"
    folder.mkdir()
    # A picture that is named but not there is asked of this server alone.
    one = record("q", HOSTILE, prompt=HOSTILE, output=HOSTILE, target=[HOSTILE], choices=())
    (folder / "records.jsonl").write_text(one.to_line() + "\n")
    rubric = folder / "rubric.yaml"
    rubric.write_text(json.dumps([{"name": HOSTILE, "text": HOSTILE}, {"name": "__proto__"}]))
    with grading(page, folder, str(rubric)):
        assert page.text("#card").count(HOSTILE[:40]) >= 5
        press(page, ENTER, "1 judged")
        assert page.run("return window.pwned ?? null") is None
        assert page.run("return document.querySelectorAll('img, #card script').length") == 0
        assert page.log() == []
    [grade] = read_journal(folder / "grades.jsonl", Grade)
    assert grade.criteria == {HOSTILE: 0.0, "__proto__": 0.0}


def test_pictures_are_shown(page: Browser, tmp_path: Path) -> None:
    with judging(page, collected(tmp_path, 1)):
        image = "const i = document.querySelector('#prompt img'); return [i.alt, i.naturalWidth]"
        assert page.wait(lambda: page.run(image)[1]) == 16
        assert page.run(image)[0] == "picture of 12 by 16 pixels"


RUBRIC = [{"name": "Thesis", "text": "States one."}, {"name": "Evidence", "points": 4},
          {"name": "Style"}]  # fmt: skip


def test_grading_by_keys_alone(page: Browser, tmp_path: Path) -> None:
    folder = answers(tmp_path)
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(json.dumps(RUBRIC))
    with grading(page, folder, str(rubric)):
        for words in ("Explain number", "It is 0.", "gold ", "States one.", "of 4"):
            assert words in page.text("#card")
        page.press("1", ENTER)
        page.wait(lambda: "Fill in “Evidence”: from 0 to 4." in page.text("#alert"))
        assert page.run(FOCUSED) == "c1"
        page.press(*"9", ENTER)
        page.wait(lambda: "from 0 to 4" in page.text("#alert"))
        page.press("\ue003", *"2.5", ESCAPE, "n", *"so, so", ESCAPE, "3", ENTER)
        page.wait(lambda: "1 judged, 11 left" in page.text("#count"))
        assert page.text("#alert") == ""
        press(page, "u", "0 judged")
        press(page, "s", "1 judged")
        assert page.log() == []
    rows = read_journal(folder / "grades.jsonl", Grade)
    assert [one.action for one in rows] == ["grade", "undo", "skip"]
    assert rows[0].criteria == {"Thesis": 1.0, "Evidence": 2.5, "Style": 1.0}
    assert (rows[0].points, rows[0].max, rows[0].note) == (4.5, 6.0, "so, so")


def test_a_scale_takes_digits_at_once(page: Browser, tmp_path: Path) -> None:
    folder = answers(tmp_path)
    with grading(page, folder, "10"):
        page.press(*"10", ENTER)
        page.wait(lambda: "1 judged" in page.text("#count"))
        page.press(*"7", ENTER)
        page.wait(lambda: "2 judged" in page.text("#count"))
        assert page.log() == []
    assert [one.points for one in read_journal(folder / "grades.jsonl", Grade)] == [10.0, 7.0]


def test_half_a_grade_survives_a_reload(page: Browser, tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(json.dumps(RUBRIC))
    with grading(page, answers(tmp_path), str(rubric)) as url:
        page.press("1", "2", "3", "n", *"half a th")
        page.open(url)
        page.wait(lambda: page.texts("#note"))
        fields = "return [c0.checked, c1.value, c2.checked, note.value]"
        assert page.run(fields) == [True, "3", False, "half a th"]
        page.press(ENTER)
        page.wait(lambda: "1 judged" in page.text("#count"))
        assert page.run(fields) == [False, "", False, ""], "the next answer begins anew"
        page.press("u")
        page.wait(lambda: "0 judged" in page.text("#count"))
        assert page.run(fields) == [True, "3", False, "half a th"], "what is taken back is mended"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_on_a_phone(page: Browser, tmp_path: Path, scheme: str) -> None:
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text(json.dumps(RUBRIC))
    scheming = [{"name": "prefers-color-scheme", "value": scheme}]
    page.chrome("Emulation.setEmulatedMedia", features=scheming)
    page.chrome("Emulation.setDeviceMetricsOverride", **PHONE)
    try:
        long = collected(tmp_path / "votes", 2, text="word " * 300 + "x" * 200)
        for shown in (
            judging(page, long),
            grading(page, answers(tmp_path / "grades"), str(rubric)),
        ):
            with shown:
                assert page.run("return document.documentElement.scrollWidth") == 390
                assert page.run("return innerWidth") == 390
                sizes = "return [...document.querySelectorAll('.text, h2')].map((e) => parseFloat(getComputedStyle(e).fontSize))"  # noqa: E501
                assert min(page.run(sizes)) >= 15
                heights = "return [...document.querySelectorAll('#tools button')].map((e) => e.offsetHeight)"  # noqa: E501
                assert min(page.run(heights)) >= 40
                assert min(page.run(CONTRAST)) >= 4.5
    finally:
        page.chrome("Emulation.clearDeviceMetricsOverride")
        page.chrome("Emulation.setEmulatedMedia", features=[])


CONTRAST = """
const channel = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = (rgb) => { const [r, g, b] = rgb.match(/[\\d.]+/g).map(Number).map(channel);
  return .2126 * r + .7152 * g + .0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e)
  .backgroundColor; if (!c.startsWith('rgba(0, 0, 0, 0')) return c; } return 'rgb(255,255,255)'; };
return [...document.querySelectorAll('h1, h2, #count, .text, legend, small, label, button:enabled')]
  .map((e) => [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a))
  .map(([a, b]) => (a + .05) / (b + .05));
"""
"""Contrast of every text with what is behind it (WCAG 2.1, 1.4.3)."""
