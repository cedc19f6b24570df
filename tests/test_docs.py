"""The pages work as they are written: their files, their commands, their Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from foresight.runs import read_json
from tests.command import foresight

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "forecast.md").read_text()
EVALUATION = (DOCS / "evaluation.md").read_text()


def blocks(kind: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def test_the_page_from_table_to_scoreboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, _, table = blocks("csv")[0].partition("\n")
    (tmp_path / name.removeprefix("# file: ")).write_text(table)
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) >= 6
    for command in commands:
        done = foresight(*shlex.split(command)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert (tmp_path / "runs.forecast.svg").exists() and (tmp_path / "scoreboard.html").exists()
    assert read_json(tmp_path / "predictions" / "0001-my-7b.json")["name"] == "my-7b"
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[0], {})
    assert capsys.readouterr().out.startswith("forecast 2.27")


def test_verbs_and_options_that_the_page_names_exist() -> None:
    shown = " ".join(PAGE.split())
    for verb in ("design", "register", "watch", "capability", "trend", "map", "fit"):
        text = foresight(verb, "--help").stdout
        for command in re.findall(rf"`foresight {verb} [^`]*`", shown):
            for option in re.findall(r"--[a-z0-9-]+", command):
                assert option in text, f"{verb} {option}"


def test_the_page_on_evaluation(spine: Path, tmp_path: Path) -> None:
    for block in (*blocks("jsonl", EVALUATION), *blocks("yaml", EVALUATION)):
        name, _, content = block.partition("\n")
        (tmp_path / name.removeprefix("# file: ")).write_text(content)
    runs = {"targets/c5.1e+12": "targets/c6.0e+10", "ladder/c5.1e+11-s1": "ladder/c4.0e+10-s1"}
    typed = "".join(blocks("bash", EVALUATION))
    for shown, here in runs.items():
        typed = typed.replace(f"runs/demo/{shown}", str(spine / here))
    assert len(typed.splitlines()) == 5
    for command in typed.splitlines():
        done = foresight(*shlex.split(command)[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert len((tmp_path / "runs/evals/ours/python/records.jsonl").read_text().splitlines()) == 4
    assert "<html" in (tmp_path / "answers.html").read_text()


def test_the_page_on_post_training() -> None:
    page = (DOCS / "posttraining.md").read_text()
    exec(blocks("python", page)[0], {})
    commands = [one for block in blocks("bash", page) for one in block.splitlines()]
    for command in filter(None, commands):
        words = command.partition("#")[0].split()[1:]
        named = words[1] in ("replay", "export", "attack", "check")
        verbs = words[: 1 + named] if words[0] != "redteam" or named else ["redteam", "ask"]
        text = foresight(*verbs, "--help").stdout
        assert all(word in text for word in words if word.startswith("--")), command
