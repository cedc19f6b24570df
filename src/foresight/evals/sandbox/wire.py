"""Plain values as JSON between a program and its tests.

Only data crosses: what the program sends can at worst be a wrong value. Types that compare by
value keep their kind, subclasses become their base; anything else stays where it is and crosses
as a number that stands for it.
"""

from __future__ import annotations

import builtins
import importlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

LONG_BITS = 1024
"""Longer integers cross in base 16: decimal conversion is quadratic and Python refuses it."""
SEQUENCES: dict[str, Any] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
    "iterator": Iterator,
}  # fmt: skip
IMPORTED = {
    "Decimal": "decimal", "Fraction": "fractions", "datetime": "datetime", "date": "datetime",
    "time": "datetime",
}  # fmt: skip
"""Classes whose text gives the value back, by module: imported where they are used."""
ENDING = ("StopIteration", "StopAsyncIteration")
DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "range": lambda bounds: range(*bounds),
    "complex": complex,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
}


class UnplainError(TypeError):
    """A value that cannot cross."""


def encode(value: Any, stand_in: Callable[[Any], int]) -> Any:
    """A value as JSON. `stand_in` gives the number of a value that is not plain, or raises."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < LONG_BITS else ["int", hex(value)]
    if isinstance(value, dict):
        pairs = dict.items(value)
        return ["dict", [[encode(k, stand_in), encode(v, stand_in)] for k, v in pairs]]
    for kind, base in SEQUENCES.items():
        if isinstance(value, base):
            return [kind, [encode(one, stand_in) for one in iter(value)]]
    return _leaf(value) or ["stand_in", stand_in(value)]


def _leaf(value: Any) -> list[Any] | None:
    """Kind and content of a value that holds no others; None if it is not plain."""
    if isinstance(value, bytes | bytearray):
        return ["bytes" if isinstance(value, bytes) else "bytearray", value.hex()]
    if isinstance(value, complex):
        return ["complex", repr(value)]
    if isinstance(value, range):
        return ["range", [value.start, value.stop, value.step]]
    name = getattr(value, "__name__", "")
    if isinstance(value, type) and getattr(builtins, name, None) is value:
        return ["type", name]
    for base in type(value).__mro__:
        if IMPORTED.get(base.__name__) == base.__module__:
            return [base.__name__, str(value)]
    return None


def decode(value: Any, stood_for: Callable[[int], Any]) -> Any:
    """The inverse of `encode`. Raises ValueError, TypeError or LookupError for anything else."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "dict":
        return {decode(key, stood_for): decode(one, stood_for) for key, one in content}
    if kind in SEQUENCES:
        values = [decode(one, stood_for) for one in content]
        return iter(values) if kind == "iterator" else SEQUENCES[kind](values)
    if kind == "stand_in":
        return stood_for(content)
    if kind in IMPORTED:
        found = getattr(importlib.import_module(IMPORTED[kind]), kind)
        return getattr(found, "fromisoformat", found)(content)
    return _builtin_type(content) if kind == "type" else DECODERS[kind](content)


def _builtin_type(name: str) -> type:
    found = getattr(builtins, name, None)
    if not isinstance(found, type):
        raise ValueError(f"{name!r} is no builtin type")
    return found


def error_to_pair(error: BaseException) -> list[str]:
    """The nearest builtin class of an exception, and its text."""
    for one in type(error).__mro__:
        if getattr(builtins, one.__name__, None) is one:
            return [one.__name__, str(error)]
    return ["Exception", repr(error)]


def error_of(pair: list[str]) -> Exception:
    """An exception of a builtin class; another one's name is put before the text.

    Those that end an iteration are never raised: `all(map(f, cases))` would end early, and pass.
    """
    name, text = pair
    kind = getattr(builtins, name, None)
    try:
        if isinstance(kind, type) and issubclass(kind, Exception) and name not in ENDING:
            return kind(text)
    except TypeError:  # UnicodeDecodeError and the like want more than a text
        pass
    return RuntimeError(f"{name}: {text}")


def to_line(message: Any) -> bytes:
    """One message as JSON."""
    return json.dumps(message).encode()


def from_line(line: bytes | bytearray) -> Any:
    """The inverse of `to_line`. Raises ValueError or RecursionError on nonsense."""
    return json.loads(line)
