"""`foresight prefer` and `foresight grade` as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.command import typed
from tests.evals.models import Written, unit
from tests.evals.people.samples import answers, prompts


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def open_model(name: str) -> Written:
        return Written(lambda asked, _: f"so {unit(name + asked):.6f}", name=name)

    monkeypatch.setattr("foresight.inference.open.open_model", open_model)


def run(*words: object) -> Any:
    done = typed(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def judged(*words: object, bodies: list[dict[str, Any]]) -> list[str]:
    """Serve, answer one card after the other in each person's name, stop with Ctrl-C; the pages."""
    command = [sys.executable, "-m", "foresight", *map(str, words), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "]\n":
                break
        urls = [one["url"] for one in json.loads("".join(lines))]
        pages = [urlopen(url).read().decode() for url in urls]
        for url in urls:
            now = json.load(urlopen(url + "card"))
            for body in bodies:
                if now["card"]:
                    data = json.dumps(body | {"id": now["card"]["id"]}).encode()
                    head = {"Content-Type": "application/json"}
                    now = json.load(urlopen(Request(url + "enter", data, head)))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    return pages


def test_prefer_from_prompts_to_reward_pairs(tmp_path: Path) -> None:
    path = prompts(tmp_path, 8)
    with path.open("a") as stream:
        stream.write('{"id": "hi", "question": "hi"}\n{"id": "x", "question": "A bad bad word"}\n')
    (tmp_path / "bad.txt").write_text("bad word\n")
    two = ("--model", "m", "--model", "n", "--out", "blind")
    more = ("--disallowed", "bad.txt", "--layout", "Q: {question}\\nA:", "--max-copies", 9)
    command = ("prefer", "collect", path, *two, *more)
    found = run(*command)
    assert (found["prompts"], found["answers"], found["pairs"]) == (8, 16, 8)
    assert found["filtered"] == {"too_short": 1, "disallowed": 1}
    assert [one["id"] for one in found["left_out"]] == ["hi", "x"]
    shown = typed(*command).stdout
    assert "hi: too_short (1 words)" in shown and "16 answers of m, n" in shown
    again = json.loads((tmp_path / "blind" / "collection.json").read_text())
    assert again["asking"]["layout"]["question"] == "Q: {question}\nA:"

    words = ("prefer", "judge", "blind", "--judge", "ann", "--judge", "ben", "--overlap", 1)
    pages = judged(*words, bodies=[{"action": "left"}] * 5 + [{"action": "tie"}] * 3)
    assert len(pages) == 2 and "Which answer is better?" in pages[0]
    result = run("prefer", "result", "blind")
    assert result["judges"] == {"ann": 8, "ben": 8} and result["waiting"] == 0
    assert result["left"]["mean"] == 1.0 and result["agreement"]["n"] == 8
    assert result["duels"][0]["win_rate"]["n"] == 8
    shown = typed("prefer", "result", "blind").stdout
    for told in ("m over n", "95 %", "the left answer was chosen in 1.000 of 10 votes",
                 "Krippendorff's alpha", "  even", "votes: ann 8, ben 8"):  # fmt: skip
        assert told in shown, shown
    exported = run("prefer", "export", "blind", "pairs.jsonl")
    assert exported["pairs"] + exported["tied"] == 8
    assert len(Path("pairs.jsonl").read_text().splitlines()) == exported["pairs"]
    assert "ties left out" in typed("prefer", "export", "blind", "pairs.jsonl").stdout


def test_several_models_get_strengths(tmp_path: Path) -> None:
    models = [word for name in "abc" for word in ("--model", name)]
    path = prompts(tmp_path, 4)
    run("prefer", "collect", path, *models, "--out", "blind", "--max-copies", 4)
    judged("prefer", "judge", "blind", bodies=[{"action": "left"}] * 12)
    shown = typed("prefer", "result", "blind").stdout
    assert "Bradley-Terry strengths, 12 pairs of answers" in shown and "p, Holm" in shown


def test_grade_and_apply(tmp_path: Path) -> None:
    answers(tmp_path / "runs")
    body = {"action": "grade", "criteria": {"Points": 3}}
    pages = judged("grade", "runs", "--grader", "ann", "--grader", "ben", "--rubric", 4,
                   "--overlap", 1, bodies=[body] * 11 + [{"action": "skip"}])  # fmt: skip
    assert "Grade the answer" in pages[1]
    found = run("grade", "runs", "--result", "--to", "graded.jsonl")
    assert found["graders"] == {"ann": 11, "ben": 11} and found["records"]["first"] == "people"
    assert found["models"]["beta"]["mean"] == 0.75
    rows = [json.loads(line) for line in Path("graded.jsonl").read_text().splitlines()]
    assert len(rows) == 12 and {row["score"] for row in rows} <= {0.75, None}
    shown = typed("grade", "runs", "--result").stdout
    for told in ("Scores by people", "0.750", "of 12 answers graded: ann 11, ben 11",
                 "people, records", "ann, ben", "undefined (all the same)"):  # fmt: skip
        assert told in shown, shown


def test_mistakes_are_one_message(tmp_path: Path) -> None:
    path = prompts(tmp_path, 4)
    answers(tmp_path / "runs")
    two = ("--model", "m", "--model", "n", "--max-copies", 4)
    run("prefer", "collect", path, *two, "--out", "blind")
    run("prefer", "collect", path, "--model", "m", "--max-copies", 4, "--out", "one")
    (tmp_path / "wrong.jsonl").write_text('{"prompt": "Why?"}\n')
    for words, message in [
        (
            ("prefer", "collect", "none.jsonl", *two, "--out", "x"),
            "none.jsonl: cannot be read",
        ),
        (("prefer", "collect", "wrong.jsonl", *two, "--out", "x"), "line 1, field prompt: unknown"),
        (("prefer", "collect", path, "--model", "m", "--model", "m", "--out", "x"), "one name"),
        (("prefer", "collect", path, *two, "--out", "x", "--layout", "Q"), "layout 'Q'"),
        (("prefer", "collect", path, *two, "--out", "blind", "--seed", 3), "its asking differs"),
        (("prefer", "judge", "runs"), "runs: no collection"),
        (("prefer", "judge", "one"), "one: no two models' answers to judge"),
        (("prefer", "judge", "blind", "--judge", "a/b"), "name 'a/b'"),
        (("prefer", "judge", "blind", "--overlap", 2), "overlap 2.0"),
        (("prefer", "judge", "blind", "--host", "0.0.0.0"), "host 0.0.0.0"),
        (("prefer", "result", "blind"), "no votes yet"),
        (("grade", "nowhere"), "nowhere"),
        (("grade", "runs", "--rubric", "none.yaml"), "none.yaml: cannot be read"),
        (("grade", "runs", "--result"), "no grades yet"),
    ]:
        done = typed(*words)
        assert done.returncode == 2, (words, done.stdout)
        assert message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_an_interruption_is_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_model(name: str) -> Written:
        return Written(name=name, stop_after=2)

    monkeypatch.setattr("foresight.inference.open.open_model", open_model)
    path = prompts(tmp_path, 4)
    done = typed("prefer", "collect", path, "--model", "m", "--out", "blind", "--max-copies", 4)
    assert done.returncode == 130 and "call again to go on" in done.stderr
    assert (tmp_path / "blind" / "answers" / "m" / "records.jsonl").read_text().count("\n") == 2
