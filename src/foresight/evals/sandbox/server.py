"""The fork server: a warm, confined interpreter that runs each program in a fork of itself.

It never reads a program or its tests. They come as files in memory whose descriptors it hands on:
the source to a new child, the tests to the judge, a child that is kept as long as it answers in
time (tests are the data set's; the program reaches the judge with plain values only). So no
program finds its tests, or another program, in its memory. Protocol, over one stream socket: a
line of JSON with two descriptors asks; length and JSON answers.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from foresight.evals.sandbox import jail as jails
from foresight.evals.sandbox import kernel, seccomp
from foresight.evals.sandbox.child import (
    CONFINED,
    FAILED,
    MEMORY,
    NOT_PASSED,
    PASSED,
    REPORT,
    begin,
    judge_programs,
    read_program,
    run_program,
)

CHUNK = 1 << 16
JUDGE_LIMITS = {
    "cpu_seconds": resource.RLIM_INFINITY, "memory_bytes": 1 << 30, "processes": 1,
    "file_bytes": CHUNK,
}  # fmt: skip
"""The judge's; its time is that of the programs."""


class HangUpError(Exception):
    """The other side of the socket has been closed."""


class Stream:
    """The reading end of a pipe, and what came out of it, up to one byte over `limit`."""

    def __init__(self, descriptor: int, limit: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self.limit = descriptor, limit
        self.text = bytearray()

    def read(self) -> bool:
        """Take what is there; False at the end, or when over the limit."""
        try:
            part = os.read(self.descriptor, CHUNK)
        except OSError:  # nothing there, or the other end of a socket was killed
            return False
        self.text += part[: self.limit + 1 - len(self.text)]
        return bool(part) and not self.over

    @property
    def over(self) -> bool:
        return len(self.text) > self.limit

    def drain(self) -> None:
        """Take the rest without waiting, and close."""
        while self.read():
            pass
        os.close(self.descriptor)

    def decoded(self) -> str:
        return bytes(self.text[: self.limit]).decode(errors="replace")


class Child:
    """A forked child as its server sees it; the numbers once it has ended.

    `exit_code`: None if it had to be ended. `cpu_seconds`: of it and what it has waited for.
    """

    def __init__(self, pid: int, report: int) -> None:
        self._pid = pid
        self.handle = os.pidfd_open(pid)
        self.report = Stream(report, CHUNK)
        self.exit_code: int | None = None
        self.cpu_seconds = 0.0

    def end(self) -> None:
        """Kill it with everything in its pid namespace, and collect what it used."""
        ended = bool(select.select([self.handle], [], [], 0)[0])
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        _, status, used = os.wait4(self._pid, 0)
        os.close(self.handle)
        self.exit_code = os.waitstatus_to_exitcode(status) if ended else None
        self.cpu_seconds = used.ru_utime + used.ru_stime
        self.report.drain()


class Server:
    """One confined interpreter; one program at a time."""

    def __init__(self, channel: socket.socket, jail: jails.Jail) -> None:
        self._channel = channel
        self._jail = jail
        self._judge: Child | None = None
        self._judge_channel = channel
        self._nothing = os.open(os.devnull, os.O_RDWR)
        machine = os.uname().machine
        self._filters = {
            (fork, receive): seccomp.Filter(seccomp.child_filter(machine, fork, receive))
            for fork, receive in ((False, False), (True, False), (False, True))
        }

    def serve(self) -> None:
        """Answer requests until the other side is gone."""
        while True:
            header, descriptors, _, _ = socket.recv_fds(self._channel, CHUNK, 2)
            if not header:
                return
            try:
                reply = self._run(json.loads(header), *descriptors)
            except HangUpError:
                return
            send(self._channel, reply)

    def _run(self, request: dict[str, Any], source: int, tests: int) -> dict[str, Any]:
        started = time.monotonic()
        limits = request["limits"]
        options = f"size={limits['file_bytes']},nr_inodes=4096,mode=700,uid={self._jail.uid}"
        flags = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
        kernel.mount("tmpfs", jails.WORK, "tmpfs", flags, options)
        try:
            judge, line = self._hand_to_judge(tests) if request["tested"] else (None, None)
            program, out, err = self._start(limits, source, line)
            try:
                why = self._watch(program, judge, (out, err), started + limits["wall_seconds"])
            finally:
                program.end()
                out.drain()
                err.drain()
        finally:
            os.close(source)
            os.close(tests)
            kernel.unmount(jails.WORK)
        found = verdict(why, program, judge, limits["cpu_seconds"])
        if judge is not None and not found["judged"]:
            self._end_judge()
        seconds = time.monotonic() - started
        return found | {"stdout": out.decoded(), "stderr": err.decoded(), "seconds": seconds}

    def _start(
        self, limits: dict[str, Any], source: int, line: socket.socket | None
    ) -> tuple[Child, Stream, Stream]:
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        report, report_end = os.pipe()
        line_end = self._nothing if line is None else line.fileno()
        descriptors = (source, out_end, err_end, report_end, line_end)
        pid = self._fork(descriptors, limits, False, read_program, run_program)
        for descriptor in (out_end, err_end, report_end):
            os.close(descriptor)
        if line is not None:
            line.close()
        limit = limits["output_bytes"]
        return Child(pid, report), Stream(out, limit), Stream(err, limit)

    def _hand_to_judge(self, tests: int) -> tuple[Child, socket.socket]:
        """Give the tests to the judge; it, and the program's end of the line to it."""
        if self._judge is None:
            self._judge_channel, far = socket.socketpair()
            descriptors = (self._nothing, self._nothing, self._nothing, far.fileno())
            pid = self._fork(descriptors, JUDGE_LIMITS, True, _report_socket, judge_programs)
            far.close()
            self._judge = Child(pid, os.dup(self._judge_channel.fileno()))
        # What it said of the last program is done with.
        self._judge.report.text.clear()
        line, judge_line = socket.socketpair()
        with judge_line:
            socket.send_fds(self._judge_channel, [b"t"], [tests, judge_line.fileno()])
        return self._judge, line

    def _end_judge(self) -> None:
        assert self._judge is not None
        self._judge.end()
        self._judge_channel.close()
        self._judge = None

    def _fork(
        self, descriptors: Sequence[int], limits: dict[str, Any], receives: bool,
        prepare: Callable[[], Any], body: Callable[[Any], int],
    ) -> int:  # fmt: skip
        """A confined child in a pid namespace of its own. Returns its pid."""
        kernel.unshare(kernel.NEWPID)
        pid = os.fork()
        if not pid:
            install = self._filters[limits["processes"] > 1, receives].install
            confine = partial(jails.confine, self._jail, limits, install)
            begin(descriptors, confine, prepare, body)
        kernel.setns(self._jail.pid_namespace, kernel.NEWPID)
        return pid

    def _watch(
        self, program: Child, judge: Child | None, streams: Sequence[Stream], deadline: float
    ) -> str:
        """Read until the program has ended, or if it has tests, its judge has; or why not."""
        last = judge or program
        ends = {one.descriptor: one for one in (*streams, program.report, last.report)}
        poller = select.poll()
        for descriptor in (*ends, last.handle, self._channel.fileno()):
            poller.register(descriptor, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for descriptor, _ in poller.poll(left * 1000 + 1):
                if descriptor == self._channel.fileno():
                    raise HangUpError
                if descriptor == last.handle:
                    return "ended"
                stream = ends[descriptor]
                if not stream.read():
                    poller.unregister(descriptor)
                if stream.over:
                    return "output"
                if judge is not None and judge.report.text.endswith((PASSED, NOT_PASSED)):
                    return "ended"


def verdict(why: str, program: Child, judge: Child | None, cpu_seconds: float) -> dict[str, Any]:
    """Status and exit code, from what the kernel and the judge say; the program has no say."""
    report = bytes(program.report.text)
    judged = judge is not None and judge.report.text.endswith((PASSED, NOT_PASSED))
    found: dict[str, Any] = {"exit_code": program.exit_code, "message": "", "judged": judged}
    unconfined = [] if report.startswith(CONFINED) else [report]
    if judge is not None and judge.report.text.startswith(FAILED):
        unconfined.append(bytes(judge.report.text))
    if unconfined and why == "ended":
        message = unconfined[-1].removeprefix(FAILED).decode(errors="replace")
        return found | {"status": "sandbox_failed", "message": message}
    passed = program.exit_code == 0
    if judge is not None:
        # Without a verdict the tests did not come to their end.
        passed = judge.report.text.endswith(PASSED)
    if why != "ended":
        status = why
    elif passed:
        status = "passed"
    elif program.exit_code == -signal.SIGKILL:
        # Nobody in its namespace can send that: it was the kernel, for its time or for memory.
        status = "timeout" if program.cpu_seconds > 0.9 * cpu_seconds else "memory"
    elif MEMORY in report:
        status = "memory"
    elif program.exit_code is not None and program.exit_code < 0:
        status = "crashed"
    else:
        status = "failed"
    return found | {"status": status}


def _report_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, REPORT)


def send(channel: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    channel.sendall(struct.pack("=I", len(data)) + data)


def main(descriptor: int) -> None:
    """Confine this process and serve the socket; the first message tells how that went."""
    channel = socket.socket(fileno=descriptor)
    steps = jails.Steps()
    try:
        jail = jails.enter(steps)
    except jails.MechanismError as error:
        send(channel, {"done": steps.done, "missing": error.mechanism, "why": error.why})
        return
    send(channel, {"done": steps.done, "missing": None, "why": ""})
    gc.collect()
    gc.freeze()
    Server(channel, jail).serve()
