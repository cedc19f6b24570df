"""The viewer on many records: seconds to open, memory, milliseconds per page, sort and search.

Synthetic records of two models, 2.3 kB each on average, written by `Record.to_line`. The file is
opened once cold for the program (its pages are in the system's cache); each request then goes
through the server on 127.0.0.1, as the page's do, and is timed at the client: `first` computes
the result, `again` finds it kept. `cpu`: processor time of this process, which other work on the
machine does not stretch. With --browser a headless Chromium opens the page and scrolls
through all of it. Deterministic but for the times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from foresight.evals.record import Reason, Record, record_key
from foresight.report.record_server import Viewer, serve

sys.path.insert(0, str(Path(__file__).parents[1]))
WORDS = [
    "energy", "Model", "the", "of", "a", "question", "planet", "therefore", "answer", "is", "law",
    "measured", "in", "value", "two", "when", "Each", "\n", "because", "(x + 1)", '"quoted"',
]  # fmt: skip
LOOK_UPS = {
    "open the page": {},
    "sort by margin": {"sort": "margin"},
    "sort by item": {"sort": "item", "descending": "1"},
    "sort by answer": {"sort": "answer"},
    "filter task, reason": {"task": "task-3", "reason": "invalid_format"},
    "two models that differ": {"model": "small", "against": "large", "differ": "1"},
    "search, no hit": {"text": "zebra"},
    "search, some hits": {"text": "needle"},
    "search, all hits": {"text": "the"},
    "search goes on": {"text": "needle-77"},
    "search not ASCII": {"text": "ÉTAT"},
}


def records(n: int) -> Iterator[Record]:
    draw = random.Random(0)
    for at in range(n):
        model, number = ("small", "large")[at % 2], at // 2
        logprobs = tuple(round(-4 * draw.random(), 4) for _ in range(4))
        right, best = number % 4, max(range(4), key=lambda one: logprobs[one])
        bad = draw.random() < 0.02
        task, item = f"task-{number % 20}", f"item-{number}"
        needle = f" needle-{number}" if number % 100 == 0 else ""
        yield Record(
            key=record_key("bench", item, 0, model),
            task=task,
            item=item,
            sample=0,
            model=model,
            group=f"subject-{number % 57}",
            weight=1.0,
            prompt=" ".join(draw.choices(WORDS, k=240)) + needle,
            output=" ".join(draw.choices(WORDS, k=60)) + (" l'état" if number % 50 == 0 else ""),
            answer=None if bad else "ABCD"[best],
            target=right,
            score=0.0 if bad else float(best == right),
            reason=Reason.INVALID_FORMAT if bad else Reason.OK,
            choices=("first", "second", "third", "fourth"),
            choice_logprobs=logprobs,
            tokens=draw.randrange(20, 400),
            details={"grader": "compared with the key"},
        )


def resident_mb() -> tuple[float, float]:
    """Memory of this process now: its own (anonymous), and all, with the mapped file's pages."""
    rows = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(rows[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS"))  # type: ignore[return-value]


def ask(url: str, path: str, **words: object) -> tuple[float, Any]:
    """Milliseconds, and the answer."""
    start = time.perf_counter()
    with urlopen(f"{url}{path}?{urlencode(words)}") as answer:
        value = json.load(answer)
    return 1e3 * (time.perf_counter() - start), value


def look_ups(url: str) -> dict[str, dict[str, float]]:
    found = {}
    for name, words in LOOK_UPS.items():
        cpu = time.process_time()
        first, answer = ask(url, "rows", start=0, count=100, **words)
        cpu = 1e3 * (time.process_time() - cpu)
        again, _ = ask(url, "rows", start=0, count=100, **words)
        rows = answer["summary"]["n"]
        found[name] = {"first_ms": first, "first_cpu_ms": cpu, "again_ms": again, "rows": rows}
    return found


def scrolling(url: str, n: int) -> dict[str, float]:
    """Pages of 100 rows and whole records at random places, milliseconds."""
    draw = random.Random(1)
    pages = [ask(url, "rows", start=draw.randrange(n), count=100)[0] for _ in range(200)]
    whole = [ask(url, "record", row=draw.randrange(n))[0] for _ in range(200)]
    return {
        "page_median_ms": statistics.median(pages),
        "page_worst_ms": max(pages),
        "record_median_ms": statistics.median(whole),
    }


def in_browser(url: str, n: int) -> dict[str, float]:
    """Seconds until the first rows stand, and milliseconds until rows stand after a jump."""
    from tests.browser import browser

    ready = (
        "return document.querySelectorAll('#rows tr.row a').length > 5 && "
        "!document.querySelector('#rows').innerText.includes('…')"
    )
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        start = time.perf_counter()
        page.open(url)
        page.wait(lambda: page.run(ready), 60)
        opened = time.perf_counter() - start
        script = (
            "const list = document.getElementById('list'), rows = document.getElementById('rows');"
            "const wait = () => new Promise((done) => requestAnimationFrame(done));"
            "return (async () => { const times = []; for (let i = 1; i <= 50; i++) {"
            "const start = performance.now(); list.scrollTop = i / 50 * list.scrollHeight;"
            "do await wait(); while (rows.innerText.includes('…'));"
            "times.push(performance.now() - start); } return times; })()"
        )
        times = page.run(script)
        page.wait(lambda: page.run(ready))
        last = int(
            page.run("return [...document.querySelectorAll('#rows tr.row')].at(-1).dataset.place")
        )
        assert last == n - 1, f"the end of the table shows row {last} of {n}"
    return {
        "open_s": opened,
        "jump_median_ms": statistics.median(times),
        "jump_worst_ms": max(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--browser", action="store_true", help="also scroll in Chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        with path.open("w") as stream:
            stream.writelines(record.to_line() + "\n" for record in records(arguments.records))
        before = resident_mb()[0]
        start, cpu = time.perf_counter(), time.process_time()
        viewer = Viewer([path], lambda done: None)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        own, all_of_it = resident_mb()
        found: dict[str, Any] = {
            "records": viewer.index.size,
            "file_mb": os.path.getsize(path) / 2**20,
            "open_s": seconds,
            "open_cpu_s": cpu,
            "memory_mb": own - before,
            "resident_with_file_mb": all_of_it,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        with serve(viewer, 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/"
            found |= {"look_ups": look_ups(url), "scrolling": scrolling(url, viewer.index.size)}
            if arguments.browser:
                found["browser"] = in_browser(url, viewer.index.size)
            server.shutdown()
    rounded = json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 2))
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
