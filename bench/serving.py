"""Tokens per second of the service beside its engine alone; memory under load; other servers.

    python bench/serving.py [--seconds 300] [--peers]

A model of random weights (10M parameters, context 512) is written; clients stream chats of 128
tokens, one after the other each. `alone`: the engine in a process of its own, as many requests open
at a time as there are clients. Rounds of the two are interleaved; stated are medians [least,
largest] over rounds and the ratio of medians. Then the service alone for --seconds: errors, time to
first token, resident memory at a fifth of the time and at the end.

--peers: `transformers serve` (of .venv-evals-peers, `make .venv-evals-peers`), plain and with its
continuous batching, on the same weights, exported, in the same rounds as ours. Where a server tells
no usage, its pieces of text are counted.
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
    """What clients saw. Seconds to the first text of each answer; tokens as the server counts."""

    tokens: int = 0
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    seconds: float = 0.0


async def _client(port: int, model: str, number: int, end: float, load: Load) -> None:
    """One after the other, by a connection that is kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = number * 1_000_000
    try:
        while time.monotonic() < end:
            body = json.dumps({
                "model": model, "stream": True, "temperature": 1.0, "max_tokens": TOKENS,
                "seed": asked, "stream_options": {"include_usage": True},
                "messages": [{"role": "user", "content": question(asked)}],
            }).encode()  # fmt: skip
            asked += 1
            begun = time.monotonic()
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await _read(reader, begun, load)
    except (OSError, asyncio.IncompleteReadError) as error:
        load.errors.append(repr(error))
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, begun: float, load: Load) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        load.errors.append(head.decode()[:80])
    told, tail, pieces = False, b"", 0
    while size := int(await reader.readline(), 16):
        data = (await reader.readexactly(size + 2))[:-2]
        if not told and b'"content"' in data and b'"content": ""' not in data:
            load.first.append(time.monotonic() - begun)
            told = True
        pieces += data.count(b'"content":')
        tail = (tail + data)[-2000:]
    await reader.readline()
    if b"[DONE]" not in tail:
        load.errors.append(tail.decode(errors="replace")[-200:])
        return
    for line in tail.decode(errors="replace").splitlines():
        with suppress(ValueError, TypeError, KeyError):
            pieces = json.loads(line.removeprefix("data: "))["usage"]["completion_tokens"]
    load.tokens += pieces
    load.answers += 1


async def _load(port: int, model: str, clients: int, seconds: float) -> Load:
    load = Load()
    start = time.monotonic()
    end = start + seconds
    await asyncio.gather(*(_client(port, model, one, end, load) for one in range(clients)))
    load.seconds = time.monotonic() - start
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
            for title, peer in _peers(Path(name) / "hf", port) if options.peers else ():
                with served(peer, port):
                    load = asyncio.run(
                        _load(port, str(Path(name) / "hf"), options.clients, options.round_seconds)
                    )
                    peers.setdefault(title, []).append(_measured(load))
                    if load.errors:
                        console.print(f"{title}: {len(load.errors)} errors, {load.errors[0][:200]}")
        if options.peers:
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


def _peers(folder: Path, port: int) -> list[tuple[str, list[str]]]:
    command = Path(".venv-evals-peers/bin/transformers").resolve()
    plain = [str(command), "serve", str(folder), "--port", str(port), "--host", "127.0.0.1"]
    return [
        ("transformers serve", plain),
        ("transformers serve, continuous batching", [*plain, "--continuous-batching"]),
    ]


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
            ["resident memory after each fifth, MiB", ", ".join(f"{one:.0f}" for one in memory)],
            ["last over first", f"{memory[-1] / memory[0]:.3f}"],
        ])  # fmt: skip


if __name__ == "__main__":
    main()
