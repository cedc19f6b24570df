"""The walls: what a fork server puts between itself and the machine, and around each program.

`enter` is called once in a fresh interpreter. As root (CAP_SYS_ADMIN) it makes namespaces
directly; otherwise it makes a user namespace first, where the kernel allows it. The new root is a
small tmpfs with the interpreter's library read-only and nothing else. `confine` is called in each
forked child before a line of the program is read. Every step either works or raises `Missing`.
"""

from __future__ import annotations

import importlib
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.evals.sandbox import kernel

THREADS = 32
REPORT_BYTES = 1 << 16
WORK = "/tmp"
KEPT = 1 << kernel.CAP_SYS_ADMIN | 1 << kernel.CAP_SETUID | 1 << kernel.CAP_SETGID | 1 << kernel.CAP_KILL
LIBRARIES = ("_bz2", "_ctypes", "_decimal", "_hashlib", "_lzma", "_sqlite3", "_ssl", "_uuid", "zlib")
"""Extension modules of the standard library that need shared libraries from outside it. Loaded
before the root changes: what is in the process need not be found on disk again."""
WARM = (
    "abc array ast bisect cmath collections.abc contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq inspect io itertools json math numbers operator os random "
    "re statistics string textwrap time traceback types typing unicodedata"
)
"""Imported once, so that programs need not: most programs of HumanEval and MBPP use no others."""


class Missing(Exception):
    """A mechanism that the kernel refused: its name and why."""

    def __init__(self, mechanism: str, why: str) -> None:
        super().__init__(f"{mechanism}: {why}")
        self.mechanism, self.why = mechanism, why


class Steps:
    """Runs steps under the name of their mechanism and remembers those that worked."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, mechanism: str, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            result = step(*arguments)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise Missing(mechanism, str(error)) from error
        if mechanism not in self.done:
            self.done.append(mechanism)
        return result


@dataclass(frozen=True)
class Jail:
    """A fork server's own confinement. `uid`: what its children become. `pid_namespace`: a
    descriptor of its own, to come back to. `bare_bytes`: address space of the idle interpreter."""

    uid: int
    pid_namespace: int
    bare_bytes: int


def enter(steps: Steps) -> Jail:
    """Confine this process; returns in a child, the first process of a new pid namespace.

    Raises Missing. The calling process stays outside, waits for the child and exits with it.
    """
    for name in (*LIBRARIES, *WARM.split()):
        with suppress(ImportError):
            importlib.import_module(name)
    root = os.geteuid() == 0
    uid = _unused_uid() if root else os.geteuid()
    if root and not _may_administrate():
        steps("another user", _become, uid)
        root = False
    if not root:
        gid = os.getegid()
        steps("user namespace", kernel.unshare, kernel.NEWUSER)
        steps("user namespace", _map, uid, gid)
    for name, flag in (
        ("mount namespace", kernel.NEWNS), ("pid namespace", kernel.NEWPID),
        ("network namespace", kernel.NEWNET), ("ipc namespace", kernel.NEWIPC),
        ("uts namespace", kernel.NEWUTS),
    ):  # fmt: skip
        steps(name, kernel.unshare, flag)
    pid = os.fork()
    if pid:
        _stay_outside(pid)
    kernel.prctl(kernel.SET_PDEATHSIG, signal.SIGKILL)
    pid_namespace = steps("pid namespace", os.open, "/proc/self/ns/pid", os.O_RDONLY)
    bare = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    steps("empty root", _change_root)
    steps("no capabilities", kernel.drop_bounding_set)
    steps("no capabilities", kernel.set_capabilities, KEPT)
    return Jail(uid, pid_namespace, bare)


def _unused_uid() -> int:
    """A user that owns nothing and, as far as this machine goes, runs nothing else."""
    first, _, count = map(int, Path("/proc/self/uid_map").read_text().splitlines()[-1].split())
    return min(2_000_000_000, max(first + 1, first + count - 5000)) + os.getpid() % 4096


def _may_administrate() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> kernel.CAP_SYS_ADMIN & 1)
    return False


def _become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # A change of user makes /proc/self root's; the maps below are written through it.
    kernel.prctl(kernel.SET_DUMPABLE, 1)


def _map(uid: int, gid: int) -> None:
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _stay_outside(child: int) -> None:
    """The process that cannot be in the new pid namespace itself holds the door."""
    _, status = os.waitpid(child, 0)
    os._exit(abs(os.waitstatus_to_exitcode(status)))


def _change_root() -> None:
    """A tmpfs with the standard library, /dev/null and an empty /tmp, mounted where /proc was."""
    kernel.mount(None, "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    library = [Path(entry) for entry in sys.path if Path(entry).is_dir()]
    library = [path for path in library if not set(path.parents) & set(library)]
    new = Path("/proc")
    kernel.mount("tmpfs", str(new), "tmpfs", kernel.NOSUID | kernel.NODEV, "size=1m,mode=755")
    read_only = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID
    for path in library:
        place = new / path.relative_to("/")
        place.mkdir(parents=True, exist_ok=True)
        kernel.mount(str(path), str(place), None, kernel.BIND | kernel.RECURSIVE)
        kernel.restrict_mount(str(place), read_only | kernel.ATTR_NODEV, recursive=True)
        for packages in ("site-packages", "dist-packages"):
            if (place / packages).is_dir():
                kernel.mount("tmpfs", str(place / packages), "tmpfs", kernel.NOSUID, "size=4k")
                kernel.restrict_mount(str(place / packages), read_only)
    (new / "dev").mkdir()
    (new / "dev" / "null").touch()
    kernel.mount("/dev/null", str(new / "dev" / "null"), None, kernel.BIND)
    (new / WORK[1:]).mkdir()
    os.chdir(new)
    kernel.pivot_root_here()
    kernel.restrict_mount("/", read_only)
    sys.path[:] = [str(path) for path in map(Path, sys.path) if path.is_dir()]


def confine(jail: Jail, limits: dict[str, Any], install_filter: Callable[[], None]) -> None:
    """Give up, in a forked child, whatever it does not need. Raises Missing."""
    steps = Steps()
    # Signals to the own process group would otherwise reach the server, outside or not.
    steps("session", os.setsid)
    memory = jail.bare_bytes + limits["memory_bytes"]
    for kind, value in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]), (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, limits["processes"] + THREADS + 3),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]), (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 64),
    ):  # fmt: skip
        steps("resource limits", resource.setrlimit, kind, (value, value))
    if os.geteuid() == 0:
        steps("another user", _become, jail.uid)
    steps("no capabilities", kernel.set_capabilities, 0)
    steps("no new privileges", kernel.prctl, kernel.SET_NO_NEW_PRIVS, 1)
    steps("system call filter", install_filter)
