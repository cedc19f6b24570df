"""Scalars of TensorBoard event files, read without TensorBoard.

A file is a row of TFRecords (length, its checksum, bytes, theirs), each an `Event` message of
tensorflow/core/util/event.proto. Read here: `Summary.Value.simple_value`, float and double
tensors of one element, and the hyper-parameters of the `hparams` plugin.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foresight.errors import UserError

MAX_RECORD = 1 << 16
"""Longer records hold pictures or histograms, no scalars: passed over (hyper-parameters in them,
some thousand, would be too)."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SESSION = "_hparams_/session_start_info"


@dataclass
class Events:
    """`scalars`: tag to (step, value) in the order written; `hparams`: what a run was set to;
    `torn`: the file ends inside a record, as a killed writer leaves it."""

    scalars: dict[str, list[tuple[int, float]]]
    hparams: dict[str, Any]
    torn: bool = False


def read_events(path: Path) -> Events:
    """Everything that is a number in one event file. Raises UserError naming the file and the
    byte if a checksum is wrong or a message does not parse."""
    found = Events({}, {})
    try:
        with path.open("rb") as stream:
            at = 0
            while head := stream.read(12):
                length = int.from_bytes(head[:8], "little")
                if len(head) < 12:
                    found.torn = True
                    break
                if _masked_crc(head[:8]) != int.from_bytes(head[8:], "little"):
                    raise UserError(f"{path}, byte {at}: not a TFRecord (checksum of its length)")
                rest = stream.read(length + 4) if length <= MAX_RECORD else b""
                if length > MAX_RECORD:
                    stream.seek(length + 4, 1)
                elif len(rest) < length + 4:
                    found.torn = True
                    break
                elif _masked_crc(rest[:length]) != int.from_bytes(rest[length:], "little"):
                    raise UserError(f"{path}, byte {at}: damaged (checksum of the record)")
                else:
                    _event(rest[:length], found)
                at += 16 + length
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UserError:
        raise
    except (IndexError, TypeError, AttributeError, ValueError, struct.error) as error:
        raise UserError(f"{path}, byte {at}: not an Event message ({error})") from None
    return found


def _event(message: bytes, found: Events) -> None:
    step = dict(_fields(message)).get(2, 0)
    for value in _inside(message, 5, 1):
        _summary_value(value, step, found)


def _summary_value(message: bytes, step: int, found: Events) -> None:
    fields = dict(_fields(message))
    tag, scalar = fields.get(1, b"").decode(), None
    if 2 in fields:
        scalar = struct.unpack("<f", fields[2])[0]
    elif 8 in fields:
        scalar = _tensor(fields[8])
    if 9 in fields and tag == _SESSION:
        found.hparams |= _hparams(fields[9])
    if scalar is not None:
        found.scalars.setdefault(tag, []).append((step, scalar))


def _tensor(message: bytes) -> float | None:
    """A float (type 1) or double (type 2) tensor of one element, in either of its spellings."""
    fields = dict(_fields(message))
    # tensor_content, float_val, double_val
    content = next((fields[at] for at in (4, 5, 6) if at in fields), b"")
    code = {1: "<f", 2: "<d"}.get(fields.get(1, 0))
    if code is None or len(content) != struct.calcsize(code):
        return None
    return float(struct.unpack(code, content)[0])


def _hparams(metadata: bytes) -> dict[str, Any]:
    """SummaryMetadata.plugin_data.content.session_start_info.hparams: a map of names to
    google.protobuf.Value."""
    entries = [dict(_fields(entry)) for entry in _inside(metadata, 1, 2, 3, 1)]
    named = {entry.get(1, b"").decode(): _setting(entry.get(2, b"")) for entry in entries}
    return {name: setting for name, setting in named.items() if setting is not None}


def _setting(message: bytes) -> float | str | bool | None:
    for number, value in _fields(message):
        if number == 2:
            return float(struct.unpack("<d", value)[0])
        if number == 3:
            return str(value.decode())
        if number == 4:
            return bool(value)
    return None


def _inside(message: bytes, *path: int) -> Iterator[bytes]:
    """The messages at a path of field numbers."""
    for number, value in _fields(message):
        if number == path[0] and isinstance(value, bytes):
            yield from [value] if len(path) == 1 else _inside(value, *path[1:])


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protocol-buffer message: varints as int, the rest as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(message):
            raise ValueError("a field ends behind the message")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and offset as TFRecords have it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C, reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4)."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901
        table.append(byte)
    return tuple(table)
