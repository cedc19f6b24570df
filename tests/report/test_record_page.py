"""The page as a file: whole in itself, the same every time, its script the only one that runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from foresight.report.record_index import RecordIndex
from foresight.report.record_page import live_page, record_page, to_script
from tests.report.records import HOSTILE, SHA, hostile, record, several, write


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script"
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    @property
    def data(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.scripts[0])
        return found


def test_the_page_holds_its_records_and_pictures(tmp_path: Path) -> None:
    write(tmp_path, [])
    made = several(5)
    html = record_page(made, folder=tmp_path)
    assert html == record_page(iter(made), folder=tmp_path)
    data = Parsed(html).data
    assert len(data["rows"]) == len(data["records"]) == 9  # type: ignore[arg-type]
    png = base64.b64encode((tmp_path / "images" / f"{SHA}.png").read_bytes()).decode()
    assert data["pictures"] == {SHA: f"data:image/png;base64,{png}"}
    assert Parsed(record_page(made)).data["pictures"] == {}


def test_a_page_of_some_says_of_how_many_and_keeps_pairs_together() -> None:
    data = Parsed(record_page(several(60), limit=10)).data
    assert data["notes"] == ["this page holds 10 of 119 records"]
    records: list[dict[str, object]] = data["records"]  # type: ignore[assignment]
    assert [one["id"] for one in records] == list(range(10))
    assert [one["item"] for one in records] == 2 * [f"q-{at}" for at in range(5)]
    assert dict(data["facets"]["model"]) == {"small": 5, "large": 5}  # type: ignore[index]


@pytest.mark.parametrize("live", [False, True])
def test_hostile_text_stays_text(live: bool) -> None:
    index = RecordIndex.of([hostile()])
    plain = Parsed(live_page(RecordIndex.of([record()]), "title"))
    html = live_page(index, HOSTILE) if live else record_page(index, HOSTILE)
    page = Parsed(html)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.scripts[1] == plain.scripts[1]
    assert page.data["facets"]["task"] == [[HOSTILE, 1]]  # type: ignore[index]
    # Without the escaping the same text does end the element.
    broken = html.replace("\\u003c", "<")
    assert Parsed(broken).scripts[1] == "window.pwned = 1"


def test_only_the_script_of_the_page_may_run_and_nothing_is_fetched() -> None:
    page = Parsed(record_page(several(3)))
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv")) or ""
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    addresses = [a.get(name) for _, a in page.tags for name in ("src", "href", "action")]
    assert {one for one in addresses if one} == {"data:,"}
    handlers = [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert handlers == []


def test_every_field_has_a_label() -> None:
    html = record_page([record()])
    fields = re.findall(r"<(?:input|select)\b[^>]*>", html)
    labelled = re.findall(r"<label[^>]*>[^<]*<(?:input|select)\b|<label[^>]*><input\b", html)
    assert len(fields) == len(labelled) == 8


def _contrast(first: str, second: str) -> float:
    """WCAG 2.2, 1.4.3: ratio of relative luminances."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_edges_can_be_told_from_their_ground(scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", record_page([record()]), re.S)[scheme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for ground in ("paper", "panel", "picked"):
        for text in ("ink", "muted", "fit", "good", "bad", "open"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert _contrast(colours["ink"], colours["found"]) >= 4.5
    assert _contrast(colours["edge"], colours["paper"]) >= 3
    assert _contrast(colours["grid"], colours["paper"]) < 3, "the measure itself tells them apart"


def test_nan_cannot_be_embedded() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_script({"x": float("nan")})
