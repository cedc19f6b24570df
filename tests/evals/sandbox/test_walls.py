"""Attempts to get out of the sandbox, each shown to work outside of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from foresight.evals.sandbox import Limits, Outcome, Program, Sandbox

LIBC = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
# As an ordinary user the control needs a user namespace to be allowed what root is.
PRIVILEGED = LIBC + "os.getuid() and libc.unshare(0x10000000)\n"
IO_URING = "\nassert libc.syscall(425, 1, 0) == -1 and ctypes.get_errno() != 1\n"
ATTEMPTS = {
    "tcp": "import socket; socket.socket()",
    "udp": "import socket; socket.socket(type=socket.SOCK_DGRAM)",
    "unix abstract": "import socket; socket.socket(socket.AF_UNIX).bind('\\0sandbox-test')",
    "datagram pair": "import socket; socket.socketpair(type=socket.SOCK_DGRAM)",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "io_uring": LIBC + IO_URING,
    "passwd": "open('/etc/passwd')",
    "home": f"import os; assert len(os.listdir({os.path.expanduser('~')!r})) > 1",
    "project": f"open({str(Path(__file__))!r})",
    "environment of init": "open('/proc/self/environ')",
    "root by proc": "import os; os.listdir('/proc/self/root/etc')",
    "dotdot": "open('/tmp/../../../../etc/passwd')",
    "memory by proc": "open('/proc/self/mem', 'rb')",
    "ptrace": LIBC + "assert libc.ptrace(0, 0, 0, 0) == 0",
    "parent": "import os; assert os.getppid() > 0",
    "write": "import os; open('/var/tmp/sandbox', 'w'); os.remove('/var/tmp/sandbox')",
    "symlink out": "import os; os.symlink('/etc/passwd', '/tmp/sandbox-l'); "
    "open('/tmp/sandbox-l').close(); os.remove('/tmp/sandbox-l')",
    "exec": "import os, sys; os.spawnv(os.P_WAIT, sys.executable, ['x', '-c', '']) and 1 / 0",
    "subprocess": "import subprocess; subprocess.run(['true'], check=True)",
    "fork": "import os; os.fork() or os._exit(0)",
    "chroot": PRIVILEGED + "os.chroot('/')",
    "unshare": PRIVILEGED + "assert libc.unshare(0x20000) == 0",
    "mount": PRIVILEGED + "assert libc.unshare(0x20000) == 0\n"
    "assert libc.mount(b'tmpfs', b'/mnt', b'tmpfs', 0, None) == 0",
    "keys": LIBC + "assert libc.syscall(250, 0, -3, 1) != -1",
    "shared memory": LIBC + "assert libc.shmget(0, 4096, 0o1600) != -1",
    "bpf or perf": LIBC + "libc.syscall(321, 99, 0, 0)\nassert ctypes.get_errno() != 1",
    "userfaultfd": LIBC + "assert libc.syscall(323, 1) != -1",
    "persona": LIBC + "assert libc.personality(0xffffffff) != -1",
    "memfd": "import os; os.memfd_create('x')",
}  # fmt: skip
X86_64_ONLY = {"keys", "bpf or perf", "userfaultfd"}
AS_ROOT = {
    "raw": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "packet": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "setuid": "import os; os.setuid(0)",
    "groups": "import os; os.setgroups([0])",
    "device": "import os; os.mknod('/tmp/sandbox-d', 0o20600, 0x103); os.remove('/tmp/sandbox-d')",
    "hostname": "import socket; socket.sethostname(socket.gethostname())",
    "priority": "import os; os.nice(-1)",
}


def inside(sandbox: Sandbox, source: str, limits: Limits | None = None) -> Outcome:
    return sandbox.run([Program(source, limits=limits)])[0]


def outside(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=20
    )


@pytest.mark.parametrize("name", [*ATTEMPTS, *AS_ROOT])
def test_what_works_outside_fails_inside(sandbox: Sandbox, name: str) -> None:
    source = (ATTEMPTS | AS_ROOT)[name] + "\nprint('done')"
    if name in ATTEMPTS or os.geteuid() == 0:
        control = outside(source)
        assert control.stdout.endswith("done\n"), control.stderr
    outcome = inside(sandbox, source)
    assert outcome.status == "failed", outcome
    assert "done" not in outcome.stdout


def test_what_programs_need_works(sandbox: Sandbox) -> None:
    """So that the walls above are no proof of a program that does nothing."""
    outcome = inside(
        sandbox,
        """
import asyncio, concurrent.futures, decimal, hashlib, sqlite3, ssl, tempfile, threading, zlib, os
async def later(): await asyncio.sleep(0); return 1
print(asyncio.run(later()), hashlib.sha256(b'').hexdigest()[:4], decimal.Decimal(1) / 3)
with concurrent.futures.ThreadPoolExecutor(4) as pool: print(list(pool.map(abs, [-1, 2])))
with tempfile.TemporaryDirectory() as folder: open(folder + '/a', 'w').write('x')
print(sqlite3.connect(':memory:').execute('select 1').fetchone(), len(os.urandom(4)))
open(os.devnull, 'w').write('x'); os.kill(os.getpid(), 0)
""",
    )
    assert outcome.status == "passed", outcome.stderr
    assert outcome.stdout.splitlines()[0] == "1 e3b0 0.3333333333333333333333333333"


def test_nothing_of_the_host_is_in_sight(sandbox: Sandbox) -> None:
    found = inside(
        sandbox,
        "import os\nprint(sorted(os.listdir('/dev')), os.getpid(), dict(os.environ).keys())\n"
        "print([p for p in ('/etc','/proc','/sys','/var','/bin') if os.path.exists(p)])",
    )
    assert found.stdout.splitlines()[0].startswith("['null'] 1 dict_keys(['PYTHONHASHSEED'")
    assert found.stdout.splitlines()[1] == "[]"


def test_the_caller_s_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "xyzzy-4711")
    assert "xyzzy" in outside("import os; print(os.environ)").stdout
    with Sandbox(workers=1) as opened:
        found = inside(opened, "import os, ctypes\nprint(os.environ, os.getenv('SECRET_TOKEN'))")
    assert found.status == "passed" and "xyzzy" not in found.stdout


def test_hard_links_reach_nothing(sandbox: Sandbox) -> None:
    source = "import os; os.link(os.__file__, 'x')"
    assert "OSError" in inside(sandbox, source).stderr
    assert inside(sandbox, "import os; open('a', 'w'); os.link('a', 'b')").status == "passed"


@pytest.mark.parametrize("target", ["-1, 9", "0, 9", "1, 9", "os.getpid(), 9", "CALLER, 9"])
def test_signals_reach_no_one_else(sandbox: Sandbox, target: str) -> None:
    source = f"import os\nprint('here', flush=True)\nos.kill({target})"
    outcome = inside(sandbox, source.replace("CALLER", str(os.getpid())))
    assert outcome.status in ("failed", "passed") and outcome.stdout == "here\n"
    assert inside(sandbox, "print(1)").stdout == "1\n"


def _marked() -> int:
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(path.read_text().strip())
        except OSError:
            continue
    return names.count("outlive-4711")


def test_no_daemon_outlives_its_program(sandbox: Sandbox) -> None:
    source = (
        LIBC
        + "libc.prctl(15, b'outlive-4711', 0, 0, 0)\nimport time\n"
        + "if os.fork() == 0:\n"
        + "    os.fork() or time.sleep(30)\n    time.sleep(30)\ntime.sleep(1)\nprint('end')"
    )
    found: list[Outcome] = []
    limits = Limits(processes=4)
    thread = threading.Thread(target=lambda: found.append(inside(sandbox, source, limits)))
    thread.start()
    seen = 0
    while thread.is_alive():
        seen = max(seen, _marked())
        time.sleep(0.05)
    assert seen >= 2  # the control: they were there
    assert found[0].stdout == "end\n" and found[0].status == "passed"
    assert _marked() == 0


def test_a_fork_bomb_stops_at_its_limit(sandbox: Sandbox) -> None:
    source = (
        "import os, time\ncount = 1\n"
        "while True:\n    try:\n        pid = os.fork()\n    except OSError:\n        break\n"
        "    if pid == 0:\n        time.sleep(20)\n    count += 1\nprint(count)"
    )
    outcome = inside(sandbox, source, Limits(processes=5))
    assert outcome.status == "passed" and int(outcome.stdout) in (5, 6)


def test_a_thread_bomb_stops_at_its_limit(sandbox: Sandbox) -> None:
    source = (
        "import threading, time\ncount = 1\n"
        "try:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        "        count += 1\nexcept RuntimeError:\n    print(count)"
    )
    assert int(inside(sandbox, source).stdout) in (33, 34)


def test_programs_leave_nothing_to_the_next(sandbox: Sandbox) -> None:
    poison = """
import builtins, json, math, os, random, sys
builtins.len = lambda x: 7
json.dumps = math.sqrt = None
sys.modules['re'] = None
random.random = lambda: 0.5
os.environ['LEFT'] = 'x'
sys.path.insert(0, '/nowhere')
open('left', 'w').write('x')
sys.setrecursionlimit(50)
print(len([]), os.listdir('.'))
"""
    look = """
import json, math, os, random, re, sys
print(len([1]), json.dumps(1), math.sqrt(4), random.random() == 0.5, os.getenv('LEFT'),
      '/nowhere' in sys.path, os.listdir('.'), sys.getrecursionlimit() > 50)
"""
    assert inside(sandbox, poison).stdout == "7 ['left']\n"
    assert inside(sandbox, look).stdout == "1 1 2.0 False None False [] True\n"
