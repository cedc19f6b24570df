"""Executions per second: the sandbox beside a process per sample, as the reference harness does.

The reference way (Chen et al. 2021, the harness published with HumanEval): for every sample a
manager process for the verdict and a process for the program, in which destructive functions of
the standard library are set to None; threads drive as many samples at a time as there are
workers. It hides nothing and stops nobody; it is the baseline of speed alone. Both run HumanEval's
canonical solutions with their tests. Rounds are interleaved. Estimand: programs per second of wall
time and milliseconds of processor per program, median and range over rounds; the ratio is taken
within rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import io
import json
import multiprocessing
import os
import resource
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from foresight.evals.sandbox import Program, Sandbox, human_eval

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "evals" / "humaneval"
TAKEN_AWAY = {
    "os": ("kill", "system", "putenv", "remove", "removedirs", "rmdir", "fchdir", "setuid", "fork",
           "forkpty", "killpg", "rename", "renames", "truncate", "replace", "unlink", "fchmod",
           "fchown", "chmod", "chown", "chroot", "lchown", "getcwd", "chdir"),
    "shutil": ("rmtree", "move", "chown"),
    "subprocess": ("Popen",),
}  # fmt: skip


def _guarded(source: str, seconds: float, verdict: Any) -> None:
    """Body of a reference process: guard, run, append the verdict."""
    import shutil

    def late(number: int, frame: Any) -> None:
        raise TimeoutError

    rmtree, chdir = shutil.rmtree, os.chdir
    folder = tempfile.mkdtemp()
    chdir(folder)
    kept = [(__import__(module), name) for module, names in TAKEN_AWAY.items() for name in names]
    originals = [getattr(module, name) for module, name in kept]
    for module, name in kept:
        setattr(module, name, None)
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(source, {})
        verdict.append("passed")
    except BaseException as error:
        verdict.append(f"failed: {error}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    for (module, name), original in zip(kept, originals, strict=True):
        setattr(module, name, original)
    chdir("/")
    rmtree(folder)


def _check(source: str, seconds: float = 3.0) -> bool:
    with multiprocessing.Manager() as manager:
        verdict = manager.list()
        process = multiprocessing.Process(target=_guarded, args=(source, seconds, verdict))
        process.start()
        process.join(timeout=seconds + 1)
        if process.is_alive():
            process.kill()
        return list(verdict) == ["passed"]


def reference(sources: list[str], workers: int) -> int:
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(_check, sources))


def ours(programs: list[Program], workers: int) -> int:
    """Includes the start of the fork servers and their end."""
    with Sandbox(workers) as sandbox:
        return sum(one.status == "passed" for one in sandbox.run(programs))


def bare(sources: list[str]) -> int:
    for source in sources:
        exec(source, {})
    return len(sources)


def _timed(run: Callable[[], int], count: int) -> tuple[float, float]:
    """Programs per second of wall time, milliseconds of processor per program."""

    def cpu() -> float:
        used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    wall, before = time.perf_counter(), cpu()
    passed = run()
    assert passed == count, f"{passed} of {count} passed"
    return count / (time.perf_counter() - wall), (cpu() - before) * 1e3 / count


def _row(name: str, unit: str, values: list[float]) -> dict[str, Any]:
    shown = f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"
    print(f"{name:<36}{shown:>26} {unit}")
    return {"name": name, "unit": unit, "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=3, help="runs of each solution a round")
    parser.add_argument("--holding", default="numpy", help="module that the caller has imported")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--data", type=Path, default=DATA / "HumanEval.jsonl.gz")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with gzip.open(chosen.data, "rt") as stream:
        rows = [json.loads(line) for line in stream]
    importlib.import_module(chosen.holding)
    keys = ("prompt", "canonical_solution", "test", "entry_point")
    parts = [tuple(row[key] for key in keys) for row in rows] * chosen.samples
    programs = [human_eval(*one) for one in parts]
    sources = [f"{one[0]}{one[1]}\n{one[2]}\ncheck({one[3]})\n" for one in parts]
    ways = {
        "sandbox": lambda: ours(programs, chosen.workers),
        "process per sample": lambda: reference(sources, chosen.workers),
        "bare": lambda: bare(sources),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(chosen.rounds):
        for name, run in ways.items():
            found[name].append(_timed(run, len(parts)))
    print(
        f"HumanEval, {len(rows)} solutions x {chosen.samples}, {chosen.workers} workers, "
        f"{chosen.rounds} rounds, caller holds {chosen.holding}"
    )
    table = []
    for name, values in found.items():
        table.append(_row(name, "programs / s", [value[0] for value in values]))
        table.append(_row(name, "ms of processor / program", [value[1] for value in values]))
    pairs = list(zip(*found.values(), strict=True))
    table.append(_row("ratio of speeds", "x", [a[0] / b[0] for a, b, _ in pairs]))
    table.append(_row("ratio of processor time", "x", [b[1] / a[1] for a, b, _ in pairs]))
    own = [(b[1] - c[1]) / (a[1] - c[1]) for a, b, c in pairs]
    table.append(_row("ratio beyond the solutions' own", "x", own))
    if chosen.json:
        chosen.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
