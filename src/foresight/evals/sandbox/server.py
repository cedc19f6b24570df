"""The fork server: a warm, confined interpreter that runs each program in forks of itself.

It never reads a program. Source and tests come as files in memory whose descriptors it hands to
two children, so that no child finds the tests, or another program, in its memory. Protocol, over
one stream socket: a line of JSON with two descriptors asks; length and JSON answers.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from foresight.evals.sandbox import jail as jails
from foresight.evals.sandbox import kernel, seccomp
from foresight.evals.sandbox.child import CONFINED, FAILED, MEMORY, Body, begin, run_source, run_tests

CHUNK = 1 << 16


class Gone(Exception):
    """The other side of the socket has been closed."""


@dataclass
class Stream:
    """The reading end of a pipe, and what came out of it, up to one byte over `limit`."""

    descriptor: int
    limit: int
    text: bytearray = field(default_factory=bytearray)

    def read(self) -> bool:
        """Take what is there; False at the end, or when over the limit."""
        try:
            part = os.read(self.descriptor, CHUNK)
        except BlockingIOError:
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


@dataclass
class Child:
    """A forked child as its server sees it; the numbers once it has ended."""

    pid: int
    handle: int
    report: Stream
    exit_code: int | None = None
    cpu_seconds: float = 0.0

    def end(self) -> None:
        """Kill it with everything in its pid namespace, and collect what it used."""
        ended = bool(select.select([self.handle], [], [], 0)[0])
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        _, status, used = os.wait4(self.pid, 0)
        os.close(self.handle)
        self.exit_code = os.waitstatus_to_exitcode(status) if ended else None
        self.cpu_seconds = used.ru_utime + used.ru_stime
        self.report.drain()


class Server:
    """One confined interpreter; one program at a time."""

    def __init__(self, channel: socket.socket, jail: jails.Jail) -> None:
        self._channel = channel
        self._jail = jail
        self._filters = {fork: seccomp.Filter(fork) for fork in (False, True)}

    def serve(self) -> None:
        """Answer requests until the other side is gone."""
        while True:
            header, descriptors, _, _ = socket.recv_fds(self._channel, CHUNK, 2)
            if not header:
                return
            try:
                reply = self._run(json.loads(header), *descriptors)
            except Gone:
                return
            send(self._channel, reply)

    def _run(self, request: dict[str, Any], source: int, tests: int) -> dict[str, Any]:
        started = time.monotonic()
        limits = request["limits"]
        options = f"size={limits['file_bytes']},nr_inodes=4096,mode=700,uid={self._jail.uid}"
        flags = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
        kernel.mount("tmpfs", jails.WORK, "tmpfs", flags, options)
        try:
            children, streams = self._start(limits, source, tests, request["tested"])
            try:
                why = self._watch(children, streams, started + limits["wall_seconds"])
            finally:
                for child in children:
                    child.end()
                for stream in streams:
                    stream.drain()
        finally:
            kernel.unmount(jails.WORK)
        seconds = time.monotonic() - started
        return verdict(why, children, limits["cpu_seconds"]) | {
            "stdout": bytes(streams[0].text[: streams[0].limit]).decode(errors="replace"),
            "stderr": bytes(streams[1].text[: streams[1].limit]).decode(errors="replace"),
            "seconds": seconds,
        }

    def _start(
        self, limits: dict[str, Any], source: int, tests: int, tested: bool
    ) -> tuple[list[Child], list[Stream]]:
        out, out_end = _pipe(limits["output_bytes"])
        err, err_end = _pipe(limits["output_bytes"])
        ends = [end.detach() for end in socket.socketpair()]
        nothing = os.open(os.devnull, os.O_WRONLY)
        children = [self._fork(limits, (source, out_end, err_end, ends[0]), run_source)]
        if tested:
            children.append(self._fork(limits, (tests, nothing, nothing, ends[1]), run_tests))
        for descriptor in (source, tests, out_end, err_end, nothing, *ends):
            os.close(descriptor)
        return children, [out, err]

    def _fork(self, limits: dict[str, Any], descriptors: Sequence[int], body: Body) -> Child:
        report, report_end = _pipe(jails.REPORT_BYTES)
        kernel.unshare(kernel.NEWPID)
        pid = os.fork()
        if not pid:
            install = self._filters[limits["processes"] > 1].install
            begin(
                (*descriptors, report_end),
                lambda: jails.confine(self._jail, limits, install),
                body,
            )
        kernel.setns(self._jail.pid_namespace, kernel.NEWPID)
        os.close(report_end)
        return Child(pid, os.pidfd_open(pid), report)

    def _watch(self, children: list[Child], streams: list[Stream], deadline: float) -> str:
        """Read until the last child (the tests, if there are any) has ended; or why not."""
        poller = select.poll()
        open_ends = {one.descriptor: one for one in [*streams, *(c.report for c in children)]}
        for descriptor in (*open_ends, children[-1].handle, self._channel.fileno()):
            poller.register(descriptor, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for descriptor, _ in poller.poll(left * 1000 + 1):
                if descriptor == self._channel.fileno():
                    raise Gone
                if descriptor == children[-1].handle:
                    return "ended"
                stream = open_ends[descriptor]
                if not stream.read():
                    poller.unregister(descriptor)
                if stream.over:
                    return "output"


def verdict(why: str, children: list[Child], cpu_seconds: float) -> dict[str, Any]:
    """Status and exit code, from what the kernel and the judge say; the program has no say."""
    program, judge = children[0], children[-1]
    reports = [bytes(child.report.text) for child in children]
    found: dict[str, Any] = {"exit_code": program.exit_code, "message": ""}
    unconfined = [report for report in reports if not report.startswith(CONFINED)]
    passed = program.exit_code == 0
    if judge is not program:
        # Without a verdict the tests did not come to their end.
        passed, found["message"] = json.loads(reports[-1][1:] or b'[false, ""]')
    if unconfined and why == "ended":
        found["message"] = unconfined[0].removeprefix(FAILED).decode(errors="replace")
        return found | {"status": "sandbox_failed"}
    if why != "ended":
        status = why
    elif passed:
        status = "passed"
    elif max(child.cpu_seconds for child in children) >= cpu_seconds:
        status = "timeout"
    elif MEMORY in reports[0]:
        status = "memory"
    elif program.exit_code is not None and program.exit_code < 0:
        status = "crashed"
    else:
        status = "failed"
    return found | {"status": status}


def _pipe(limit: int) -> tuple[Stream, int]:
    near, far = os.pipe()
    os.set_blocking(near, False)
    return Stream(near, limit), far


def send(channel: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    channel.sendall(struct.pack("=I", len(data)) + data)


def main(descriptor: int) -> None:
    """Confine this process and serve the socket; the first message tells how that went."""
    channel = socket.socket(fileno=descriptor)
    steps = jails.Steps()
    try:
        jail = jails.enter(steps)
    except jails.Missing as error:
        send(channel, {"done": steps.done, "missing": error.mechanism, "why": error.why})
        return
    send(channel, {"done": steps.done, "missing": None, "why": ""})
    gc.collect()
    gc.freeze()
    Server(channel, jail).serve()
