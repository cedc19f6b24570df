"""What the two forked children of a fork server do: run the program, run its tests."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from foresight.evals.sandbox import jail, judge

CONFINED, MEMORY, FAILED = b"+", b"M", b"!"
"""A report begins with CONFINED, or with FAILED and why. Behind it MEMORY, or a verdict."""
INPUT, LINE, REPORT = 0, 3, 4
"""Descriptors of a child beside its stdout and stderr: its text, the line to the other child, and
the report to the server."""
HIGH = 100
Body = Callable[[dict[str, Any]], int]


def begin(descriptors: Sequence[int], confine: Callable[[], None], body: Body) -> NoReturn:
    """Be a child: keep the descriptors as 0, 1, ..., give up everything else, run the body."""
    code = 1
    try:
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD, HIGH) for one in descriptors]
        for number, one in enumerate(moved):
            os.dup2(one, number, inheritable=False)
        os.closerange(len(moved), 1 << 16)
        confine()
        request = _read_request()
        os.write(REPORT, CONFINED)
    except BaseException as error:
        os.write(REPORT, FAILED + str(error).encode())
        os._exit(1)
    try:
        random.seed(0)
        code = body(request)
    finally:
        os._exit(code)


def _read_request() -> dict[str, Any]:
    """The text before the program; what follows in the same file is the program's stdin."""
    length = int.from_bytes(os.read(INPUT, 8), "little")
    text = b""
    while len(text) < length:
        text += os.read(INPUT, length - len(text))
    request: dict[str, Any] = json.loads(text)
    os.chdir(jail.WORK)
    for name, content in request.get("files", {}).items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return request


def run_source(request: dict[str, Any]) -> int:
    """Run a program as a script, or as a module that its tests then use; its exit code."""
    sys.path.insert(0, jail.WORK)
    sys.argv = ["program.py"]
    sys.stdin = open(INPUT, encoding="utf-8")
    sys.stdout = open(1, "w", encoding="utf-8")
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    namespace = judge.module("program" if request["tested"] else "__main__")
    code = 0
    try:
        exec(judge.compiled(request["text"], "program.py"), namespace)
        if request["tested"]:
            judge.answer(namespace, judge.Line(LINE), _report_memory)
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException as error:
        if isinstance(error, MemoryError):
            _report_memory()
        sys.stderr.write(judge.text_of(error))
        code = 1
    _finish()
    return code


def run_tests(request: dict[str, Any]) -> int:
    """Run tests and report the verdict."""
    passed, text = judge.judge(request["text"], judge.Line(LINE))
    os.write(REPORT, json.dumps([passed, text[-jail.REPORT_BYTES // 8 :]]).encode())
    return 0


def _report_memory() -> None:
    os.write(REPORT, MEMORY)


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _finish() -> None:
    """What the interpreter does at its end: wait for threads, call exit functions, flush."""
    for step in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        with suppress(BaseException):
            step()
