"""The filter of system calls, run by a small machine of the tests' own."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.evals.sandbox import seccomp

MACHINES = tuple(seccomp.AUDIT)
EPERM = seccomp.ERRNO | errno.EPERM


def run(
    program: bytes, number: int, arguments: tuple[int, ...] = (), machine: str = "x86_64"
) -> int:
    """What classic BPF returns for a call (the instructions that the filter uses)."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, seccomp.AUDIT[machine], 0, *padded)
    position = accumulator = 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("=HBBI", program, 8 * position)
        position += 1
        if code == seccomp.RETURN:
            return int(value)
        if code == seccomp.LOAD:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == seccomp.AND:
            accumulator &= value
        else:
            hit = accumulator == value if code == seccomp.JUMP_EQUAL else bool(accumulator & value)
            position += if_true if hit else if_false


def number_of(name: str, machine: str) -> int:
    table = seccomp.ALLOWED + seccomp.SERVER + seccomp.RECEIVE + seccomp.BY_ARGUMENT
    return seccomp.numbers(table, machine)[name]


def both(
    name: str | int, *arguments: int, fork: bool = False, receive: bool = False,
    machine: str = "x86_64",
) -> int:  # fmt: skip
    """The stricter of the server's and the child's filter, as the kernel takes it."""
    number = name if isinstance(name, int) else number_of(name, machine)
    filters = seccomp.server_filter(machine), seccomp.child_filter(machine, fork, receive)
    return min(run(one, number, arguments, machine) for one in filters)


@pytest.mark.parametrize("machine", MACHINES)
def test_what_children_may(machine: str) -> None:
    for name in seccomp.numbers(seccomp.ALLOWED, machine):
        assert both(name, machine=machine) == seccomp.ALLOW, name
    for name in seccomp.numbers(seccomp.SERVER, machine):
        assert both(name, machine=machine) == EPERM, name
        assert run(seccomp.server_filter(machine), number_of(name, machine), (), machine) == (
            seccomp.ALLOW
        )
    assert both("recvmsg", machine=machine) == EPERM
    assert both("recvmsg", receive=True, machine=machine) == seccomp.ALLOW


@given(number=st.integers(0, 2**32 - 1), machine=st.sampled_from(MACHINES))
def test_what_is_not_listed_is_refused(number: int, machine: str) -> None:
    listed = seccomp.numbers(
        seccomp.ALLOWED + seccomp.SERVER + seccomp.RECEIVE + seccomp.BY_ARGUMENT, machine
    )
    if number not in listed.values():
        assert both(number, machine=machine) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_by_argument(machine: str) -> None:
    thread, fork, space = 0x3D0F00, 0x1200011, 0x10000000
    assert both("clone", thread, machine=machine) == seccomp.ALLOW
    assert both("clone", fork, machine=machine) == EPERM
    assert both("clone", fork, fork=True, machine=machine) == seccomp.ALLOW
    for flags in (thread | space, fork | space, 0x20000 | 17):
        assert both("clone", flags, fork=True, machine=machine) == EPERM
    assert both("clone3", fork=True, machine=machine) == seccomp.ERRNO | errno.ENOSYS
    assert both("socketpair", 1, 1 | 0o2000000, machine=machine) == seccomp.ALLOW
    assert both("socketpair", 1, 2, machine=machine) == EPERM
    assert both("socketpair", 2, 1, machine=machine) == EPERM
    assert both("prctl", 15, machine=machine) == seccomp.ALLOW
    assert both("prctl", 22, machine=machine) == EPERM
    assert both("ioctl", 0, 0x5401, machine=machine) == seccomp.ALLOW
    assert both("ioctl", 0, 0x5412, machine=machine) == seccomp.ERRNO | errno.ENOTTY  # TIOCSTI


def test_another_calling_convention_is_killed() -> None:
    number = number_of("getpid", "x86_64")
    assert run(seccomp.server_filter("x86_64"), number, machine="aarch64") == seccomp.KILL
    # The x32 calls, which share the architecture, have a bit of their own.
    assert both(number | 0x40000000) == EPERM


def test_the_numbers_are_those_of_the_kernel_s_headers() -> None:
    headers = {
        "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        "aarch64": Path("/usr/include/asm-generic/unistd.h"),
    }
    table = seccomp.ALLOWED + seccomp.SERVER + seccomp.RECEIVE + seccomp.BY_ARGUMENT
    for machine, path in headers.items():
        if not path.exists():  # linux-libc-dev is absent: the values are at least distinct
            assert len(set(seccomp.numbers(table, machine).values())) == len(
                seccomp.numbers(table, machine)
            )
            continue
        text = path.read_text().replace("__NR3264_fstatat", "__NR_newfstatat")
        known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text))
        for name, number in seccomp.numbers(table, machine).items():
            assert int(known[name]) == number, (machine, name)
