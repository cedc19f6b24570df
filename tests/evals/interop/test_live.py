"""lm-evaluation-harness itself, run on a tiny model where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foresight.evals.interop.lm_eval import read_samples
from tests.conftest import ROOT
from tests.evals.interop.conftest import RECORDED, recorded


@pytest.fixture(scope="module")
def tiny_llama(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny-llama"
    maker = ROOT / "tests" / "evals" / "tiny_llama.py"
    done = subprocess.run([peers, maker, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_recorded_files_are_what_the_harness_writes(
    peers: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(RECORDED / "tasks", tmp_path / "tasks")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = [peers, "-m", "lm_eval", "run", "--model", "hf", "--model_args",
               f"pretrained={tiny_llama},dtype=float32", "--device", "cpu", "--include_path",
               "tasks", "--tasks", "tiny_geo,tiny_letters", "--log_samples", "--output_path",
               "out"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | offline, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for task in ("tiny_geo", "tiny_letters"):
        (path,) = (tmp_path / "out").rglob(f"samples_{task}_*.jsonl")
        (new,), (old,) = read_samples(path), read_samples(recorded(task))
        assert new.stated == old.stated
        for one, other in zip(new.records, old.records, strict=True):
            assert (one.item, one.choices, one.answer) == (other.item, other.choices, other.answer)
            assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=1e-3)


@pytest.mark.slow
def test_the_parity_benchmark_runs(peers: Path, tiny_llama: Path, shared_data: Path) -> None:
    """On the harness alone, against itself at another batch size."""
    command = [sys.executable, ROOT / "bench" / "choice_parity.py", shared_data / "evals" / "mmlu",
               "--hf", tiny_llama, "--items", "8", "--rounds", "1", "--peers", peers]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    other = value["against lm-eval"]["lm-eval, batch 1"]
    assert other["items"] == 8 and 0 < other["max_difference_nats"] < 1e-3
    strict = subprocess.run(
        [*command, "--tolerance", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert strict.returncode == 1 and json.loads(strict.stdout)["holds"] is False
