"""`import-records` and `export-records` as they are typed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from foresight.evals.journal import read_records
from tests.command import typed
from tests.conftest import ROOT
from tests.evals.interop.conftest import RECORDED, recorded


def test_import_pair_compare_export(tmp_path: Path) -> None:
    everything = sorted(RECORDED.glob("samples_*.jsonl"))
    done = typed("import-records", *everything, "--to", tmp_path / "all.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert [run["task"] for run in value["runs"]] == [
        "tiny_geo", "tiny_hidden", "tiny_letters", "tiny_sums:strict-match", "tiny_sums:flexible",
    ]  # fmt: skip
    assert all(run["agrees"] and run["stated"] is not None for run in value["runs"])
    assert len(read_records(tmp_path / "all.jsonl")) == value["records"] == 15

    done = typed(
        "import-records", recorded("tiny_geo"), "--to", tmp_path / "norm.jsonl",
        "--metric", "acc_norm", "--pair", tmp_path / "all.jsonl",
    )  # fmt: skip
    assert done.returncode == 0 and "acc_norm" in done.stdout, done.stderr
    done = typed("compare", tmp_path / "norm.jsonl", tmp_path / "all.jsonl", "--json")
    (comparison,) = json.loads(done.stdout)
    assert comparison["items"] == 4 and comparison["difference"]["mean"] == 0.25

    done = typed("export-records", tmp_path / "all.jsonl", "--inspect", tmp_path / "logs", "--json")
    logs = [Path(path) for path in json.loads(done.stdout)["logs"]]
    assert len(logs) == 5 and all(path.stat().st_size > 500 for path in logs)
    done = typed("export-records", tmp_path / "norm.jsonl", "--inspect", tmp_path / "a.json")
    assert done.returncode == 0 and "a.json" in done.stdout
    assert json.loads((tmp_path / "a.json").read_text())["eval"]["task"] == "tiny_geo"


def test_mistakes_are_messages(tmp_path: Path) -> None:
    sums, out = recorded("tiny_sums"), tmp_path / "sums.jsonl"
    for words, message in (
        ((sums, sums, "--to", out), "two records of tiny-llama"),
        ((sums, "--filter", "loose", "--to", out), "--filter loose: there are flexible, strict"),
        ((tmp_path / "none.jsonl", "--to", out), "none.jsonl: cannot be read"),
        ((sums, "--metric", "acc", "--to", out), "line 1, field acc"),
    ):
        done = typed("import-records", *words)
        assert done.returncode == 2 and message in " ".join(done.stderr.split()), done.stderr
    assert not out.exists()
    assert typed("import-records", sums, "--filter", "flexible", "--to", out).returncode == 0
    assert len(read_records(out)) == 3
    done = typed("import-records", sums, "--to", out)
    assert done.returncode == 2 and "is there already" in done.stderr
    done = typed("import-records", recorded("tiny_geo"), "--pair", out, "--to", tmp_path / "x")
    assert done.returncode == 2 and "no record asks what" in " ".join(done.stderr.split())
    done = typed("export-records", tmp_path, "--inspect", tmp_path / "logs")
    assert done.returncode == 2 and "holds no records" in done.stderr


def test_the_page_works_as_written(tmp_path: Path) -> None:
    shutil.copytree(RECORDED, tmp_path / "out")
    page = (ROOT / "docs" / "interop.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    foresight = f'foresight() {{ "{sys.executable}" -m foresight "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-e", "-c", foresight + "\n".join(blocks)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert len(blocks) == 2 and done.returncode == 0, done.stderr
    assert (tmp_path / "sums.eval").exists() and len(list((tmp_path / "logs").iterdir())) == 1
