"""A program to be run, what it may use, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foresight.errors import UserError

Status = Literal["passed", "failed", "timeout", "memory", "output", "crashed", "sandbox_failed"]


@dataclass(frozen=True)
class Limits:
    """What a program may use. Raises UserError for values out of range.

    `cpu_seconds` of each process, by the kernel in whole seconds; `wall_seconds` in all.
    `memory_bytes`: address space of each process beyond the bare interpreter's. `output_bytes`:
    of stdout and of stderr. `file_bytes`: of all files together, which lie in memory.
    `processes` at once: with 1 the program cannot fork, so that `memory_bytes` bounds it as a
    whole, and may have 32 threads; with more, threads count as processes.
    """

    cpu_seconds: int = 5
    wall_seconds: float = 10.0
    memory_bytes: int = 512 << 20
    output_bytes: int = 1 << 20
    file_bytes: int = 16 << 20
    processes: int = 1

    def __post_init__(self) -> None:
        lowest = {"cpu_seconds": 1, "wall_seconds": 0.001, "memory_bytes": 1 << 20,
                  "output_bytes": 0, "file_bytes": 1 << 12, "processes": 1}  # fmt: skip
        for name, least in lowest.items():
            if not getattr(self, name) >= least:
                raise UserError(f"{name} {getattr(self, name)}: must be at least {least}")
        if self.cpu_seconds != int(self.cpu_seconds):
            raise UserError(f"cpu_seconds {self.cpu_seconds}: the kernel counts whole seconds")


@dataclass(frozen=True)
class Program:
    """Python source and the tests that it is put to.

    `tests`: Python that decides, run in another process after the source has run to its end.
    There `_program.NAME` is the source's global NAME; calls go to the source's process and back as
    plain values, so that the source can neither see nor touch what decides: printing, leaving
    early, patched builtins and objects that equal everything pass no test. Never append tests to
    `source`: there `sys.exit(0)` passes them. `limits`: else those of the sandbox.
    """

    source: str
    limits: Limits | None = None
    tests: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a program.

    `status`: "passed": its tests ran to their end without an exception; without tests, exit code
    0. "timeout": processor or wall time. "memory": a MemoryError nobody caught. "output": more
    than allowed. "crashed": ended by a signal. "sandbox_failed": not run, `stderr` says why; no
    verdict on the program. `stderr` ends with the failing test's traceback. `exit_code`: minus
    the signal if one ended it; None if it was still running when it was stopped. `seconds`: wall.
    """

    status: Status
    stdout: str
    stderr: str
    exit_code: int | None
    seconds: float
