"""What the forked children of a fork server do: run a program, judge programs by their tests."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import random
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from foresight.evals.sandbox import jail, judge

CONFINED, MEMORY, FAILED = b"+", b"M", b"!"
"""The first report is CONFINED, or FAILED and why. A program's may go on with MEMORY."""
INPUT, REPORT, LINE = 0, 3, 4
"""Descriptors of a child beside its stdout and stderr: its text and stdin, what it reports to the
server, and the program's line to the judge. The judge gets text and lines through REPORT."""
PASSED, NOT_PASSED = b"P", b"N"
"""The judge's later reports, one for each program."""
HIGH = 100
JUDGE_CHARACTERS = 8000
"""Of a failing test's traceback: its end."""


def begin(
    descriptors: Sequence[int], confine: Callable[[], None], prepare: Callable[[], Any],
    body: Callable[[Any], int],
) -> NoReturn:  # fmt: skip
    """Be a child: keep the descriptors as 0, 1, ..., give up everything else, then run."""
    code = 1
    try:
        moved = [fcntl.fcntl(one, fcntl.F_DUPFD, HIGH) for one in descriptors]
        for number, one in enumerate(moved):
            os.dup2(one, number, inheritable=False)
        os.closerange(len(moved), 1 << 16)
        confine()
        prepared = prepare()
        os.write(REPORT, CONFINED)
        code = body(prepared)
    except BaseException as error:
        with suppress(BaseException):
            os.write(REPORT, FAILED + str(error).encode())
    finally:
        os._exit(code)


def read_program() -> dict[str, Any]:
    """The program; behind it in its file there is nothing, which is its stdin."""
    os.chdir(jail.WORK)
    return _read_request(INPUT)


def run_program(request: dict[str, Any]) -> int:
    """Run a program as a script, or as a module that its tests then use; its exit code."""
    random.seed(0)
    sys.path.insert(0, jail.WORK)
    sys.argv = ["program.py"]
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


def judge_programs(channel: socket.socket) -> int:
    """Run the tests of one program after the other and report the verdicts.

    Why one failed is left in the file that the tests came in. It goes back to the caller with it
    and never through the server, whose memory the next programs are a copy of.
    """
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 2)
        if not descriptors:
            return 0
        random.seed(0)
        tests, line = descriptors
        passed, text = judge.judge(_read_request(tests)["text"], judge.Line(line))
        os.ftruncate(tests, 0)
        os.pwrite(tests, text[-JUDGE_CHARACTERS:].encode(errors="replace"), 0)
        for descriptor in descriptors:
            os.close(descriptor)
        channel.sendall(PASSED if passed else NOT_PASSED)


def _read_request(descriptor: int) -> dict[str, Any]:
    length = int.from_bytes(os.read(descriptor, 8), "little")
    text = b""
    while len(text) < length:
        text += os.read(descriptor, length - len(text))
    request: dict[str, Any] = json.loads(text)
    return request


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
