"""The verdict is the tests': what a program may do, it can't pass tests that it does not pass."""

from __future__ import annotations

import pytest

from foresight.evals.sandbox import Limits, Program, Sandbox

TESTS = "f = _program.f\nassert f(1) == 2\nassert f(5) == 6\n"
RIGHT = "def f(x): return x + 1\n"
WRONG = "def f(x): return None\n"
FAKES = {
    "wrong": WRONG,
    "print": WRONG + "print('passed')",
    "os exit at once": WRONG + "import os; os._exit(0)",
    "exit at once": WRONG + "import sys; sys.exit(0)",
    "os exit in the call": "import os\ndef f(x): os._exit(0)",
    "exit in the call": "import sys\ndef f(x): sys.exit(0)",
    "equals everything": "class E:\n    __eq__ = lambda s, o: True\n    __bool__ = lambda s: True\n"
    "def f(x): return E()",
    "a number that equals everything": "class E(int):\n    __eq__ = lambda s, o: True\n"
    "    __hash__ = int.__hash__\ndef f(x): return E(0)",
    "no assertion error": WRONG + "import builtins\nbuiltins.AssertionError = BaseException",
    "import hook": WRONG + "import sys\nsys.modules['tests'] = None\nsys.meta_path.clear()",
    "at exit": WRONG + "import atexit, os; atexit.register(os._exit, 0); raise SystemExit",
    "patched harness": WRONG
    + "import sys\nfor name, m in list(sys.modules.items()):\n"
    "    if name.startswith('foresight'):\n"
    "        for k in list(vars(m)):\n"
    "            if callable(vars(m)[k]): setattr(m, k, lambda *a, **k: True)",
    "patched frames": WRONG
    + "import sys\nframe = sys._getframe()\nwhile frame:\n"
    "    frame.f_globals['verdict'] = lambda *a: True\n"
    "    frame.f_globals['judge'] = None\n    frame = frame.f_back",
    "every descriptor": WRONG
    + "import os\nfor fd in range(3, 256):\n    for text in (b'P', b'+P', b'PP'):\n"
    "        try: os.write(fd, text)\n        except OSError: pass",
    "answers in advance": WRONG
    + "import json, os, struct\nfor v in ('ready', ['stand_in', 0], True, True, True):\n"
    "    m = json.dumps(v if v == 'ready' else ['value', v]).encode()\n"
    "    os.write(4, struct.pack('=I', len(m)) + m)",
    "nonsense on the line": "import os\ndef f(x): os.write(4, b'\\xff' * 100)",
    "deep nonsense": "import os, struct\ndef f(x):\n    m = b'[' * 10**6\n"
    "    os.write(4, struct.pack('=I', len(m)) + m)",
    "unknown kind": "import os, struct\ndef f(x):\n    m = b'[\"value\", [\"eval\", \"1\"]]'\n"
    "    os.write(4, struct.pack('=I', len(m)) + m)",
    "no f": "g = 1",
    "raises": "def f(x): raise KeyError(x)",
}  # fmt: skip


@pytest.mark.parametrize("name", FAKES)
def test_a_fake_does_not_pass(sandbox: Sandbox, name: str) -> None:
    outcome = sandbox.run([Program(FAKES[name], tests=TESTS)])[0]
    assert outcome.status in ("failed", "crashed"), outcome
    assert sandbox.run([Program(RIGHT, tests=TESTS)])[0].status == "passed"


def test_tests_that_are_appended_could_be_faked(sandbox: Sandbox) -> None:
    """The control: why tests are a program of their own."""
    appended = TESTS.replace("_program.f", "f")
    assert sandbox.run([Program(WRONG + appended)])[0].status == "failed"
    assert sandbox.run([Program(WRONG + "import sys; sys.exit(0)\n" + appended)])[0].status == (
        "passed"
    )


@pytest.mark.parametrize("error", ["StopIteration", "StopAsyncIteration", "GeneratorExit"])
def test_no_exception_ends_a_loop_of_the_tests(sandbox: Sandbox, error: str) -> None:
    tests = "assert all(map(lambda x: _program.f(x) == x, range(3)))"
    assert sandbox.run([Program("def f(x): return x", tests=tests)])[0].status == "passed"
    outcome = sandbox.run([Program(f"def f(x): raise {error}", tests=tests)])[0]
    assert outcome.status == "failed" and error in outcome.stderr


def test_the_program_finds_no_tests(sandbox: Sandbox) -> None:
    """Neither its own nor those of an earlier program, in all of its memory."""
    marker = "'xyz' 'zy' '4711'"
    look = (
        "import ctypes, gc\nfound = []\n"
        "def look():\n"
        "    for one in gc.get_objects():\n"
        "        if isinstance(one, dict):\n"
        "            found.extend(v for v in list(one.values()) if isinstance(v, str)\n"
        "                and ('xyz' + 'zy') in v)\n"
        "secret = 'xyz' + chr(122) + 'y'\n"
        "def f(x):\n    look()\n    return [s for s in found if s is not secret and 'def' not in s]"
    )
    tests = f"secret = {marker}\nassert _program.f(1) == [], _program.f(1)\nassert False, secret"
    first = sandbox.run([Program(look, tests=tests)])[0]
    again = sandbox.run([Program(look, tests=tests)])[0]
    for outcome in (first, again):
        assert outcome.status == "failed" and outcome.stderr.endswith("AssertionError: xyzzy4711\n")


def test_objects_can_be_made_given_and_used(sandbox: Sandbox) -> None:
    source = (
        "class Node:\n    def __init__(self, x): self.x, self.next = x, None\n"
        "    def twice(self, by=2): return self.x * by\n"
        "def total(n): return n.x + (total(n.next) if n.next else 0)\n"
    )
    tests = (
        "a = _program.Node(1)\na.next = _program.Node(2)\nassert _program.total(a) == 3\n"
        "assert a.twice(by=5) == 5 and a.next.x == 2 and a == a and a != _program.Node(1)\n"
    )
    assert sandbox.run([Program(source, tests=tests)])[0].status == "passed"
    outcome = sandbox.run([Program(source, tests="assert _program.Node(1)")])[0]
    assert outcome.status == "failed" and "truth value" in outcome.stderr


def test_exceptions_and_output_cross(sandbox: Sandbox) -> None:
    source = (
        "class Own(ValueError): pass\ndef f(x):\n    print('seen', x)\n    raise Own('bad')\n"
        "def g(): raise UnicodeDecodeError('utf-8', b'', 0, 1, 'x')"
    )
    tests = (
        "try: _program.f(3)\nexcept ValueError as e: assert str(e) == 'bad'\nelse: assert False\n"
        "try: _program.g()\nexcept RuntimeError as e: assert 'UnicodeDecodeError' in str(e)\n"
    )
    outcome = sandbox.run([Program(source, tests=tests)])[0]
    assert outcome.status == "passed", outcome.stderr
    assert outcome.stdout == "seen 3\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("def f(x):\n    while True: pass", "timeout"),
        ("def f(x): return bytearray(10**10)", "memory"),
        ("def f(x):\n    while True: print('x' * 99)", "output"),
        ("import ctypes\ndef f(x): ctypes.string_at(0)", "crashed"),
        ("x = bytearray(10**10)", "memory"),
    ],
)
def test_why_a_tested_program_did_not_end(sandbox: Sandbox, source: str, status: str) -> None:
    limits = Limits(wall_seconds=0.7, output_bytes=1000)
    assert sandbox.run([Program(source, tests=TESTS, limits=limits)])[0].status == status
    assert sandbox.run([Program(RIGHT, tests=TESTS)])[0].status == "passed"


@pytest.mark.parametrize(
    ("tests", "status"),
    [
        ("while True: pass", "timeout"),
        ("import os; os._exit(0)", "failed"),
        ("import socket; socket.socket()", "failed"),
        ("open('/x', 'w')", "failed"),
        ("exit()", "failed"),
        ("1 +", "failed"),
    ],
)
def test_tests_that_go_wrong(sandbox: Sandbox, tests: str, status: str) -> None:
    program = Program(RIGHT, tests=tests, limits=Limits(wall_seconds=0.7))
    assert sandbox.run([program])[0].status == status
    assert sandbox.run([Program(RIGHT, tests=TESTS)])[0].status == "passed"
