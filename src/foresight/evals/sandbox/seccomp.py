"""The system calls that a program may make, as a filter for the kernel (seccomp mode 2).

A list of what is allowed, so that a call which is new in some kernel is refused like the others:
no sockets, no exec, no namespaces, mounts, ptrace, keys, BPF, io_uring, no shared memory by key.
What is refused fails with EPERM and the program goes on. The program is classic BPF over `struct
seccomp_data` (Linux, Documentation/userspace-api/seccomp_filter.rst).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator

from foresight.evals.sandbox import kernel

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of the calling convention: a call by another one (32 bit) kills the process."""
# Name and number on x86_64 and aarch64; "-": that machine has no such call.
ALLOWED = """
access:21:- alarm:37:- arch_prctl:158:- brk:12:214 chdir:80:49 chmod:90:- clock_getres:229:114
clock_gettime:228:113 clock_nanosleep:230:115 close:3:57 close_range:436:436
copy_file_range:326:285 creat:85:- dup:32:23 dup2:33:- dup3:292:24 epoll_create1:291:20
epoll_ctl:233:21 epoll_pwait:281:22 epoll_wait:232:- eventfd2:290:19 exit:60:93 exit_group:231:94
faccessat:269:48 faccessat2:439:439 fadvise64:221:223 fallocate:285:47 fchdir:81:50 fchmod:91:52
fchmodat:268:53 fcntl:72:25 fdatasync:75:83 fgetxattr:193:10 flistxattr:196:13 flock:73:32
fstat:5:80 fstatfs:138:44 fsync:74:82 ftruncate:77:46 futex:202:98 get_robust_list:274:100
getcpu:309:168 getcwd:79:17 getdents64:217:61 getegid:108:177 geteuid:107:175 getgid:104:176
getgroups:115:158 getitimer:36:102 getpgid:121:155 getpgrp:111:- getpid:39:172 getppid:110:173
getpriority:140:141 getrandom:318:278 getresgid:120:150 getresuid:118:148 getrlimit:97:163
getrusage:98:165 getsid:124:156 gettid:186:178 gettimeofday:96:169 getuid:102:174 getxattr:191:8
kill:62:129 lgetxattr:192:9 link:86:- linkat:265:37 listxattr:194:11 llistxattr:195:12 lseek:8:62
lstat:6:- madvise:28:233 membarrier:324:283 mincore:27:232 mkdir:83:- mkdirat:258:34 mmap:9:222
mprotect:10:226 mremap:25:216 msync:26:227 munmap:11:215 nanosleep:35:101 newfstatat:262:79
open:2:- openat:257:56 pause:34:- pipe:22:- pipe2:293:59 poll:7:- ppoll:271:73 pread64:17:67
preadv:295:69 prlimit64:302:261 pselect6:270:72 pwrite64:18:68 pwritev:296:70 read:0:63
readlink:89:- readlinkat:267:78 readv:19:65 recvfrom:45:207 rename:82:- renameat:264:38
renameat2:316:276 restart_syscall:219:128 rmdir:84:- rseq:334:293 rt_sigaction:13:134
rt_sigpending:127:136 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigsuspend:130:133
rt_sigtimedwait:128:137 sched_getaffinity:204:123 sched_getparam:143:121
sched_getscheduler:145:120 sched_yield:24:124 select:23:- sendfile:40:71 sendto:44:206
set_robust_list:273:99 set_tid_address:218:96 setitimer:38:103 setrlimit:160:164 shutdown:48:210
sigaltstack:131:132 stat:4:- statfs:137:43 statx:332:291 symlink:88:- symlinkat:266:36
sysinfo:99:179 tgkill:234:131 time:201:- timer_create:222:107 timer_delete:226:111
timer_getoverrun:225:109 timer_gettime:224:108 timer_settime:223:110 times:100:153 tkill:200:130
truncate:76:45 umask:95:166 uname:63:160 unlink:87:- unlinkat:263:35 utimensat:280:88 wait4:61:260
waitid:247:95 write:1:64 writev:20:66
"""
SERVER = """
capset:126:91 mount:165:40 pidfd_open:434:434 pidfd_send_signal:424:424 sendmsg:46:211
setgroups:116:159 setns:308:268 setresgid:119:149 setresuid:117:147 setsid:112:157 umount2:166:39
unshare:272:97
"""
"""What the server needs and its children do not."""
RECEIVE = " recvmsg:47:212 "
"""What the server and the judge need: descriptors come with messages."""
BY_ARGUMENT = """
clone:56:220 clone3:435:435 ioctl:16:29 prctl:157:167 socketpair:53:199
"""
LOAD, RETURN, JUMP_EQUAL, JUMP_ANY_BIT, AND = 0x20, 0x06, 0x15, 0x45, 0x54
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENT_0, ARGUMENT_1 = 0, 4, 16, 24
NEW_NAMESPACES, THREAD = 0x7E020000, 0x00010000
PRCTL_NAMES = (15, 16)  # PR_SET_NAME, PR_GET_NAME
TERMINAL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS and TIOCGWINSZ (is it a terminal, how wide), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""


def numbers(table: str, machine: str) -> dict[str, int]:
    """Calls of a table that a machine has. KeyError for another machine than the two known."""
    column = {"x86_64": 1, "aarch64": 2}[machine]
    rows = [entry.split(":") for entry in table.split()]
    assert all(len(row) == 3 for row in rows)
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


REFUSE = _op(RETURN, ERRNO | errno.EPERM)


def _one_of(values: tuple[int, ...], otherwise: int) -> Iterator[bytes]:
    """Allow if the loaded word is one of the values."""
    for value in values:
        yield _op(JUMP_EQUAL, value, 0, 1)
        yield _op(RETURN, ALLOW)
    yield _op(RETURN, ERRNO | otherwise)


def _stream_pair() -> list[bytes]:
    """socketpair(2) of the two ends of a stream, as an event loop has: nothing to connect."""
    return [
        _op(LOAD, ARGUMENT_0), _op(JUMP_EQUAL, 1, 1, 0), REFUSE,
        _op(LOAD, ARGUMENT_1), _op(AND, 0xF), *_one_of((1,), errno.EPERM),
    ]  # fmt: skip


def _program(machine: str, blocks: dict[str, list[bytes]], table: str, otherwise: bytes) -> bytes:
    """Each named call goes to its block, whose every path returns; any other to `otherwise`."""
    program = [
        _op(LOAD, ARCHITECTURE),
        _op(JUMP_EQUAL, AUDIT[machine], 1, 0),
        _op(RETURN, KILL),
        _op(LOAD, NUMBER),
    ]
    for name, number in numbers(table, machine).items():
        program += [_op(JUMP_EQUAL, number, 0, len(blocks[name])), *blocks[name]]
    return b"".join([*program, otherwise])


def server_filter(machine: str) -> bytes:
    """Allows what servers and programs need, refuses the rest. KeyError: unknown machine."""
    table = ALLOWED + SERVER + RECEIVE + BY_ARGUMENT
    blocks = {name: [_op(RETURN, ALLOW)] for name in numbers(table, machine)}
    blocks["clone"] = [_op(LOAD, ARGUMENT_0), _op(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1), REFUSE,
                       _op(RETURN, ALLOW)]  # fmt: skip
    # Its flags lie in memory, where a filter cannot see them; the C library falls back.
    blocks["clone3"] = [_op(RETURN, ERRNO | errno.ENOSYS)]
    blocks["ioctl"] = [_op(LOAD, ARGUMENT_1), *_one_of(TERMINAL, errno.ENOTTY)]
    blocks["socketpair"] = _stream_pair()
    return _program(machine, blocks, table, REFUSE)


def child_filter(machine: str, may_fork: bool, may_receive: bool) -> bytes:
    """On top of `server_filter`, and short, because it is put on for every program."""
    table = SERVER + ("" if may_receive else RECEIVE) + " clone:56:220 prctl:157:167"
    blocks = {name: [REFUSE] for name in numbers(table, machine)}
    blocks["prctl"] = [_op(LOAD, ARGUMENT_0), *_one_of(PRCTL_NAMES, errno.EPERM)]
    if may_fork:
        blocks["clone"] = [_op(RETURN, ALLOW)]
    else:
        blocks["clone"] = [_op(LOAD, ARGUMENT_0), _op(JUMP_ANY_BIT, THREAD, 1, 0), REFUSE,
                           _op(RETURN, ALLOW)]  # fmt: skip
    return _program(machine, blocks, table, _op(RETURN, ALLOW))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Filter:
    """A filter ready to be put on. It stays on the process and all that it starts."""

    def __init__(self, program: bytes) -> None:
        self._program = _Program(len(program) // 8, program)

    def install(self) -> None:
        """Needs no_new_privs. Raises OSError."""
        kernel.prctl(kernel.SET_SECCOMP, 2, ctypes.byref(self._program))
