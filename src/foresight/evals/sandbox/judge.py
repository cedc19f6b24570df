"""Tests in one process, the program that they test in another, and the line between them."""

from __future__ import annotations

import linecache
import os
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, ModuleType
from typing import Any

from foresight.evals.sandbox import wire

LINE_BYTES = 16 << 20
FRAMES = 8
"""Outermost frames of a traceback that are shown."""


class Line:
    """Messages over a stream socket: length, then JSON."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = bytearray()

    def send(self, message: Any) -> None:
        data = wire.to_line(message)
        data = struct.pack("=I", len(data)) + data
        while data:
            data = data[os.write(self._descriptor, data) :]

    def receive(self) -> Any:
        """The next message. Raises EOFError when the other side is gone, ValueError on nonsense."""
        self._take(4)
        (length,) = struct.unpack("=I", self._data[:4])
        if length > LINE_BYTES:
            raise ValueError(f"an answer of {length} bytes is longer than {LINE_BYTES}")
        self._take(4 + length)
        # One side speaks at a time: nothing follows a message before it is answered.
        message = wire.from_line(self._data[4 : 4 + length])
        self._data.clear()
        return message

    def _take(self, count: int) -> None:
        while len(self._data) < count:
            part = os.read(self._descriptor, 1 << 16)
            if not part:
                raise EOFError("the program ended before its tests did")
            self._data += part


class Remote:
    """Stands in the tests for something of the program that is not a plain value.

    It can be called, asked for attributes, given some, and handed back. It is equal to itself
    alone and has no truth value: no object of the program answers `==` or `assert`.
    """

    __slots__ = ("_ask", "_number")
    _ask: Callable[[list[Any]], Any]
    _number: int

    def __init__(self, ask: Callable[[list[Any]], Any], number: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(["call", self._number, _encode(args), _encode(kwargs)])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask(["get", self._number, name])

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask(["set", self._number, name, _encode(value)])

    def __bool__(self) -> bool:
        raise wire.UnplainError("an object of the program has no truth value in its tests")


class Names:
    """`_program` in the tests."""

    def __init__(self, ask: Callable[[list[Any]], Any]) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        return self._ask(["name", name])


def _encode(value: Any) -> Any:
    return wire.encode(value, _number_of)


def _number_of(value: Any) -> int:
    if isinstance(value, Remote):
        return value._number
    raise wire.UnplainError(f"tests cannot hand a {type(value).__name__} to the program")


def compiled(source: str, name: str) -> CodeType:
    """Compiled source whose lines a traceback can show."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec", dont_inherit=True)


def module(name: str) -> dict[str, Any]:
    """The namespace of a new module that imports and dataclasses find by its name."""
    made = sys.modules[name] = ModuleType(name)
    return made.__dict__


def judge(tests: str, line: Line) -> tuple[bool, str]:
    """Run the tests of the program at the other end; whether they passed, and the traceback."""

    def ask(question: list[Any]) -> Any:
        line.send(question)
        kind, answer = line.receive()
        if kind == "error":
            raise wire.error_of(answer)
        return wire.decode(answer, lambda number: Remote(ask, int(number)))

    try:
        if line.receive() != "ready":
            raise EOFError("the program did not run to its end")
        namespace = module("tests")
        namespace["_program"] = Names(ask)
        exec(compiled(tests, "tests.py"), namespace)
    except BaseException as error:
        return False, text_of(error)
    return True, ""


def text_of(error: BaseException) -> str:
    """A traceback without the frames of this room around the program's own."""
    room = os.path.dirname(__file__)
    frames = error.__traceback__
    while frames is not None and os.path.dirname(frames.tb_frame.f_code.co_filename) == room:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames, limit=FRAMES))


def answer(program: dict[str, Any], line: Line, on_memory: Callable[[], None]) -> None:
    """Let the tests at the other end use a program's namespace, until they are done."""
    kept: list[Any] = []

    def number_of(value: Any) -> int:
        kept.append(value)
        return len(kept) - 1

    def perform(question: list[Any]) -> Any:
        kind, *rest = question
        if kind == "name":
            return program[rest[0]]
        target = kept[rest[0]]
        if kind == "get":
            return getattr(target, rest[1])
        if kind == "set":
            return setattr(target, rest[1], wire.decode(rest[2], kept.__getitem__))
        args, kwargs = (wire.decode(one, kept.__getitem__) for one in rest[1:])
        return target(*args, **kwargs)

    _flush()
    line.send("ready")
    while True:
        try:
            question = line.receive()
        except EOFError:
            return
        try:
            message = ["value", wire.encode(perform(question), number_of)]
        except MemoryError as error:
            on_memory()
            message = ["error", wire.error_to_pair(error)]
        except BaseException as error:
            message = ["error", wire.error_to_pair(error)]
        _flush()
        line.send(message)


def _flush() -> None:
    """Before the tests go on: they may end, and this process with them, at any time."""
    with suppress(BaseException):
        sys.stdout.flush()
