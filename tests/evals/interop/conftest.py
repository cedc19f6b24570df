"""Recorded files of other frameworks, and those frameworks where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from foresight.evals.interop.lm_eval import LoggedRun, read_samples
from tests.conftest import ROOT

FILES = Path(__file__).parents[1] / "files"
RECORDED = FILES / "lm_eval"


def recorded(task: str) -> Path:
    """The samples that the harness logged for a task."""
    (path,) = RECORDED.glob(f"samples_{task}_*.jsonl")
    return path


@pytest.fixture(scope="session")
def logged() -> Callable[..., LoggedRun]:
    """The only run of a task's recorded samples."""

    def read(task: str, metric: str | None = None) -> LoggedRun:
        (run,) = read_samples(recorded(task), metric)
        return run

    return read


@pytest.fixture(scope="session")
def peers() -> Path:
    """A Python that has lm-evaluation-harness and inspect_ai."""
    python = ROOT / ".venv-evals-peers" / "bin" / "python"
    if not python.exists():
        pytest.skip("lm-eval and inspect_ai are not installed: make .venv-evals-peers")
    return python
