from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from foresight.errors import UserError
from foresight.forecast import Subject, observe, register_stated
from foresight.report.scoreboard import DRAWN, write_scoreboard
from foresight.runs import read_json
from tests.command import typed
from tests.report.conftest import HOSTILE, Page

TABLE = "Predictions in the order of their registration"


def state(registry: Path, name: str, observed: float | None = None, **other: Any) -> None:
    register_stated(registry, name, Subject(name), HOSTILE, 0.5, {"95": (0.4, 0.6)}, **other)
    if observed is not None:
        observe(registry, name, observed)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    state(folder, "hit", 0.52)
    state(folder, "miss", 0.7)
    state(folder, "open")
    state(folder, "late", 0.41, backcast=True)
    return folder


def board(out: Path, *directories: Path) -> tuple[dict[str, Any], Page]:
    value = write_scoreboard(directories, out)
    return value, Page(out.read_text())


def column(page: Page, name: str) -> dict[str, str]:
    """A column of the table of predictions, by prediction."""
    head, *rows = page.tables[TABLE]
    at = head.index(name)
    return {row[0].split()[0]: row[at] for row in rows}


def test_every_prediction_with_its_score(registry: Path, tmp_path: Path) -> None:
    value, page = board(tmp_path / "s.html", registry)
    assert column(page, "status") == {
        "hit": "stated, verified", "miss": "stated, falsified", "open": "stated, pending",
        "late": "back-cast, verified",
    }  # fmt: skip
    assert column(page, "95 % interval")["open"] == "[0.4000, 0.6000]"
    assert column(page, "observed")["miss"] == "0.7000"
    sd = 0.2 / (2 * 1.959964)
    assert column(page, "z")["late"] == f"\u2212{0.09 / sd:.2f}"
    assert column(page, "ratio")["hit"] == "\u2013"
    totals = next(rows for name, rows in page.tables.items() if name.startswith("Coverage"))
    cells = {row[0]: dict(zip(totals[0], row, strict=True)) for row in totals[1:]}
    assert cells["stated"]["inside 95 %"] == "1 of 2, 50 % [9 %, 91 %]"
    assert (cells["stated"]["predictions"], cells["stated"]["outcomes"]) == ("3", "2")
    assert cells["stated"]["inside 50 %"] == "\u2013"
    assert cells["back-cast"]["inside 95 %"].startswith("1 of 1")
    assert value["totals"][0]["coverage"]["95"]["n"] == 2
    assert [one["z"] is None for one in value["predictions"]] == [False, False, True, False]
    # A miss is on the board, not among the failed checks of files.
    assert value["failures"] == []


def test_our_experiments_and_registries_on_one_page(
    built: Any, registry: Path, tmp_path: Path
) -> None:
    value, page = board(tmp_path / "s.html", built.directory, registry)
    record = read_json(next((built.directory / "registrations").glob("0001-*.json")))
    name = record["name"]
    assert column(page, "status")[name] == "verified"
    assert column(page, "predicted")[name] == f"{record['forecast']['point']:.3f}"
    assert "1 of 1 outcome of forecasts registered beforehand" in page.text
    assert "1 forecast pending" in page.text
    assert len(value["predictions"]) == 6


def test_hostile_text_is_escaped_and_nothing_is_fetched(registry: Path, tmp_path: Path) -> None:
    _, page = board(tmp_path / "s.html", registry)
    assert "&lt;script&gt;" in page.html and "<script" not in page.html
    assert page.tags.count("svg") == 1 and "img" not in page.tags and "link" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    visible = page.html.replace("http://evil.example/", "")
    assert not re.findall(r"(?:https?:)?//[a-z]|@import|url\((?!#)", visible)


def test_an_edited_registry_is_the_first_thing_said(registry: Path, tmp_path: Path) -> None:
    path = registry / "0001-hit.json"
    path.write_text(path.read_text().replace('"point": 0.5', '"point": 0.55'))
    value, page = board(tmp_path / "s.html", registry)
    tone, text = page.paragraphs[1]
    assert tone == "bad" and "of the files failed" in text
    assert str(registry / "0001-hit.json") in str(page.tables["Failed checks"])
    assert value["failures"]


def test_same_files_same_bytes(registry: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    board(tmp_path / "a.html", Path(registry.name))
    shutil.copytree(registry, tmp_path / "there" / registry.name)
    monkeypatch.chdir(tmp_path / "there")
    board(tmp_path / "b.html", Path(registry.name))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_many_predictions_draw_the_last(tmp_path: Path) -> None:
    for number in range(DRAWN + 2):
        state(tmp_path / "p", f"n{number}")
    _, page = board(tmp_path / "s.html", tmp_path / "p")
    svg = page.html[page.html.index("<svg") : page.html.index("</svg>")]
    assert "n2 " in svg and "n1 " not in svg and f"The last {DRAWN} of {DRAWN + 2}" in page.html
    assert len(column(page, "status")) == DRAWN + 2
    assert "No outcome of a forecast registered beforehand yet" in page.text


def test_the_command(registry: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "s.html"
    done = typed("scoreboard", registry, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["page"] == str(out) and len(value["predictions"]) == 4 and out.exists()
    assert "back-cast" in typed("scoreboard", registry, "--out", out).stdout
    done = typed("scoreboard", tmp_path / "nothing")
    assert done.returncode == 2 and "no registrations" in done.stderr
    with pytest.raises(UserError, match="cannot be written"):
        write_scoreboard([registry], tmp_path)
