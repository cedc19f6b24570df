"""The pool of fork servers, as its user sees it."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from foresight.errors import UserError
from foresight.evals.sandbox import self_test
from foresight.evals.sandbox.program import Limits, Outcome, Program

GRACE_SECONDS = 10.0
"""A server that has not answered this long after a program's wall time is replaced."""
# The server's files are found as modules, but the packages around them are not run: their
# imports are the parent's business, and an isolated interpreter has none of its libraries.
START = """
import sys, types
package, folder, descriptor = sys.argv[1:]
parts = package.split(".")
for depth in range(len(parts), 0, -1):
    made = sys.modules[".".join(parts[:depth])] = types.ModuleType(".".join(parts[:depth]))
    made.__path__, folder = [folder], folder.rpartition("/")[0]
from foresight.evals.sandbox.warm import warm
warm()
from foresight.evals.sandbox.server import main
main(int(descriptor))
"""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"}
"""A fixed order of sets, so that the same program gives the same outcome; and no 64 MB of address
space for every thread, which is what a program's memory is counted in."""
REMEDIES = {
    "user namespace": "allow them (sysctl user.max_user_namespaces, "
    "kernel.apparmor_restrict_unprivileged_userns=0, kernel.unprivileged_userns_clone=1), or run "
    "as root with CAP_SYS_ADMIN; in a container: --cap-add SYS_ADMIN --security-opt "
    "seccomp=unconfined --security-opt apparmor=unconfined",
    "another user": "give the container CAP_SETUID and CAP_SETGID, or start it as an ordinary user",
    "system call filter": "use a kernel with CONFIG_SECCOMP_FILTER",
    "empty root": "use Linux 5.12 or newer and an interpreter that other users can read; in a "
    "container: --security-opt apparmor=unconfined",
}
REMEDY = (
    "use a kernel with namespaces; in a container: --cap-add SYS_ADMIN --security-opt "
    "seccomp=unconfined"
)


@dataclass(frozen=True)
class Report:
    """What a server found when it confined itself.

    `mechanisms`: name and whether it is in force, in order, up to the first that is not; then what
    was tried from inside. `missing`: the first that is not in force, `why` and the `remedy`.
    """

    mechanisms: dict[str, bool]
    missing: str | None = None
    why: str = ""
    remedy: str = ""

    def require(self) -> None:
        """Raises UserError that names the missing mechanism and how to enable it."""
        if self.missing is not None:
            raise UserError(
                f"this machine cannot confine generated code: {self.missing} ({self.why}); to run "
                f"it, {self.remedy}"
            )


class Worker:
    """A fork server process, with at most one program in it."""

    def __init__(self) -> None:
        self.index = -1
        self.deadline = 0.0
        self.start()

    def start(self) -> None:
        self.channel, theirs = socket.socketpair()
        options = ["-s", "-S", "-P", "-X", "utf8", "-c", START, __package__]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *options, str(Path(__file__).parent), str(theirs.fileno())],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )

    def report(self) -> Report:
        """How the server's confinement went. Raises UserError if it did not come up."""
        try:
            message = self._receive()
        except EOFError:
            raise UserError(f"the sandbox's interpreter does not start: {self._last()}") from None
        found = dict.fromkeys(message["done"], True)
        missing, why = message["missing"], message["why"]
        if missing is None:
            self.send(0, self_test.PROGRAM, Limits())
            outcome = self.outcome(replace=False)
            found |= (walls := self_test.walls(outcome))
            missing = next((name for name, held in walls.items() if not held), None)
            why = outcome.stderr[-500:] or "tried from inside"
        if missing is None:
            return Report(found)
        return Report(found | {missing: False}, missing, why, REMEDIES.get(missing, REMEDY))

    def send(self, index: int, program: Program, limits: Limits) -> None:
        """Start a program; `limits` if it brings none. Raises OSError if the server is gone."""
        tested = bool(program.tests)
        request = {"text": program.source, "tested": tested}
        self.index = index
        limits = program.limits or limits
        header = json.dumps({"limits": asdict(limits), "tested": tested}).encode()
        self.deadline = time.monotonic() + limits.wall_seconds + GRACE_SECONDS
        source = _memory(request)
        self._tests = _memory({"text": program.tests})
        with source:
            socket.send_fds(self.channel, [header], [source.fileno(), self._tests.fileno()])

    def outcome(self, replace: bool = True) -> Outcome:
        """The program's outcome; a server that does not give one is replaced, or left dead."""
        try:
            if time.monotonic() >= self.deadline:
                raise EOFError
            answer = self._receive()
        except EOFError:
            broken = Outcome(
                "sandbox_failed", "", f"the fork server broke: {self._last()}", None, 0
            )
            if replace:
                self.restart()
            return broken
        stderr = answer["stderr"] + answer["message"]
        with self._tests:
            if answer["judged"]:
                self._tests.seek(0)
                stderr += self._tests.read().decode(errors="replace")
        return Outcome(
            answer["status"], answer["stdout"], stderr, answer["exit_code"], answer["seconds"]
        )

    def restart(self) -> None:
        """Raises UserError."""
        self.close()
        self.start()
        self.report().require()

    def close(self) -> None:
        """End the server and all it runs; it ends by itself should this process be killed."""
        self.channel.close()
        try:
            self._process.communicate(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _last(self) -> str:
        """What the server wrote when it died."""
        self._process.kill()
        _, text = self._process.communicate()
        return (text or b"").decode(errors="replace").strip()[-500:]

    def _receive(self) -> dict[str, Any]:
        (length,) = struct.unpack("=I", self._read(4))
        answer: dict[str, Any] = json.loads(self._read(length))
        return answer

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                part = self.channel.recv(count - len(data))
            except ConnectionError:
                part = b""
            if not part:
                raise EOFError
            data += part
        return bytes(data)


class Sandbox:
    """Runs programs in confinement, several at a time; a context manager.

    Entering it raises UserError where the kernel does not give every mechanism, names it and how
    to enable it: there is no weaker mode. `workers`: fork servers, by default one per processor.
    `limits`: of programs that bring none.
    """

    def __init__(self, workers: int | None = None, limits: Limits | None = None) -> None:
        self._count = workers or len(os.sched_getaffinity(0))
        self._limits = limits or Limits()
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        on_linux()
        try:
            self._workers += [Worker() for _ in range(self._count)]
            for worker in self._workers:
                worker.report().require()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def run(
        self,
        programs: Sequence[Program],
        on_done: Callable[[int, Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Outcomes in the order of the programs; `on_done(index, outcome)` as they come.

        A program whose server broke is "sandbox_failed", and the server is replaced. One caller at
        a time.
        """
        assert self._workers, "the sandbox is not open"
        waiting = iter(enumerate(programs))
        found: dict[int, Outcome] = {}
        busy: list[Worker] = []
        try:
            for worker in self._workers:
                self._give(worker, waiting, busy)
            while busy:
                for worker in _ready(busy):
                    busy.remove(worker)
                    index, outcome = worker.index, worker.outcome()
                    self._give(worker, waiting, busy)
                    found[index] = outcome
                    if on_done is not None:
                        on_done(index, outcome)
        finally:
            for worker in busy:  # left by an exception in the middle of a program
                worker.restart()
        return [found[index] for index in range(len(programs))]

    def _give(
        self, worker: Worker, waiting: Iterator[tuple[int, Program]], busy: list[Worker]
    ) -> None:
        for index, program in waiting:
            try:
                worker.send(index, program, self._limits)
            except OSError:  # gone while idle
                worker.restart()
                worker.send(index, program, self._limits)
            busy.append(worker)
            return


def _ready(busy: list[Worker]) -> list[Worker]:
    """Workers with an answer, or past their deadline; waits for the first."""
    left = min(worker.deadline for worker in busy) - time.monotonic()
    ready, _, _ = select.select([worker.channel for worker in busy], [], [], max(0.0, left))
    now = time.monotonic()
    return [worker for worker in busy if worker.channel in ready or worker.deadline <= now]


def _memory(request: dict[str, Any]) -> BinaryIO:
    """A file in memory: length and JSON; read from the start."""
    text = json.dumps(request).encode()
    stream = os.fdopen(os.memfd_create("program"), "w+b", buffering=0)
    stream.write(struct.pack("<Q", len(text)) + text)
    stream.seek(0)
    return stream


def on_linux() -> None:
    """Raises UserError where there is no such kernel."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise UserError(
            f"generated code runs on Linux on x86_64 or aarch64 only; this is {sys.platform} on "
            f"{machine}"
        )


def check() -> Report:
    """What this machine has for the sandbox. Raises UserError as `Sandbox` does elsewhere."""
    on_linux()
    worker = Worker()
    try:
        return worker.report()
    finally:
        worker.close()
