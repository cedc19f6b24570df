"""Without one of its mechanisms the sandbox refuses; with them it works for any user."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import foresight
from foresight.errors import UserError
from foresight.evals.sandbox import Outcome, Sandbox, self_test

PACKAGE = Path(foresight.__file__).parent
# The files of the room without the packages around it, for interpreters that have no libraries.
ALONE = f"""
import os, sys, types
for name, folder in (("", ""), (".evals", "/evals"), (".evals.sandbox", "/evals/sandbox")):
    made = sys.modules["foresight" + name] = types.ModuleType("foresight" + name)
    made.__path__ = [{str(PACKAGE)!r} + folder]
"""
BROKEN = """
import socket
from foresight.evals.sandbox import jail, kernel, server
name, wanted = sys.argv[1:]
real = getattr(kernel, name)
def broken(*arguments, **options):
    if not wanted or arguments[0] == int(wanted):
        raise OSError(1, "taken away")
    return real(*arguments, **options)
setattr(kernel, name, broken)
near, far = socket.socketpair()
if os.fork() == 0:
    near.close()
    server.main(far.detach())
    os._exit(0)
far.close()
print(near.recv(1 << 16))
"""
USE = """
from foresight.evals.sandbox.pool import Sandbox, check
from foresight.evals.sandbox.program import Limits, Program
print("user namespace" in check().mechanisms, "another user" in check().mechanisms)
with Sandbox(workers=1) as sandbox:
    tests = "assert _program.f(1) == 2"
    program = Program("import os\\nprint(os.getuid() != 0)\\ndef f(x): return x + 1", tests=tests)
    fork = "import os\\ncount = 1\\ntry:\\n    while os.fork(): count += 1\\nexcept OSError: pass"
    rest = "\\nelse: import time; time.sleep(9)\\nprint(count)"
    bomb = Program(fork + rest, limits=Limits(processes=5))
    for outcome in sandbox.run([program, bomb]):
        print(outcome.status, outcome.stdout.strip())
"""
ORDINARY = 4711
# A root without CAP_SYS_ADMIN, as in a container: it keeps what changing the user needs.
CONTAINED = """
from foresight.evals.sandbox import kernel
for capability in set(range(41)) - {5, 6, 7, 8}:
    kernel._libc().prctl(24, capability, 0, 0, 0)
kernel.set_capabilities(1 << 5 | 1 << 6 | 1 << 7 | 1 << 8)
"""
# unshare(2) refused, as the usual filter of containers does.
NO_UNSHARE = """
import struct
from foresight.evals.sandbox import kernel, seccomp
number = seccomp.numbers(seccomp.SERVER, os.uname().machine)["unshare"]
kernel.prctl(kernel.SET_NO_NEW_PRIVS, 1)
seccomp.Filter(seccomp._op(0x20, 0) + seccomp._op(0x15, number, 0, 1) + seccomp.REFUSE
    + seccomp._op(6, seccomp.ALLOW)).install()
"""


def script(source: str, *words: str, python: str = sys.executable, user: int | None = None) -> str:
    """Output of a script in an interpreter of its own, as another user if one is named."""
    done = subprocess.run(
        [python, "-c", source, *words], capture_output=True, text=True, check=False, timeout=60,
        user=user, group=user, extra_groups=None if user is None else [], cwd="/",
    )  # fmt: skip
    return done.stdout + done.stderr


def system_python() -> str:
    """An interpreter that any user can start. Tests that change the user need one, and root."""
    for path in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            probe = "import sys; print(sys.version_info >= (3, 11))"
            if script(probe, python=path, user=ORDINARY) == "True\n":
                return path
    pytest.skip(
        "needs root, and a Python 3.11 that other users can start: neither can be made here"
    )


@pytest.mark.parametrize(
    ("function", "first_argument", "mechanism"),
    [
        ("unshare", str(0x00020000), "mount namespace"),
        ("unshare", str(0x20000000), "pid namespace"),
        ("unshare", str(0x40000000), "network namespace"),
        ("unshare", str(0x08000000), "ipc namespace"),
        ("unshare", str(0x04000000), "uts namespace"),
        ("mount", "", "empty root"),
        ("restrict_mount", "", "empty root"),
        ("pivot_root_here", "", "empty root"),
        ("drop_bounding_set", "", "no capabilities"),
        ("set_capabilities", "", "no capabilities"),
        ("prctl", "38", "no new privileges"),
        ("prctl", "22", "system call filter"),
    ],
)
def test_without_a_mechanism_no_server_starts(
    function: str, first_argument: str, mechanism: str
) -> None:
    said = script(ALONE + BROKEN, function, first_argument)
    assert f'"missing": "{mechanism}", "why": "[Errno 1] taken away"' in said


def test_with_all_of_them_one_does() -> None:
    assert '"missing": null' in script(ALONE + BROKEN, "prctl", "99")


@pytest.mark.parametrize("function", ["set_capabilities", "prctl"])
def test_a_program_that_cannot_be_confined_does_not_run(function: str) -> None:
    use = (
        "import foresight.evals.sandbox.pool as pool\n"
        "from foresight.evals.sandbox.program import Program\n"
        "pool.START = pool.START.replace('main(int', 'from foresight.evals.sandbox import kernel\\n"
        "import os\\nserver = os.getpid()\\n"
        f"real = kernel.{function}\\n"
        "def broken(*a):\\n    if kernel._libc().getsid(0) == os.getpid() == 1: return 1 / 0\\n"
        "    return real(*a)\\n"
        f"kernel.{function} = broken\\n"
        "main(int')\nworker = pool.Worker()\n"
        "print(worker._receive()['missing'])\n"
        "worker.send(0, Program('print(4711)'), pool.Limits())\n"
        "print(worker.outcome(False))\nworker.close()"
    )
    said = script(ALONE + use)
    assert "status='sandbox_failed'" in said and "4711" not in said, said


@pytest.mark.parametrize("wall", ["/usr/bin", "/proc/1"])
def test_a_wall_that_does_not_hold_is_found(monkeypatch: pytest.MonkeyPatch, wall: str) -> None:
    holey = self_test.SOURCE.replace(wall, "/tmp")
    monkeypatch.setattr(self_test, "PROGRAM", self_test.Program(holey))
    with pytest.raises(UserError, match="host files are hidden"), Sandbox(workers=1):
        pass


def test_a_self_test_that_does_not_end_is_no_proof() -> None:
    assert self_test.walls(Outcome("failed", "{}", "", 1, 0.0)) == {"programs run": False}


def test_an_ordinary_user_has_a_user_namespace() -> None:
    said = script(ALONE + USE, python=system_python(), user=ORDINARY)
    assert said == "True False\npassed True\npassed 5\n"


def test_a_contained_root_becomes_another_user() -> None:
    said = script(ALONE + CONTAINED + USE, python=system_python())
    assert said.splitlines()[:2] == ["True True", "passed True"], said


@pytest.mark.parametrize("user", [None, ORDINARY])
def test_where_namespaces_are_forbidden_it_refuses_and_says_how(user: int | None) -> None:
    said = script(ALONE + NO_UNSHARE + USE, python=system_python(), user=user)
    last = said.splitlines()[-1]
    assert "UserError: this machine cannot confine generated code" in last
    assert ("user namespace" if user or os.geteuid() else "mount namespace") in last
    assert "--cap-add SYS_ADMIN" in last
