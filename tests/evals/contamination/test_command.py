"""`foresight contamination` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foresight.evals.record import Reason, Record
from tests.command import foresight, typed

KNOWN = "A question that stands in the corpus word by word: how often does item {} occur in it?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty items, of which the first eight are in the corpus, and records of all."""
    items = [{"id": f"i{at}", "text": KNOWN.format(f"number {at} of the many items")}
             for at in range(20)]  # fmt: skip
    (tmp_path / "exam.jsonl").write_text("".join(json.dumps(one) + "\n" for one in items))
    (tmp_path / "corpus").mkdir()
    for one in items[:8]:
        text = f"Before. {one['text'].replace(' ', '  ')} After."
        (tmp_path / "corpus" / f"{one['id']}.txt").write_text(text)
    records = [
        Record(
            key=str(at), task="exam", item=f"i{at}", sample=0, model="m", group="", weight=1.0,
            prompt="", output="", answer=None, target=0, score=float(at < 12), reason=Reason.OK,
        )
        for at in range(20)
    ]  # fmt: skip
    (tmp_path / "records.jsonl").write_text("".join(one.to_line() + "\n" for one in records))
    return tmp_path


def command(folder: Path, *more: object) -> Any:
    return typed("contamination", folder / "corpus", "--task", folder / "exam.jsonl", "--out",
                 folder / "out", "--processes", 1, "--length", 60, "--fold", *more)  # fmt: skip


def test_findings_and_scores(folder: Path) -> None:
    done = command(folder, "--records", folder / "records.jsonl", "--near", 0.9, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["corpus"]["documents"] == 8 and found["settings"]["length"] == 60
    task = found["tasks"]["exam"]
    assert task["methods"]["near"]["ids"] == [f"i{at}" for at in range(8)]
    score = found["scores"]["exam"]["m"]["near"]
    assert score["overall"]["mean"] == 0.6 and score["clean"]["mean"] == pytest.approx(4 / 12)
    assert score["reported"] == score["clean"]["mean"]
    assert score["degradation"] == pytest.approx(4 / 12 / 0.6 - 1)
    assert score["low"] < score["degradation"] < score["high"]
    written = json.loads((folder / "out" / "contamination.json").read_text())
    assert written == {key: found[key] for key in written}
    rows = [json.loads(line) for line in (folder / "out" / "evidence.jsonl").open()]
    assert {row["item"] for row in rows if row["method"] == "near"} == {f"i{at}" for at in range(8)}


def test_what_people_see(folder: Path) -> None:
    done = command(folder, "--records", folder / "records.jsonl")
    assert done.returncode == 0, done.stderr
    for words in ("8 documents", "substrings, audited", "contaminated only", "reported (lower)",
                  "0 of 0 items shorter than 60 characters", "through boilerplate alone",
                  "evidence.jsonl"):  # fmt: skip
        assert words in done.stdout


def test_standard_input(folder: Path) -> None:
    text = "".join(one.read_text() for one in (folder / "corpus").iterdir())
    words = ["contamination", "-", "--task", folder / "exam.jsonl", "--out", folder / "o", "--json"]
    for code in (0, 2):
        done = subprocess.run(
            [sys.executable, "-m", "foresight", *map(str, words)],
            input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        # What was read once cannot be read again.
        assert done.returncode == code, done.stderr
        if code == 0:
            assert json.loads(done.stdout)["tasks"]["exam"]["long"]["contaminated"] >= 8
        else:
            assert "findings of another corpus" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--shortest", 3), "shortest 3: must be 8 or more"),
        (("--task", "nowhere.jsonl"), "nowhere.jsonl: cannot be read"),
        (("--task", "sums@nowhere"), "expected SUITE@PATH"),
        (("--records", "strange.jsonl"), "is of item strange, which was not looked for"),
        (("--records", "other.jsonl"), "records of other; none of the tasks exam"),
    ],
)
def test_wrong_input_is_named(
    folder: Path, more: tuple[object, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    text = (folder / "records.jsonl").read_text().replace('"task":"exam"', '"task":"other"')
    (folder / "other.jsonl").write_text(text)
    text = (folder / "records.jsonl").read_text().replace('"item":"i3"', '"item":"strange"')
    (folder / "strange.jsonl").write_text(text)
    done = command(folder, *more)
    assert done.returncode == 2 and message in " ".join(done.stderr.split())


def test_torch_is_not_needed_to_scan(folder: Path) -> None:
    code = "import foresight.evals.contamination.job, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert foresight("contamination", "--help").returncode == 0
