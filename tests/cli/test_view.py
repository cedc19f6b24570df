"""`foresight view` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.command import typed
from tests.report.records import several, write


def test_a_page_is_written(tmp_path: Path) -> None:
    write(tmp_path, several(10))
    page = tmp_path / "out" / "page.html"
    done = typed("view", tmp_path, "--html", page, "--limit", 5, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["records"] == 19 and value["embedded"] == 5 and value["page"] == str(page)
    assert value["models"] == ["large", "small"] and value["tasks"] == ["arc", "mmlu"]
    assert "this page holds 5 of 19 records" in page.read_text()
    shown = typed("view", tmp_path, "--html", page)
    assert f"wrote {page} with 19 of them" in shown.stdout and "19 records in" in shown.stdout


def test_the_server_says_where_it_is_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    path = write(tmp_path, several(10))
    with path.open("a") as stream:
        stream.write('{"key":')
    command = [sys.executable, "-m", "foresight", "view", str(tmp_path), "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        value = json.loads("".join(lines))
        assert value["records"] == 19 and "the last line is torn (7 bytes)" in value["notes"][0]
        with urlopen(value["url"]) as answer:
            assert b"<title>" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, process.stderr.read()


@pytest.mark.parametrize("name", ["nowhere", "empty", "faulty.jsonl"])
def test_mistakes_are_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "faulty.jsonl").write_text("{}\n")
    done = typed("view", tmp_path / name)
    assert done.returncode == 2 and done.stderr.lstrip().startswith("error: ")
    assert str(tmp_path / name) in done.stderr.replace("\n", "")
