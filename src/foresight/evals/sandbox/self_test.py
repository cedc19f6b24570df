"""The walls tried from inside, before any program of a model runs."""

from __future__ import annotations

import json

from foresight.evals.sandbox.program import Limits, Outcome, Program

SOURCE = """
import errno, json, os, socket

def refused(attempt, *expected):
    try:
        attempt()
    except OSError as error:
        return error.errno in expected
    return False

def fork():
    if os.fork() == 0:
        os._exit(0)

hidden = ("/etc/passwd", "/proc/self", "/proc/1", "/sys/kernel", "/usr/bin")
folders = ("/", "/dev", os.path.dirname(os.__file__))
print(json.dumps({
    "host files are hidden": not any(map(os.path.lexists, hidden)),
    "nothing outside /tmp can be written": all(
        refused(lambda: open(folder + "/x", "w"), errno.EROFS, errno.EACCES) for folder in folders
    ),
    "no sockets": refused(socket.socket, errno.EPERM),
    "no exec": refused(lambda: os.execv("/x", ["x"]), errno.EPERM),
    "no fork beyond the limit": refused(fork, errno.EPERM),
    "other processes are hidden": os.getpid() == 1 and refused(
        lambda: os.kill(-1, 0), errno.ESRCH
    ),
    "cannot become root": os.getuid() != 0 and refused(lambda: os.setuid(0), errno.EPERM),
    "the environment is empty": set(os.environ)
    <= {"PYTHONHASHSEED", "MALLOC_ARENA_MAX", "LC_CTYPE"},
}))
"""
PROGRAM = Program(SOURCE, limits=Limits(cpu_seconds=10, wall_seconds=30.0))


def walls(outcome: Outcome) -> dict[str, bool]:
    """Which walls held; {"programs run": False} if the program did not come to its end."""
    if outcome.status != "passed":
        return {"programs run": False}
    found: dict[str, bool] = json.loads(outcome.stdout)
    return found
