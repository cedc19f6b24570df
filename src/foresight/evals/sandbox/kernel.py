"""The few Linux calls that Python's standard library does not have, through ctypes."""

from __future__ import annotations

import ctypes
import os
from functools import cache

NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC = 0x2, 0x4, 0x8
BIND, RECURSIVE, PRIVATE, DETACH = 0x1000, 0x4000, 0x40000, 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 0x1, 0x2, 0x4
SET_PDEATHSIG, SET_DUMPABLE, CAPBSET_DROP = 1, 4, 24
SET_SECCOMP, SET_NO_NEW_PRIVS, CAP_AMBIENT = 22, 38, 47
CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 5, 6, 7, 21
NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126, "mount_setattr": 442},
    "aarch64": {"pivot_root": 41, "capset": 91, "mount_setattr": 442},
}
"""System calls that the C library need not wrap, by machine."""


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def _checked(result: int) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _syscall(name: str, *arguments: object) -> None:
    _checked(_libc().syscall(NUMBERS[os.uname().machine][name], *arguments))


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError, like all functions here."""
    _checked(_libc().unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """setns(2): for a pid namespace, that of the children to come."""
    _checked(_libc().setns(descriptor, kind))


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _checked(_libc().mount(*texts, ctypes.c_ulong(flags), options.encode() or None))


def unmount(target: str) -> None:
    """umount2(2), detached: what still holds it open keeps it to itself."""
    _checked(_libc().umount2(os.fsencode(target), DETACH))


def restrict_mount(target: str, attributes: int, recursive: bool = False) -> None:
    """mount_setattr(2) (Linux 5.12): adds attributes, and keeps those already set."""
    at_fdcwd, at_recursive = -100, 0x8000
    values = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    _syscall(
        "mount_setattr", at_fdcwd, os.fsencode(target), at_recursive if recursive else 0,
        ctypes.byref(values), ctypes.c_size_t(ctypes.sizeof(values)),
    )  # fmt: skip


def pivot_root_here() -> None:
    """pivot_root(2) onto the working directory; the old root is gone afterwards."""
    _syscall("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def set_capabilities(kept: int) -> None:
    """capset(2): the permitted and effective set become the mask `kept`, the inheritable empty."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _syscall("capset", ctypes.byref(header), ctypes.byref(data))


def drop_bounding_set() -> None:
    """No exec can give a capability back, whatever the file says."""
    for capability in range(64):
        if _libc().prctl(CAPBSET_DROP, capability, 0, 0, 0) == -1:
            if ctypes.get_errno() == 22:  # EINVAL: the kernel knows no further ones
                return
            _checked(-1)


def prctl(option: int, value: int = 0, pointer: object = 0) -> None:
    """prctl(2)."""
    _checked(_libc().prctl(option, ctypes.c_ulong(value), pointer, 0, 0))
