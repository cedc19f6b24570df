"""The walls: what a fork server puts between itself and the machine, and around each program.

`enter` is called once in a fresh interpreter. As root (CAP_SYS_ADMIN) it makes namespaces
directly; otherwise it makes a user namespace first, where the kernel allows it. The new root is a
small tmpfs with the interpreter's library read-only and nothing else. `confine` is called in each
forked child before a line of the program is read. Every step works, or raises MechanismError.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from foresight.evals.sandbox import kernel, seccomp

THREADS = 33
"""Of a program that cannot fork, the first included."""
REPORT_BYTES = 1 << 16
READ_ONLY = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID
WORK = "/tmp"
KEPT = sum(
    1 << one
    for one in (kernel.CAP_SYS_ADMIN, kernel.CAP_SETUID, kernel.CAP_SETGID, kernel.CAP_KILL)
)


class MechanismError(Exception):
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
            raise MechanismError(mechanism, str(error)) from error
        if mechanism not in self.done:
            self.done.append(mechanism)
        return result


class Jail(NamedTuple):
    """A fork server's own confinement. `uid`: what its children become. `pid_namespace`: a
    descriptor of its own, to come back to. `bare_bytes`: address space of the idle interpreter."""

    uid: int
    pid_namespace: int
    bare_bytes: int


def enter(steps: Steps) -> Jail:
    """Confine this process; returns in a child, the first process of a new pid namespace.

    Raises MechanismError. The calling process stays outside, waits for the child and exits with it.
    """
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
    bare = int(_read("/proc/self/statm").split()[0]) * resource.getpagesize()
    steps("empty root", _change_root)
    steps("no capabilities", kernel.drop_bounding_set)
    steps("no capabilities", kernel.set_capabilities, KEPT)
    steps("no new privileges", kernel.prctl, kernel.SET_NO_NEW_PRIVS, 1)
    steps("system call filter", _filter)
    return Jail(uid, pid_namespace, bare)


def _read(path: str) -> str:
    with open(path) as stream:
        return stream.read()


def _filter() -> None:
    seccomp.Filter(seccomp.server_filter(os.uname().machine)).install()


def _unused_uid() -> int:
    """A user that owns nothing and, as far as this machine goes, runs nothing else."""
    first, _, count = map(int, _read("/proc/self/uid_map").splitlines()[-1].split())
    return min(2_000_000_000, max(first + 1, first + count - 5000)) + os.getpid() % 4096


def _may_administrate() -> bool:
    for line in _read("/proc/self/status").splitlines():
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
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"),
    ):  # fmt: skip
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def _stay_outside(child: int) -> None:
    """The process that cannot be in the new pid namespace itself holds the door."""
    _, status = os.waitpid(child, 0)
    os._exit(abs(os.waitstatus_to_exitcode(status)))


def _change_root() -> None:
    """A tmpfs with the standard library, /dev/null and an empty /tmp, mounted where /proc was."""
    kernel.mount(None, "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    folders = [path for path in sys.path if os.path.isdir(path)]
    if os.path.dirname(os.__file__) not in folders:
        raise OSError(f"{os.path.dirname(os.__file__)} is closed to user {os.geteuid()}")
    outer = [path for path in folders if not path.startswith(tuple(f"{one}/" for one in folders))]
    new = "/proc"
    kernel.mount("tmpfs", new, "tmpfs", kernel.NOSUID | kernel.NODEV, "size=1m,mode=755")
    for path in outer:
        os.makedirs(new + path, exist_ok=True)
        kernel.mount(path, new + path, None, kernel.BIND | kernel.RECURSIVE)
        kernel.restrict_mount(new + path, READ_ONLY | kernel.ATTR_NODEV, recursive=True)
        for packages in ("site-packages", "dist-packages"):
            _cover(f"{new}{path}/{packages}")
    os.mkdir(f"{new}/dev")
    os.close(os.open(f"{new}{os.devnull}", os.O_CREAT, 0o666))
    kernel.mount(os.devnull, new + os.devnull, None, kernel.BIND)
    os.mkdir(new + WORK)
    os.chdir(new)
    kernel.pivot_root_here()
    kernel.restrict_mount("/", READ_ONLY)
    sys.path[:] = folders


def _cover(folder: str) -> None:
    """What is installed beside the standard library is none of a program's business."""
    if os.path.isdir(folder):
        kernel.mount("tmpfs", folder, "tmpfs", kernel.NOSUID, "size=4k")
        kernel.restrict_mount(folder, READ_ONLY)


def confine(jail: Jail, limits: dict[str, Any], install_filter: Callable[[], None]) -> None:
    """Give up, in a forked child, whatever it does not need. Raises MechanismError.

    `limits`: the fields of `Limits`. The filter comes on top of the server's.
    """
    steps = Steps()
    # Signals to the own process group would otherwise reach the server, outside or not.
    steps("session", os.setsid)
    memory = jail.bare_bytes + limits["memory_bytes"]
    # What else counts: the judge, and where all is one user, the server and its door-keeper.
    root = os.geteuid() == 0
    tasks = (1 if root else 3) + (THREADS if limits["processes"] == 1 else limits["processes"])
    for kind, value in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]), (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, tasks),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]), (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 64),
    ):  # fmt: skip
        steps("resource limits", resource.setrlimit, kind, (value, value))
    if root:
        steps("another user", _become, jail.uid)
    steps("no capabilities", kernel.set_capabilities, 0)
    steps("system call filter", install_filter)
