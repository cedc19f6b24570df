"""Limits and statuses; servers that break."""

from __future__ import annotations

import os
import signal
import time

import pytest

from foresight.errors import UserError
from foresight.evals.sandbox import Limits, Outcome, Program, Sandbox
from tests.command import foresight

SHORT = Limits(cpu_seconds=1, wall_seconds=0.5, memory_bytes=64 << 20, output_bytes=1000,
               file_bytes=1 << 16)  # fmt: skip
ENDS = {
    "nothing": ("", "passed", 0),
    "exit 0": ("import sys; sys.exit()", "passed", 0),
    "exit 3": ("import sys; sys.exit(3)", "failed", 3),
    "exit text": ("import sys; sys.exit('why')", "failed", 1),
    "os exit": ("import os; os._exit(4)", "failed", 4),
    "raise": ("1 / 0", "failed", 1),
    "syntax": ("def", "failed", 1),
    "null": ("x = '\0'", "failed", 1),
    "sleep": ("import time; time.sleep(9)", "timeout", None),
    "spin": ("while True: pass", "timeout", None),
    "deaf": (
        "import signal\nfor one in (2, 15, 24): signal.signal(one, signal.SIG_IGN)\nwhile 1: pass",
        "timeout",
        None,
    ),
    "memory": ("x = bytearray(10**9)", "memory", 1),
    "memory in steps": ("x = []\nwhile True: x.append('y' * 10**6)", "memory", 1),
    "output": ("while True: print('x' * 99)", "output", None),
    "errors": ("import sys\nwhile True: sys.stderr.write('x' * 99)", "output", None),
    "crash": ("import ctypes; ctypes.string_at(0)", "crashed", -signal.SIGSEGV),
    "file": ("open('x', 'w').write('x' * 10**5)", "failed", 1),
    "files": ("for i in range(99): open(str(i), 'w').write('x' * 10**4)", "failed", 1),
    "descriptors": ("x = [open('x', 'w') for _ in range(99)]", "failed", 1),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(sandbox: Sandbox, name: str) -> None:
    source, status, code = ENDS[name]
    started = time.monotonic()
    outcome = sandbox.run([Program(source, limits=SHORT)])[0]
    assert (outcome.status, outcome.exit_code) == (status, code), outcome
    assert len(outcome.stdout) <= 1000 and len(outcome.stderr) <= 1000
    assert outcome.seconds < 3 and time.monotonic() - started < 5


def test_processor_time_is_bounded_whatever_the_wall_time(sandbox: Sandbox) -> None:
    limits = Limits(cpu_seconds=1, wall_seconds=60)
    outcome = sandbox.run([Program("while True: pass", limits=limits)])[0]
    assert (outcome.status, outcome.exit_code) == ("timeout", -signal.SIGKILL)


def test_within_limits_all_is_well(sandbox: Sandbox) -> None:
    """The control of the limits above."""
    source = (
        "import sys\nx = bytearray(40 << 20)\nopen('x', 'w').write('x' * 10**4)\nprint('x' * 900)"
    )
    outcome = sandbox.run([Program(source, limits=SHORT)])[0]
    assert outcome.status == "passed" and outcome.stdout == "x" * 900 + "\n"


def test_stdin_is_empty(sandbox: Sandbox) -> None:
    program = Program("try: input()\nexcept EOFError: print('end')")
    assert sandbox.run([program])[0].stdout == "end\n"


@pytest.mark.parametrize(
    "field", ["cpu_seconds", "wall_seconds", "memory_bytes", "file_bytes", "processes"]
)
def test_limits_out_of_range(field: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(UserError, match=field):
            Limits(**{field: value})


def test_outcomes_come_in_order_and_as_they_are_done() -> None:
    programs = [Program(f"import time; time.sleep({1.5 * (i == 0)}); print({i})") for i in range(9)]
    seen: list[tuple[int, Outcome]] = []
    with Sandbox(workers=2) as sandbox:
        outcomes = sandbox.run(programs, on_done=lambda *one: seen.append(one))
        assert sandbox.run([]) == []
    assert [one.stdout for one in outcomes] == [f"{i}\n" for i in range(9)]
    assert sorted(index for index, _ in seen) == list(range(9)) and seen[-1][0] == 0
    assert all(outcomes[index] is outcome for index, outcome in seen)


def test_a_broken_server_is_no_verdict_and_is_replaced() -> None:
    with Sandbox(workers=1) as sandbox:
        worker = sandbox._workers[0]
        os.kill(worker._process.pid, signal.SIGKILL)
        time.sleep(0.2)
        outcomes = sandbox.run([Program("print(1)")] * 3)
    assert [one.status for one in outcomes][1:] == ["passed", "passed"]
    assert outcomes[0].status in ("sandbox_failed", "passed")


def test_an_exception_in_the_middle_leaves_a_sandbox_that_works() -> None:
    def stop(index: int, outcome: Outcome) -> None:
        raise KeyboardInterrupt

    programs = [Program("print(1)"), Program("import time; time.sleep(5); print(2)")]
    with Sandbox(workers=2) as sandbox:
        with pytest.raises(KeyboardInterrupt):
            sandbox.run(programs, on_done=stop)
        assert sandbox.run([Program("print(3)")])[0].stdout == "3\n"


def test_outcomes_do_not_depend_on_the_server() -> None:
    source = "import random\nprint(set('abcdefgh'), hash('x'), random.random())"
    outputs = set()
    for _ in range(2):
        with Sandbox(workers=1) as sandbox:
            outputs |= {one.stdout for one in sandbox.run([Program(source)] * 2)}
    assert len(outputs) == 1


def test_check_prints_what_is_in_force() -> None:
    done = foresight("sandbox", "check", "--json")
    assert done.returncode == 0, done.stderr
    assert '"usable": true' in done.stdout and '"system call filter": true' in done.stdout
