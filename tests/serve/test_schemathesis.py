"""What the service says of itself in OpenAPI, against what it does: schemathesis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foresight.serve.pool import Pool
from foresight.serve.settings import ServiceSettings
from tests.serve.service import Running, running

EXAMPLES = os.environ.get("FORESIGHT_FUZZ", "10")
"""Requests of each route; `make conformance` asks for more."""


@pytest.fixture(scope="module")
def service(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Its model has a name that is guessed: requests get as far as the engine."""
    database = tmp_path_factory.mktemp("audit") / "audit.db"
    with running(ServiceSettings(models={"0": str(run)}, database=f"sqlite:///{database}")) as one:
        yield one


def fuzzed(
    service: Running, folder: Path, examples: str = EXAMPLES
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{service.base}/openapi.json",
        "--phases", "examples,fuzzing", "--max-examples", examples, "--seed", "1",
        "--include-path-regex", "^/(v1|tokenize|detokenize|health|review|admin)",
        # A valid request can still ask for more than the model has room for: 400 then.
        "--exclude-checks", "positive_data_acceptance",
        "--suppress-health-check", "all", "--no-color",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_it_does_what_it_says(service: Running, tmp_path: Path) -> None:
    done = fuzzed(service, tmp_path)
    print(*[line for line in done.stdout.splitlines() if "generated" in line or "passed" in line])
    assert done.returncode == 0, done.stdout[-6000:]
    assert service.ask("GET", "/health")[0] == 200


def test_a_broken_service_is_found_out(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Pool, "get", lambda *_: 1 / 0)
    assert fuzzed(service, tmp_path, "10").returncode == 1
