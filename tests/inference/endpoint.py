"""An OpenAI-compatible server over HTTP with a tiny bigram model, right or broken on demand."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import numpy as np

WORDS = [
    "the", "cat", "sat", "on", "mat", "dog", "ran", "a", "red", "big", "in", "is", "of", "France",
    "capital", "Paris", "The", "foob", "ar", "or", "print", "for", "name", "names", "door",
    "opened", "and", "She",
]  # fmt: skip
PIECES = ["<s>", "</s>", *[" " + word for word in WORDS], *WORDS]
VOCABULARY = [piece.encode() for piece in PIECES] + [bytes([byte]) for byte in range(256)]
IDS = {piece: index for index, piece in enumerate(VOCABULARY)}
BOS, EOS = 0, 1
LONGEST = max(map(len, VOCABULARY))


def _table() -> np.ndarray:
    """Log-probability of each token (column) after each (row). Bytes above ASCII are rare."""
    logits = np.random.default_rng(5).normal(0, 2.0, (len(VOCABULARY), len(VOCABULARY)))
    logits[:, len(PIECES) + 127 :] -= 12
    logits[:, len(PIECES) : len(PIECES) + 32] -= 12
    logits[:, BOS] -= 30
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


TABLE = _table()


def encode(text: str) -> list[int]:
    """Longest match first; special tokens in a text are plain characters."""
    data, ids, at = text.encode(), [], 0
    while at < len(data):
        size = next(
            n for n in range(LONGEST, 0, -1) if IDS.get(data[at : at + n], BOS) not in (BOS, EOS)
        )
        ids.append(IDS[data[at : at + size]])
        at += size
    return ids


def decode(ids: list[int]) -> str:
    return b"".join(VOCABULARY[id] for id in ids if id not in (BOS, EOS)).decode(errors="replace")


def logprobs_of(prompt: str, continuation: str) -> list[float]:
    """What a right server echoes for ASCII text."""
    ids = encode(prompt + continuation)
    start = next(n for n in range(len(ids)) if len(decode(ids[:n])) >= len(prompt))
    return [float(TABLE[before, id]) for before, id in pairwise(ids[start - 1 :])]


@dataclass
class Behaviour:
    """What the server does wrong. `faults` are used up one per request, before it is answered:
    a status, ("429", retry-after), "reset", "cut" (half of the JSON), "short" (a body that breaks
    off), or seconds to be slow. `hold`: nothing is answered until so many have come at once.
    `echo`: right, zeros, shifted, null, ignored, refused.
    """

    key: str = ""
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    faults: deque[Any] = field(default_factory=deque)
    echo: str = "right"
    prompt_logprobs: bool = False
    lists: bool = True
    n: str = "right"
    begin_mark: bool = False
    refused: tuple[str, ...] = ()
    refusal: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    left: int = 0
    hold: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


class RefusalError(Exception):
    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = Behaviour()
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "bigram"}, {"id": "other"}]})

    def do_POST(self) -> None:
        told = self.server.behaviour
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            told.asked.append(body)
            told.headers.append(dict(self.headers))
            told.times.append(time.monotonic())
            told.in_flight += 1
            told.most_in_flight = max(told.most_in_flight, told.in_flight)
            fault = told.faults.popleft() if told.faults else None
        try:
            until = time.monotonic() + 10
            while told.most_in_flight < told.hold and time.monotonic() < until:
                time.sleep(0.005)
            self._answer(body, fault)
        finally:
            with self.server.lock:
                told.in_flight -= 1

    def _answer(self, body: dict[str, Any], fault: Any) -> None:
        told = self.server.behaviour
        seconds = told.delay_seconds + (fault if isinstance(fault, float) else 0.0)
        jitter = random.Random(json.dumps(body)).uniform(0, told.jitter_seconds)
        if seconds + jitter:
            self._sleep(seconds + jitter)
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
            return
        if isinstance(fault, tuple):
            error = {"message": "slow down", "code": "rate_limit_exceeded"}
            self._send(int(fault[0]), {"error": error}, {"retry-after": fault[1]})
            return
        if isinstance(fault, int):
            self._send(fault, {"error": {"message": "out of order"}})
            return
        try:
            if told.key and self.headers.get("authorization") != f"Bearer {told.key}":
                given = self.headers.get("authorization")
                raise RefusalError(401, f"Incorrect API key provided: {given}")
            answer = respond(told, self.path, body)
        except RefusalError as refusal:
            error = {"message": str(refusal), "param": refusal.param}
            self._send(refusal.status, {"error": error})
            return
        self._send(200, answer, cut=fault if fault in ("cut", "short") else "")

    def _sleep(self, seconds: float) -> None:
        """Sleep, and notice a client that leaves."""
        until = time.monotonic() + seconds
        self.connection.setblocking(False)
        while (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, 0.02))
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    self.server.behaviour.left += 1
                    raise ConnectionAbortedError
            except BlockingIOError:
                pass
        self.connection.setblocking(True)

    def _send(
        self, status: int, value: Any, headers: dict[str, str] | None = None, cut: str = ""
    ) -> None:
        data = json.dumps(value).encode()
        if cut == "cut":
            data = data[: len(data) // 2]
        self.send_response(status)
        for name, text in {"content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut == "short" else data)
        self.wfile.flush()
        self.close_connection = self.close_connection or cut == "short"


def respond(told: Behaviour, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of `/v1/completions` or `/v1/chat/completions`."""
    if body["model"] != "bigram":
        raise RefusalError(404, f"The model `{body['model']}` does not exist")
    for name in told.refused:
        if name in body:
            raise RefusalError(400, told.refusal or f"Unsupported parameter: '{name}'", name)
    chat = path.endswith("/chat/completions")
    if chat:
        content = body["messages"][0]["content"]
        if not isinstance(content, str):
            content = "".join(part.get("text", " picture") for part in content)
        prompts: list[Any] = [content]
    else:
        prompts = body["prompt"]
        if not isinstance(prompts, list) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        if len(prompts) > 1 and not told.lists:
            raise RefusalError(400, "prompt must be a string")
    n = int(body.get("n", 1))
    if n > 1 and told.n == "refused":
        raise RefusalError(400, "n must be 1", "n")
    n = 1 if told.n == "ignored" else n
    choices, drawn, read = [], 0, 0
    for prompt in prompts:
        ids = list(prompt) if isinstance(prompt, list) else encode(prompt)
        if told.begin_mark and not isinstance(prompt, list):
            ids = [BOS, *ids]
        read += len(ids)
        for number in range(n):
            choice, tokens = _choice(told, body, ids, number, chat)
            choices.append({"index": len(choices), **choice})
            drawn += tokens
    usage = {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn}
    return {"choices": choices[::-1], "usage": usage}


def _draw(body: dict[str, Any], ids: list[int], number: int) -> tuple[list[int], str]:
    rng = random.Random(f"{body.get('seed', 0)}/{number}")
    temperature, new = body.get("temperature", 1.0), []
    while len(new) < body.get("max_tokens", body.get("max_completion_tokens", 16)):
        row = TABLE[([*ids, *new] or [BOS])[-1]]
        if temperature == 0:
            new.append(int(row.argmax()))
        else:
            weights = np.exp(row / temperature)
            new.append(rng.choices(range(len(row)), weights.tolist())[0])
        if new[-1] == EOS:
            return new, "stop"
    return new, "length"


def _choice(
    told: Behaviour, body: dict[str, Any], ids: list[int], number: int, chat: bool
) -> tuple[dict[str, Any], int]:
    new, finish = _draw(body, ids, number)
    text = decode(new)
    for stop in body.get("stop", ()):
        if stop in text:
            text, finish = text[: text.index(stop)], "stop"
    choice: dict[str, Any] = {"finish_reason": finish}
    before = (ids or [BOS])[-1]
    if chat:
        choice["message"] = {"role": "assistant", "content": text}
        if body.get("logprobs"):
            listed = _listed([before, *new], 1, body["top_logprobs"])
            choice["logprobs"] = {
                "content": [
                    {"token": word, "logprob": value, "top_logprobs": [
                        {"token": other, "logprob": one} for other, one in top.items()
                    ]}
                    for word, value, top in listed
                ]
            }  # fmt: skip
        return choice, len(new)
    echo = bool(body.get("echo")) and told.echo != "ignored"
    if body.get("echo") and told.echo == "refused":
        raise RefusalError(400, "echo is not supported", "echo")
    choice["text"] = (decode(ids) if echo else "") + text
    if body.get("logprobs") is not None:
        whole, first = ([*ids, *new], 0) if echo else ([before, *new], 1)
        choice["logprobs"] = _completion_logprobs(told, whole, first, body["logprobs"], echo)
    if body.get("prompt_logprobs") is not None and told.prompt_logprobs:
        choice["prompt_logprobs"] = [None, *(_entry(a, b) for a, b in pairwise(ids))]
    return choice, len(new)


def _completion_logprobs(
    told: Behaviour, whole: list[int], first: int, k: int, echo: bool
) -> dict[str, Any] | None:
    listed = _listed(whole, first, k)
    values: list[float | None] = [value for _, value, _ in listed]
    if echo and told.echo == "null":
        return None
    if echo and told.echo == "zeros":
        values = [0.0] * len(values)
    if echo and told.echo == "shifted":
        values = [*values[1:], -1.0]
    if first == 0 and whole:
        values[0] = None
    offsets = [len(decode(whole[first:at])) for at in range(first, len(whole))]
    return {
        "tokens": [word for word, _, _ in listed],
        "token_logprobs": values,
        "top_logprobs": [
            None if at == 0 and first == 0 else top for at, (_, _, top) in enumerate(listed)
        ],
        "text_offset": offsets,
    }  # fmt: skip


def _word(id: int) -> str:
    return VOCABULARY[id].decode(errors="replace")


def _listed(whole: list[int], first: int, k: int) -> list[tuple[str, float, dict[str, float]]]:
    listed = []
    for at in range(first, len(whole)):
        row = TABLE[whole[at - 1]] if at else TABLE[BOS]
        best = np.argsort(-row)[:k]
        top = {_word(int(id)): float(row[id]) for id in best}
        listed.append((_word(whole[at]), float(row[whole[at]]), top))
    return listed


def _entry(before: int, id: int) -> dict[str, dict[str, Any]]:
    """vLLM's form: the token, and the likeliest if it is another."""
    row = TABLE[before]
    return {
        str(one): {"logprob": float(row[one]), "rank": 1 + int((row > row[one]).sum()),
                   "decoded_token": _word(one)}
        for one in (id, int(row.argmax()))
    }  # fmt: skip
