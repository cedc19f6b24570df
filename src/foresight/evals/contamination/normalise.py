"""Text as it is compared: letters and digits alone, at the speed of `bytes.translate`.

The GPT-4 report (appendix C) removes all spaces and symbols and keeps characters, numbers
included. A character is kept if `str.isalnum` holds. Text is UTF-8; the byte 0 stays where it
stands, for it parts documents.
"""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
from numpy.typing import NDArray

_ASCII = [chr(byte) for byte in range(128)]
_SYMBOLS = bytes(byte for byte in range(1, 128) if not chr(byte).isalnum())
_SPACED = bytes.maketrans(_SYMBOLS, b" " * len(_SYMBOLS))
_FOLDED = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_SPACED_FOLDED = _SPACED.translate(_FOLDED)


def squeezed(text: bytes, fold: bool) -> bytes:
    """What is left of valid UTF-8 without symbols; `fold`: without upper case."""
    return _without_symbols(text, fold).translate(_FOLDED if fold else None, _SYMBOLS)


def spaced(text: bytes, fold: bool) -> bytes:
    """Like `squeezed`, but every byte of a symbol becomes a space: offsets stay as they were."""
    return _without_symbols(text, fold).translate(_SPACED_FOLDED if fold else _SPACED)


def without_zero(text: bytes) -> bytes:
    """A byte 0 inside a document becomes a space, which changes no offset."""
    return text.replace(b"\0", b" ") if b"\0" in text else text


def _without_symbols(text: bytes, fold: bool) -> bytes:
    """Symbols beyond ASCII as spaces. The bytes of 128 and above of valid UTF-8 are, one after
    the other, valid UTF-8 again, so that ASCII costs nothing here."""
    if text.isascii():
        return text
    array = np.frombuffer(text, np.uint8).copy()
    at = np.flatnonzero(array > 127)
    points = np.frombuffer(array[at].tobytes().decode().encode("utf-32-le"), "<u4")
    if fold:
        array[at] = np.frombuffer(
            _lower_case()[points].tobytes().decode("utf-32-le").encode(), "u1"
        )
    sizes = 2 + (points > 0x7FF).astype(np.int8) + (points > 0xFFFF)
    array[at[np.repeat(~_alphanumeric()[points], sizes)]] = ord(" ")
    return array.tobytes()


@cache
def _alphanumeric() -> NDArray[np.bool_]:
    """`str.isalnum` of every code point."""
    every = map(chr, range(sys.maxunicode + 1))
    return np.fromiter(map(str.isalnum, every), bool, sys.maxunicode + 1)


@cache
def _lower_case() -> NDArray[np.uint32]:
    """Lower case of every code point, where it has as many bytes; others stay, on both sides."""
    table = np.arange(sys.maxunicode + 1, dtype="<u4")
    for point in range(128, sys.maxunicode + 1):
        upper = chr(point)
        lower = upper.lower()
        if lower != upper and len(lower) == 1 and len(lower.encode()) == len(upper.encode()):
            table[point] = ord(lower)
    return table
