"""A service on a thread of its own, for tests that speak to it as its clients do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import torch
import uvicorn

from foresight.data.corpus import Corpus
from foresight.model.decoder import Decoder
from foresight.recipe import Recipe
from foresight.runs import Run, write_json
from foresight.serve.app import build
from foresight.serve.settings import ServiceSettings
from foresight.training.checkpoint import Checkpoint


def write_run(directory: Path, recipe: Recipe, corpus: Corpus, name: str, seed: int = 0) -> Path:
    """A run directory with a model of random weights that has something to say."""
    spec = recipe.at(1e10, seed=seed)
    model = Decoder(spec)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(seed)
        model.weight("lm_head").normal_(std=0.3, generator=draw)
    run = Run(directory / "targets" / name)
    run.path.mkdir(parents=True)
    write_json(run.manifest_path, {"spec": spec.model_dump(mode="json")})
    Checkpoint.write(run.checkpoints, 1, dict(model.named_weights), {})
    corpus.tokenizer.save(directory / "corpus" / "tokenizer.json")
    return run.path


class Running:
    """`app` is the ASGI application, `base` its address."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.app = build(settings)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app, port=self.port, log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=5,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()))
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive())
        assert self._thread.is_alive(), "the service did not start"

    @property
    def service(self) -> Any:
        return self.app._app.state.service  # type: ignore[attr-defined]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def ask(
        self, method: str, path: str, body: object = None, raw: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and the answer as JSON, or as bytes where it is none."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = raw
        if body is not None:
            payload = json.dumps(body).encode()
        if payload is not None:
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, payload, sent)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        try:
            value = json.loads(data)
        except ValueError:
            value = data
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, value


@contextmanager
def running(settings: ServiceSettings) -> Iterator[Running]:
    found = Running(settings)
    try:
        yield found
    finally:
        found.stop()


def started(run: Path, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """`foresight serve` in a process of its own, and its port; returns when it answers."""
    port = free_port()
    command = [sys.executable, "-m", "foresight", "serve", str(run), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    until(answers, 60.0)
    return process, port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Any, seconds: float = 30.0) -> None:
    """Waits until something holds. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
