"""Tokens per second of the service beside its engine alone; memory under load; other servers.

    python bench/serving.py [--seconds 300] [--peers] [--llama PYTHON]

A model of random weights (10M parameters, context 512) is written; clients stream chats of 128
tokens, one after the other each. `alone`: the engine in a process of its own, as many requests open
at a time as there are clients. Rounds of the two are interleaved; stated are medians [least,
largest] over rounds and the ratio of medians. Then the service alone, warm, for --seconds: errors,
time to first token, resident memory after each fifth of them.

--peers: `transformers serve` (of .venv-evals-peers, `make .venv-evals-peers`), plain and with its
continuous batching, on the same weights, exported, in the same rounds as ours. Where a server tells
no usage, its pieces of text are counted. --llama PYTHON: llama-cpp-python's server too, by an
interpreter that has `llama-cpp-python[server]` (it compiles for some minutes), gguf, safetensors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import torch
from rich.console import Console

from foresight.data.tokenizer import Tokenizer
from foresight.export.hugging_face import export_hugging_face
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest, Sampling
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import CHAT_TEMPLATE, render_prompt, user
from foresight.recipe import Recipe
from foresight.runs import Run, write_json
from foresight.training.checkpoint import Checkpoint
from foresight.views import show_table
from foresight.worlds import ledger

TOKENS = 128
PATIENCE = 90.0
"""Seconds that the last answers may take."""
CONTEXT = 512


def write_run(folder: Path, parameters: float) -> Path:
    recipe = Recipe.named("ledger")
    architecture = recipe.architecture.model_copy(update={"context": CONTEXT, "head_dim": 64})
    recipe = recipe.model_copy(update={"architecture": architecture})
    widths = range(64, 4096, 64)
    width = min(widths, key=lambda one: abs(recipe.shape(one).params - parameters))
    spec = recipe.at(1e15, 0, width=width)
    model, run = Decoder(spec), Run(folder / "targets" / "model")
    with torch.no_grad():
        model.weight("lm_head").normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    write_json(run.manifest_path, {"spec": spec.model_dump(mode="json")})
    Checkpoint.write(run.checkpoints, 1, dict(model.named_weights), {})
    texts = [one.text for one in ledger.documents(0, 3000, "train")]
    tokenizer = Tokenizer.train(texts, 640)
    tokenizer.save(folder / "corpus" / "tokenizer.json")
    export_hugging_face(model, tokenizer, folder / "hf", CHAT_TEMPLATE)
    return run.path


def question(number: int) -> str:
    return f"Question {number}: how do I mend a zorp that was left out in the rain overnight?"


def alone(run: Path, clients: int, seconds: float) -> float:
    """Tokens per second of the engine, in this process."""
    engine = Engine.load(run, batch=64)
    drawn = 0
    asked = 0

    def submit() -> None:
        nonlocal asked
        prompt = render_prompt(user(question(asked)))
        sampling = Sampling(1.0, max_tokens=TOKENS, seed=asked)
        asked += 1
        engine.submit(GenerateRequest(prompt, sampling), lambda _: submit(), lambda *_: None)

    for _ in range(clients):
        submit()
    start = None
    while start is None or time.monotonic() < start + seconds:
        drawn += engine.step()
        if start is None and drawn > 64 * clients:  # warm
            start, drawn = time.monotonic(), 0
    return drawn / (time.monotonic() - start)


@dataclass
class Load:
    """What clients saw. Seconds to the first text of each answer; tokens as the server counts;
    `cores`: that the clients themselves kept busy."""

    tokens: int = 0
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cores: float = 0.0


class _Client(asyncio.Protocol):
    """One answer after the other by a connection that is kept. What arrives is looked at little:
    clients run on the cores that are measured."""

    def __init__(self, head: str, model: str, number: int, end: float, load: Load) -> None:
        self._head, self._model, self._end, self._load = head, model, end, load
        self._asked = number * 1_000_000
        self._begun, self._told = 0.0, False
        self._parts: list[bytes] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        if time.monotonic() >= self._end:
            self.done.set_result(None)
            self._transport.close()
            return
        body = json.dumps({
            "model": self._model, "stream": True, "temperature": 1.0, "max_tokens": TOKENS,
            "seed": self._asked, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": question(self._asked)}],
        })  # fmt: skip
        self._asked += 1
        self._begun, self._told, self._parts = time.monotonic(), False, []
        self._transport.write(f"{self._head}content-length: {len(body)}\r\n\r\n{body}".encode())

    def data_received(self, data: bytes) -> None:
        if not self._parts and b" 200 " not in data.split(b"\r\n", 1)[0]:
            self._load.errors.append(data[:80].decode(errors="replace"))
            self._transport.close()
        self._parts.append(data)
        if not self._told and b'"content":' in data.replace(b": ", b":").replace(
            b'"content":""', b""
        ):
            self._load.first.append(time.monotonic() - self._begun)
            self._told = True
        if b"".join(self._parts[-6:]).endswith(b"\r\n0\r\n\r\n"):
            self._ended(b"".join(self._parts).decode(errors="replace"))
            self._ask()

    def _ended(self, answer: str) -> None:
        # Not every server says [DONE].
        if '"finish_reason":"' not in answer[-2000:].replace(" ", ""):
            self._load.errors.append(answer[-200:])
            return
        tokens = answer.count('"content":')
        for line in answer[-2000:].splitlines():
            with suppress(ValueError, TypeError, KeyError):
                tokens = json.loads(line.removeprefix("data: "))["usage"]["completion_tokens"]
        self._load.tokens += tokens
        self._load.answers += 1

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._load.errors.append(f"the connection was lost: {error}")
            self.done.set_result(None)


async def _load(port: int, model: str, clients: int, seconds: float) -> Load:
    load = Load()
    start, used = time.monotonic(), time.process_time()
    end = start + seconds
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        "content-type: application/json\r\n"
    )
    connect = asyncio.get_running_loop().create_connection
    made = [
        await connect(partial(_Client, head, model, at, end, load), "127.0.0.1", port)
        for at in range(clients)
    ]
    _, waiting = await asyncio.wait([client.done for _, client in made], timeout=seconds + PATIENCE)
    load.errors += ["no end"] * len(waiting)
    load.seconds = time.monotonic() - start
    load.cores = (time.process_time() - used) / load.seconds
    return load


@contextmanager
def served(
    command: list[str], port: int, path: str = "/health"
) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(1200):
                assert process.poll() is None, f"{command[0]} ended"
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as one:
                    one.sendall(f"GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n".encode())
                    if b" 200 " in one.recv(64):
                        break
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            process.wait(60)


def resident(process: subprocess.Popen[bytes]) -> int:
    """Bytes."""
    text = Path(f"/proc/{process.pid}/statm").read_text()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def told(values: list[float]) -> str:
    return f"{median(values):,.0f} [{min(values):,.0f}, {max(values):,.0f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=float, default=1e7)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-seconds", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--llama", type=Path)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(alone(options.alone, options.clients, options.round_seconds))
        return
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        run = write_run(Path(name), options.parameters)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "foresight", "serve", str(run), "--port", str(port)]
        engine, service = [], []
        peers: dict[str, list[tuple[float, float]]] = {}
        for _ in range(options.rounds):
            done = subprocess.run(
                [sys.executable, __file__, "--alone", run, "--clients", str(options.clients),
                 "--round-seconds", str(options.round_seconds)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            engine.append(float(done.stdout))
            with served(command, port):
                asyncio.run(_load(port, "model", options.clients, 5.0))  # warm
                load = asyncio.run(_load(port, "model", options.clients, options.round_seconds))
                assert not load.errors, load.errors[:3]
                service.append(load.tokens / load.seconds)
                peers.setdefault("foresight", []).append(_measured(load))
            for title, peer in _peers(Path(name) / "hf", port, options.peers, options.llama):
                with served(peer, port, "/v1/models"):
                    load = asyncio.run(
                        _load(port, str(Path(name) / "hf"), options.clients, options.round_seconds)
                    )
                    peers.setdefault(title, []).append(_measured(load))
                    if load.errors:
                        console.print(f"{title}: {len(load.errors)} errors, {load.errors[0][:200]}")
        if len(peers) > 1:
            _show_peers(console, peers)
        show_table(
            console, f"{options.clients} clients, tokens per second",
            ["", "median [least, largest]"],
            [["engine alone", told(engine)], ["service", told(service)],
             ["ratio", f"{median(service) / median(engine):.2f}"]],
        )  # fmt: skip
        if options.seconds:
            long_load(console, command, port, options.clients, options.seconds)


def _measured(load: Load) -> tuple[float, float]:
    """Tokens per second, median seconds to the first text."""
    return load.tokens / load.seconds, median(load.first) if load.first else float("nan")


def _peers(
    folder: Path, port: int, transformers: bool, llama: Path | None
) -> list[tuple[str, list[str]]]:
    """Names and commands of other servers of an exported folder."""
    found: list[tuple[str, list[str]]] = []
    if transformers:
        command = Path(".venv-evals-peers/bin/transformers").absolute()
        plain = [str(command), "serve", str(folder), "--port", str(port), "--host", "127.0.0.1"]
        found.append(("transformers serve", plain))
        found.append(("transformers serve, continuous batching", [*plain, "--continuous-batching"]))
    if llama:
        file = folder.with_suffix(".gguf")
        if not file.exists():
            script = Path(__file__).with_name("gguf_file.py")
            subprocess.run([llama, script, folder, file], check=True)
        found.append(("llama-cpp-python", [
            str(llama.absolute()), "-m", "llama_cpp.server", "--model", str(file),
            "--port", str(port),
            "--host", "127.0.0.1", "--n_ctx", str(CONTEXT), "--model_alias", str(folder),
            "--interrupt_requests", "False",
            "--verbose", "False",
        ]))  # fmt: skip
    return found


def _show_peers(console: Console, peers: dict[str, list[tuple[float, float]]]) -> None:
    rows = [
        [name, told([rate for rate, _ in found]), f"{median(first for _, first in found):.2f}"]
        for name, found in peers.items()
    ]
    columns = ["server", "tokens per second, median [least, largest]", "seconds to first text"]
    show_table(console, "the same weights", columns, rows)


def long_load(
    console: Console, command: list[str], port: int, clients: int, seconds: float
) -> None:
    with served(command, port) as process:
        loads, memory = [], []
        # Until the keys' cache, oneDNN's and malloc's have grown to what such a load needs.
        asyncio.run(_load(port, "model", clients, seconds / 5))
        for _ in range(5):
            loads.append(asyncio.run(_load(port, "model", clients, seconds / 5)))
            memory.append(resident(process) / 2**20)
        first = [one for load in loads for one in load.first]
        errors = [one for load in loads for one in load.errors]
        tokens = sum(load.tokens for load in loads) / sum(load.seconds for load in loads)
        show_table(console, f"{clients} clients for {seconds:g} s", ["", ""], [
            ["answers", f"{sum(load.answers for load in loads):,}"],
            ["errors", f"{len(errors)} {errors[:2] if errors else ''}"],
            ["tokens per second", f"{tokens:,.0f}"],
            ["seconds to first text, median and 95th percentile",
             f"{median(first):.2f}, {quantiles(first, n=20)[-1]:.2f}"],
            ["cores that the clients took", f"{max(load.cores for load in loads):.2f}"],
            ["resident memory after each fifth, MiB", ", ".join(f"{one:.0f}" for one in memory)],
            ["last over first", f"{memory[-1] / memory[0]:.3f}"],
        ])  # fmt: skip


if __name__ == "__main__":
    main()
