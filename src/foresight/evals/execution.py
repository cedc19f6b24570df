"""What the code protocol asks of a sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Status = Literal["passed", "failed", "timeout", "memory", "output", "crashed", "sandbox_failed"]
"""`sandbox_failed` is no verdict on the program: its record has no score."""


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    cpu_seconds: float = 5.0
    wall_seconds: float = 10.0
    memory_bytes: int = 512 * 2**20
    output_bytes: int = 2**16
    file_bytes: int = 2**20
    processes: int = 1


@dataclass(frozen=True)
class Program:
    """Python source and what is put before it.

    `tests`: Python that decides, run away from the source, where `_program.NAME` is the source's
    global NAME: a program that prints, leaves early or patches builtins passes no test.
    """

    source: str
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    tests: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a program ended; stdout and stderr cut at the limit."""

    status: Status
    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None
    seconds: float = 0.0


class Sandbox(Protocol):
    """Runs programs away from this process; outcomes in the order of the programs."""

    def run(self, programs: Sequence[Program]) -> list[Outcome]: ...
