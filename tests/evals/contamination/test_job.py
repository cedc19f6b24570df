"""A scan is the same however it is cut up, interrupted or spread; its findings are judged."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from foresight.errors import UserError
from foresight.evals.contamination import corpora, job
from foresight.evals.contamination.corpora import Unit, units_of
from foresight.evals.contamination.findings import Findings, TaskFindings
from foresight.evals.contamination.job import scan
from foresight.evals.contamination.questions import Plan, Question, Settings, draw, read_questions
from foresight.evals.contamination.scanner import Scanner
from tests.evals.contamination.corpus_files import WRITERS, write_folder, write_jsonl

LONG = "How many of the {} walkers, who had left before the “storm” came, reached the hut by night?"
QUESTIONS = (
    Question("exam", "planted", LONG.format("seven")),
    Question(
        "exam", "absent", "Nothing like this is said in any of these forty documents, or is it so?"
    ),
    Question("exam", "short", "Name the capital."),
    Question("exam", "tiny", "1 + 1?"),
    Question(
        "exam",
        "boilerplate",
        "Choose the right answer: which of the four options fits the sentence?",
    ),
    Question("quiz", "planted", LONG.format("nineteen") + " Name the hut, and say who built it."),
)
PLAN = Plan(QUESTIONS, Settings(ngram=5, near=0.5, boilerplate=5))
FOLDED = LONG.format("seven").replace(" ", "\n - ").replace("“", "")


def documents() -> list[str]:
    texts = [f"Document {at} is about “naïve” things.\n" * (at % 7) for at in range(40)]
    texts[3] += f"Prefix. {FOLDED} And more."
    texts[11] += " Name, the: capital "
    texts[12] += " (Name the capital.)"
    for at in range(20, 30):
        texts[at] += "choose the ANSWER" + QUESTIONS[4].text
    # Every fourth word is another one: no substring of 50 is left, but most of the words.
    words = QUESTIONS[5].text.split()
    texts[33] += " ".join("oops" if at % 9 == 8 else word for at, word in enumerate(words))
    return texts


def findings(units: Sequence[Unit], out: Path, **how: int) -> Findings:
    found = Findings(PLAN, units, scan(PLAN, units, out, **how))
    found.write(out)
    return found


def exam(found: Findings) -> TaskFindings:
    return next(one for one in found.tasks if one.task == "exam")


def test_what_is_found_and_what_is_doubtful(tmp_path: Path) -> None:
    found = findings(units_of([str(write_jsonl(tmp_path, documents()))], "text", None), tmp_path)
    one = exam(found)
    assert one.items == 5
    assert one.methods["substring"].ids == ("planted", "short", "boilerplate")
    assert one.methods["substring"].items == 4 and one.too_short["substring"] == ("tiny",)
    assert one.methods["audited"].ids == ("planted",)
    assert one.short.ids == ("short",) and one.short.items == 1 and one.long.items == 3
    assert one.boilerplate_only == ("boilerplate",)
    assert one.methods["ngram"].ids == ("planted",) and one.overlap["planted"] == 1.0
    assert one.methods["near"].ids == ("planted", "boilerplate")
    assert one.too_short["near"] == ("short", "tiny")
    assert [row["documents"] for row in found.boilerplate()] == [10] * len(
        draw(QUESTIONS[4], PLAN.settings)
    )
    quiz = next(one for one in found.tasks if one.task == "quiz")
    assert quiz.methods["substring"].ids == () and quiz.methods["near"].ids == ("planted",)
    assert 0.5 <= next(row["share"] for row in found.evidence() if row["task"] == "quiz"
                       and row["method"] == "near") < 1  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_places_are_exact(tmp_path: Path, write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "UNIT_BYTES", 700)
    texts = documents()
    path = write(tmp_path, texts)  # type: ignore[operator]
    found = findings(units_of([str(path)], "text", None), tmp_path / "out")
    rows = [row for row in found.evidence() if row["item"] == "planted" and row["task"] == "exam"]
    assert {row["method"] for row in rows} == {"substring", "ngram", "near"}
    for row in rows:
        number = row["document"] - 1 if row["document"] else int(Path(row["file"]).stem)
        assert number == 3
        text = texts[number][row["start"] : row["end"]]
        letters = "".join(one for one in text if one.isalnum())
        if row["method"] == "substring":
            assert letters == row["text"] and text[0].isalnum() and text[-1].isalnum()
        if row["method"] == "ngram":
            assert letters.lower() == row["text"].replace(" ", "")
        assert " ".join(text.split()) in row["excerpt"]
    short = [row for row in found.evidence() if row["item"] == "short"]
    assert len(short) == 2 and {row["documents"] for row in short} == {2}


def test_a_long_document_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(documents()) * 40
    path = tmp_path / "long.txt"
    path.write_text(text)
    units = units_of([str(path)], "text", None)
    whole = list(findings(units, tmp_path / "whole").evidence())
    monkeypatch.setattr(corpora, "PIECE_BYTES", len(text.encode()) // 9)
    reach = Scanner(PLAN).reach
    assert len(list(units[0].pieces(reach))) == 10
    pieces = list(findings(units, tmp_path / "pieces").evidence())
    assert len(whole) > 5 and pieces == whole


def outcome(out: Path) -> bytes:
    return b"".join((out / name).read_bytes() for name in ("contamination.json", "evidence.jsonl"))


def test_processes_and_interruptions_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "UNIT_BYTES", 1500)
    units = units_of([str(write_jsonl(tmp_path, documents()))], "text", None)
    assert len(units) > 3
    findings(units, tmp_path / "one")
    findings(units, tmp_path / "two", processes=2)
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
    lines = (tmp_path / "one" / "units.jsonl").read_bytes().splitlines(keepends=True)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "job.json").write_bytes((tmp_path / "one" / "job.json").read_bytes())
    (torn / "units.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:50])
    done: list[str] = []
    plain = job.scan_unit
    monkeypatch.setattr(job, "scan_unit", lambda p, unit: done.append(unit.start) or plain(p, unit))
    findings(units, torn)
    assert outcome(torn) == outcome(tmp_path / "one")
    assert done == [unit.start for unit in units[2:]]
    findings(units, torn)
    assert len(done) == len(units) - 2


def test_kill_and_resume(tmp_path: Path) -> None:
    """kill -9 in the middle, then the same command: the same bytes, no finished unit again."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for at in range(24):
        texts = [*documents(), f"{at} and again some text that nobody looks for. " * 4000]
        write_jsonl(folder, texts * 4).rename(folder / f"{at:02}.jsonl")
    items = tmp_path / "exam.jsonl"
    items.write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n"
                             for one in QUESTIONS[:5]))  # fmt: skip

    def command(out: Path) -> list[str]:
        words = ["contamination", folder, "--task", items, "--out", out, "--processes", 2, "--json"]
        return [sys.executable, "-m", "foresight", *map(str, words)]

    plan = Plan(read_questions([str(items)]), Settings())
    units = units_of([str(folder)], "text", None)
    whole = Findings(plan, units, scan(plan, units, tmp_path / "whole"))
    whole.write(tmp_path / "whole")
    out = tmp_path / "killed"
    with subprocess.Popen(
        command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as running:
        journal = out / "units.jsonl"
        while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
            time.sleep(0.002)
        os.kill(running.pid, signal.SIGKILL)
    kept = journal.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert 3 <= kept.count(b"\n") < 24 and not (out / "evidence.jsonl").exists()
    subprocess.run(command(out), capture_output=True, check=True)
    assert outcome(out) == outcome(tmp_path / "whole")
    lines = journal.read_bytes()
    assert lines.startswith(kept) and lines.count(b"\n") == 24


def test_another_job_in_the_directory_is_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path, documents())
    units, out = units_of([str(path)], "text", None), tmp_path / "out"
    scan(PLAN, units, out)
    for plan, message in (
        (replace(PLAN, settings=Settings(seed=1)), "findings with other settings"),
        (replace(PLAN, questions=QUESTIONS[1:]), "findings of other questions"),
    ):
        with pytest.raises(UserError, match=message):
            scan(plan, units, out)
    (path / "003.txt").write_text("changed")
    with pytest.raises(UserError, match=r"a file of it has changed since"):
        scan(PLAN, units, out)


def test_errors_of_workers_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "UNIT_BYTES", 10)
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "x"}\n{"text": "y"}\n{"other": "z"}\n')
    with pytest.raises(UserError, match=r"corpus.jsonl, line 3: field text is missing"):
        scan(PLAN, units_of([str(path)], "text", None), tmp_path / "out", processes=2)


HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.skipif(HAS_RAY, reason="ray is there")
def test_ray_is_named_where_it_is_missing(tmp_path: Path) -> None:
    units = units_of([str(write_jsonl(tmp_path, documents()))], "text", None)
    with pytest.raises(UserError, match=r"the package `ray` is missing; install it with"):
        scan(PLAN, units, tmp_path / "out", ray=True)


@pytest.mark.skipif(not HAS_RAY, reason="needs ray: pip install 'foresight[cluster]'")
def test_ray_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "UNIT_BYTES", 1500)
    units = units_of([str(write_jsonl(tmp_path, documents()))], "text", None)
    findings(units, tmp_path / "one")
    findings(units, tmp_path / "ray", ray=True)
    assert outcome(tmp_path / "one") == outcome(tmp_path / "ray")
