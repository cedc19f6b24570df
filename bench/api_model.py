"""Requests per second of `APIModel` against a server that only sleeps, and what one costs here.

    python bench/api_model.py

The server is a process of its own. An ideal client does concurrency / 20 ms requests per second.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from multiprocessing.queues import SimpleQueue

from foresight.document import Text
from foresight.inference.api_model import APIModel
from foresight.inference.language_model import GenerateRequest, Sampling

_ANSWER = json.dumps(
    {
        "choices": [{"index": 0, "text": " a short answer", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 3, "total_tokens": 123},
    }
).encode()


async def _serve(ports: SimpleQueue[int], delay_seconds: float) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = head.split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(size))
                await asyncio.sleep(delay_seconds)
                length = str(len(_ANSWER)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-length: " + length + b"\r\n\r\n" + _ANSWER
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=256)
    ports.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run(ports: SimpleQueue[int], delay_seconds: float) -> None:
    asyncio.run(_serve(ports, delay_seconds))


def measure(concurrency: int, delay_seconds: float, count: int) -> tuple[float, float]:
    """(requests per second, CPU milliseconds of the client per request)."""
    context = multiprocessing.get_context("spawn")
    ports: SimpleQueue[int] = context.SimpleQueue()
    server = context.Process(target=_run, args=(ports, delay_seconds), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ports.get()}"
    model = APIModel("m", url, "completions", concurrency=concurrency)
    prompt = (Text("word " * 120),)
    requests = [GenerateRequest(prompt, Sampling(max_tokens=3, seed=at)) for at in range(count)]
    model.generate(requests[: 2 * concurrency])
    wall, cpu = time.perf_counter(), time.process_time()
    answers = model.generate(requests)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert all(answer[0].finish == "length" for answer in answers)
    server.terminate()
    return count / wall, 1000 * cpu / count


def main() -> None:
    for delay_seconds in (0.0, 0.02):
        for concurrency in (1, 8, 32):
            count = 3000 if not delay_seconds else 60 * concurrency
            speed, cpu = measure(concurrency, delay_seconds, count)
            print(
                f"server sleeps {1000 * delay_seconds:2.0f} ms, {concurrency:2d} in flight: "
                f"{speed:6.0f} requests/s, {cpu:.2f} ms of CPU per request"
            )


if __name__ == "__main__":
    main()
