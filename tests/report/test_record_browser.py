"""The page in a real browser: what a person sees, types and links to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from foresight.report.record_index import RecordIndex
from foresight.report.record_page import record_page
from foresight.report.record_query import Query, row_json, run
from foresight.report.record_server import Viewer, serve
from tests import browser as chromium
from tests.browser import ESCAPE, Browser
from tests.report.records import HOSTILE, SHA, hostile, several, write

pytestmark = pytest.mark.skipif(not chromium.installed(), reason=chromium.MISSING)
FIRST = "#rows tr.row:not(.space) a"
SELECTED = "#rows tr[aria-current]"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("records"), several(400)).parent


@pytest.fixture(scope="module")
def live(folder: Path) -> Iterator[str]:
    with serve(Viewer([folder], lambda done: None), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def static(folder: Path) -> str:
    path = folder / "page.html"
    path.write_text(record_page(RecordIndex.open([folder])))
    return path.as_uri()


@pytest.fixture(params=["live", "static"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def go(page: Browser, address: str, **words: str) -> None:
    """Load afresh; a change of the part behind # alone would not."""
    page.open("about:blank")
    page.open(f"{address}#{urlencode(words)}")
    page.wait(
        lambda: page.text("#summary") and page.text("#rows") and "…" not in page.text("#rows")
    )


def test_rows_scroll_to_the_very_last(page: Browser, address: str) -> None:
    go(page, address)
    assert page.text("#summary").startswith("799 records · mean ")
    assert page.texts(FIRST)[0] == "q-0"
    assert len(page.texts("#rows tr.row")) < 60
    page.run("const list = document.getElementById('list'); list.scrollTop = list.scrollHeight")
    page.wait(lambda: page.texts(FIRST)[-1:] == ["q-398 · 2"])
    assert page.log() == []


def test_keys_walk_search_and_leave(page: Browser, address: str) -> None:
    go(page, address)
    page.press("j", "j", "j", "k")
    page.wait(lambda: page.texts("#detail h2") == ["q-1 · sample 1"])
    assert page.texts(f"{SELECTED} a") == ["q-1 · 1"]
    page.press("/", *"«12»")
    page.wait(lambda: page.text("#summary").startswith("2 records"))
    assert page.texts(FIRST) == ["q-12", "q-12"]
    page.press(ESCAPE)
    assert page.run("return document.activeElement.id") == "list"
    assert page.run("return document.getElementById('text').value") == "«12»"
    page.press("j")
    page.wait(lambda: page.texts("#detail mark") == ["«12»"])
    page.press(ESCAPE)
    assert page.run("return document.getElementById('detail').hidden")
    go(page, address)
    page.press(*"jjjjjjjjjjjjk")
    page.wait(lambda: page.texts("#detail h2") == ["q-10 · sample 1"])


def test_a_record_shows_everything(page: Browser, address: str) -> None:
    go(page, address, item="q-7")
    page.wait(lambda: page.texts("#detail h2") == ["q-7 · sample 1"])
    detail = page.text("#detail")
    for words in ("Question 7\nÉtat «7»", "I say 49\nsmall", "note 7", "law", "mmlu"):
        assert words in detail, detail
    image = "const i = document.querySelector('#detail img'); return [i.alt, i.naturalWidth]"
    assert page.wait(lambda: page.run(image)[1]) == 16
    assert page.run(image)[0] == "picture of 12 by 16 pixels"
    rows = page.texts("#detail tbody tr")
    # exp(-0.7) / (exp(-0.7) + exp(-1.0)) = 57.4 %; the second is right, the first likeliest.
    assert rows[0].split() == ["A", "Mars", "-0.700", "57.4", "%", "likeliest"]
    assert rows[1].split() == ["B", "Venus", "-1.000", "42.6", "%", "target"]
    widths = page.run("return [...document.querySelectorAll('.bar i')].map((e) => e.style.width)")
    assert widths == ["57.44%", "42.56%"]
    go(page, address, item="q-15", of="large")
    page.wait(lambda: "no score" in page.text("#detail"))


def test_two_models_stand_side_by_side(page: Browser, address: str) -> None:
    go(page, address)
    page.choose("#against", "large")
    page.wait(lambda: "pairs" in page.text("#summary"))
    assert page.run("return document.getElementById('model').value") == "small"
    page.click("#differ")
    page.wait(lambda: not page.text("#summary").startswith("399 pairs"))
    scores = page.run(
        "return [...document.querySelectorAll('#rows tr.row')].map("
        "(row) => [row.children[1].innerText, row.children[4].innerText])"
    )
    assert scores and all(a != b for a, b in scores)
    page.press("j")
    page.wait(lambda: len(page.texts("#detail .sides > section")) == 2)
    sides = page.texts("#detail .sides > section")
    assert "small" in sides[0] and "large" in sides[1]
    assert page.texts("#detail h3").count("Prompt") == 1


def test_sorting_by_a_click_shows_the_worst_margin_first(page: Browser, address: str) -> None:
    go(page, address)
    page.click("[data-sort=margin]")
    page.wait(lambda: page.texts("[aria-sort=ascending]") == ["margin ▲"])
    cell = (
        "return [...document.querySelectorAll('#rows tr.row')].map((r) => r.children[4].innerText)"
    )
    margins = [float(text) for text in page.wait(lambda: page.run(cell)) if text]
    assert margins == sorted(margins) and margins[0] < -10
    page.click("[data-sort=margin]")
    page.wait(lambda: page.texts("[aria-sort=descending]") == ["margin ▼"])
    assert next(float(text) for text in page.run(cell)) > 10


def test_the_address_leads_back(page: Browser, address: str) -> None:
    go(page, address, task="arc", sort="tokens", descending="1")
    page.press(*"jjjjj")
    page.wait(lambda: page.texts("#detail h2") and page.texts(f"{SELECTED} a"))
    page.wait(
        lambda: page.texts(f"{SELECTED} a")[0].split()[0] == page.text("#detail h2").split()[0]
    )
    here, title = page.run("return location.href"), page.text("#detail h2")
    page.open("about:blank")
    page.open(here)
    page.wait(lambda: page.texts("#detail h2") == [title])
    assert page.run("return document.getElementById('task').value") == "arc"
    page.run("location.hash = arguments[0]", urlencode({"item": "q-390", "of": "large"}))
    page.wait(lambda: page.texts("#detail h2") == ["q-390"])
    assert page.texts(f"{SELECTED} a") == ["q-390"], "a link scrolls to its row"
    go(page, address, item="nothing")
    assert "the linked record is not among them" in page.text("#summary")


def test_the_last_word_typed_wins(page: Browser, live: str) -> None:
    go(page, live)
    # Answers come in the reverse order of the questions, and cannot be called off.
    page.run(
        "window.arrived = []; let delay = 900; const ask = remote.rows;"
        "remote.rows = async (query, start, link) => { const wait = delay -= 300;"
        "const answer = await ask(query, start, link);"
        "await new Promise((done) => setTimeout(done, wait));"
        "arrived.push(query.text); return answer; };"
        "(async () => { for (const text of ['Question 1', 'Question 12', 'Question 123']) {"
        "query = { text }; refresh(false);"
        "await new Promise((done) => setTimeout(done, 20)); } })()"
    )
    page.wait(lambda: page.run("return arrived.length") == 3)
    assert page.run("return arrived") == ["Question 123", "Question 12", "Question 1"]
    assert page.text("#summary").startswith("2 records")
    assert page.texts(FIRST) == ["q-123", "q-123"]


@pytest.mark.parametrize("form", ["live", "static"])
def test_hostile_records_do_nothing(page: Browser, tmp_path: Path, form: str) -> None:
    path = write(tmp_path, [hostile()])
    viewer = Viewer([path], lambda done: None)
    with serve(viewer, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "page.html").write_text(record_page(viewer.index, HOSTILE))
        at = f"http://127.0.0.1:{server.server_port}/"
        go(page, at if form == "live" else (tmp_path / "page.html").as_uri())
        page.press("j")
        page.wait(lambda: "grader" in page.text("#detail") or "deep" in page.text("#detail"))
        assert page.run("return window.pwned ?? null") is None
        assert page.run("return document.querySelectorAll('img, #detail script').length") == 0
        assert HOSTILE[:40] in page.text("#detail pre")
        assert page.log() == []
        server.shutdown()


def test_the_policy_stops_what_escaping_would_miss(page: Browser, tmp_path: Path) -> None:
    html = record_page(several(2))
    injected = html.replace("<main", "<script>window.pwned = 1</script><main")
    unguarded = injected.replace('http-equiv="Content-Security-Policy"', "")
    for name, text, pwned in (("guarded", injected, None), ("unguarded", unguarded, 1)):
        (tmp_path / name).with_suffix(".html").write_text(text)
        page.open((tmp_path / f"{name}.html").as_uri())
        assert page.run("return window.pwned ?? null") == pwned
    page.log()


def test_the_page_alone_finds_what_the_server_finds(
    page: Browser, folder: Path, static: str
) -> None:
    index = RecordIndex.open([folder])
    queries = [
        Query(), Query(task="arc", reason="ok", sort="item"), Query(verdict="unscored"),
        Query(group="LAW", sort="tokens", descending=True), Query(group="law", sort="group"),
        Query(text="QUESTION 1", sort="answer"), Query(text="éTAT «2", sort="margin"),
        Query(model="small", against="large", sort="other_score", descending=True),
        Query(model="large", against="small", differ=True, text="say 1"), Query(text="never"),
        Query(sort="target", descending=True), Query(descending=True), Query(verdict="partly"),
    ]  # fmt: skip
    go(page, static)
    for query in queries:
        result = run(index, query)
        words = {name: value for name, value in vars(query).items() if value}
        words |= {name: "1" for name, value in words.items() if value is True}
        found = page.run("return local.rows(arguments[0], 0, null)", words)
        pairs = list(zip(result.rows.tolist(), result.others.tolist(), strict=True))[:100]
        assert found["rows"] == json.loads(json.dumps([row_json(index, *pair) for pair in pairs]))
        flat = json.dumps(result.summary, sort_keys=True)
        assert _rounded(found["summary"]) == _rounded(json.loads(flat)), query


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 9) if isinstance(value, float) else value


def test_two_million_rows_scroll_to_both_ends(page: Browser, live: str) -> None:
    go(page, live)
    page.run(
        "const n = 2e6, summary = { n, scored: 0, mean: null, interval: null };"
        "const fake = (id) => ({ id, item: `q-${id}`, sample: 0, model: 'm', task: 't', group: '',"
        " reason: 'ok', answer: '', target: '', score: null, margin: null, tokens: 0, weight: 1 });"
        "remote.rows = async (query, start) => ({ summary, rows: Array.from("
        "{ length: Math.min(100, n - start) }, (_, at) => fake(start + at)) });"
        "remote.record = async (id) => ({ ...fake(id), prompt: '', output: '', choices: [],"
        " logprobs: [], right: null, details: [], unknown: [], key: '' });"
        "query = {}; refresh(false)"
    )
    page.wait(lambda: page.text("#summary").startswith("2,000,000"))
    page.run("document.getElementById('list').scrollTop = 1e9")
    page.wait(lambda: page.texts(FIRST)[-1:] == ["q-1999999"])
    for place in (1_234_567, 3, 1_999_999, 0):
        page.run("pick(arguments[0])", place)
        page.wait(lambda at=place: page.texts(f"{SELECTED} a") == [f"q-{at}"])
        page.wait(lambda: _in_sight(page))


def _in_sight(page: Browser) -> bool:
    return bool(
        page.run(
            "const row = document.querySelector(arguments[0])?.getBoundingClientRect();"
            "const list = document.getElementById('list').getBoundingClientRect();"
            "return row && row.top >= list.top + 30 && row.bottom <= list.bottom + 1",
            SELECTED,
        )
    )


def test_a_missing_picture_is_told(page: Browser, tmp_path: Path) -> None:
    path = write(tmp_path, several(2))
    (tmp_path / "images" / f"{SHA}.png").unlink()
    with serve(Viewer([path], lambda done: None), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        go(page, f"http://127.0.0.1:{server.server_port}/", item="q-0")
        page.wait(lambda: f"{SHA} 12x16] (the file is not there)" in page.text("#detail"))
        server.shutdown()
    page.log()
