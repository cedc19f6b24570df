"""Event files: two written by TensorBoard 2.21 itself, and others by the few lines below."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from foresight.forecast.events import crc32c

SCALARS = """
SAAAAAAAAAD+kkidCUmrfReYwdpBGg1icmFpbi5FdmVudDoyUi4KLHRlbnNvcmJvYXJkLnN1bW1hcnkud3JpdGVyLmV2ZW50
X2ZpbGVfd3JpdGVyl1hFJB4AAAAAAAAA2dwSMgm9tn0XmMHaQRBkKhEKDwoIdmFsL2xvc3MVAABQQEectyAfAAAAAAAAAFFL
RBgJZrd9F5jB2kEQyAEqEQoPCgh2YWwvbG9zcxUAACBA68zYgS8AAAAAAAAAbV0dUAkXuH0XmMHaQRDIASohCh8KBnRva2Vu
c0IICAEqBChr7k5KCwoJCgdzY2FsYXJzW7+25TAAAAAAAAAAlfXQXwmauH0XmMHaQRAHKiMKIQoEd2lkZUIMCAIyCFVVVVVV
VdU/SgsKCQoHc2NhbGFycwwLjfapAAAAAAAAADRnmBMJd2qAF5jB2kEQyAEqmgEKlwEKAWgqkQEJAAAA4MucEMARAAAAQHHq
DkAZAAAAAACI00AhAKD6VctvLMApgttc8XwL00AyMAAAAODLnBDAMzMz85VlBMCYmZmZUEbuv6CZmZm2CeU/NDMzc28WAkAA
AABAceoOQDowAAAAAAAAAAAAAAAAAIBXQAAAAAAAXqlAAAAAAADAxkAAAAAAAKKyQAAAAAAAIG5AbfMLqQ==
"""
HPARAMS = """
SAAAAAAAAAD+kkidCdWsfheYwdpBGg1icmFpbi5FdmVudDoyUi4KLHRlbnNvcmJvYXJkLnN1bW1hcnkud3JpdGVyLmV2ZW50
X2ZpbGVfd3JpdGVywOjsM3AAAAAAAAAAlCmtzQmNuX4XmMHaQSplCmMKFF9ocGFyYW1zXy9leHBlcmltZW50SksKSQoHaHBh
cmFtcxI+EjwiDAoIbl9wYXJhbXMgAyIGCgJsciADIggKBG5hbWUgASIICgRmbGFnIAMiCAoEc2VlZCADKgYKBBICaHCJK+TC
mQAAAAAAAACIWdFLCd+5fheYwdpBKo0BCooBChxfaHBhcmFtc18vc2Vzc2lvbl9zdGFydF9pbmZvSmoKaAoHaHBhcmFtcxJd
GlsKEQoEc2VlZBIJEQAAAAAAAAhACgsKBG5hbWUSAxoBYQoPCgJschIJEfyp8dJNYlA/ChEKBGZsYWcSCREAAAAAAADwPwoV
CghuX3BhcmFtcxIJEQAAAACj4aFByxmTUjwAAAAAAAAAyLejUgkdun4XmMHaQSoxCi8KGl9ocGFyYW1zXy9zZXNzaW9uX2Vu
ZF9pbmZvShEKDwoHaHBhcmFtcxIEIgIIAa1PQTwWAAAAAAAAAE9hvigJNrt+F5jB2kEqCwoJCgJocBUAAIA/HI1U5g==
"""


def golden(folder: Path) -> tuple[Path, Path]:
    """What torch.utils.tensorboard.SummaryWriter wrote: val/loss 3.25 at step 100 and 2.5 at 200;
    tokens 2e9 and wide 1/3 (double) as tensors; a histogram; the hyper-parameters n_params,
    lr, name, flag, seed, with their metric hp."""
    paths = []
    for name, text in (("0", SCALARS), ("1", HPARAMS)):
        paths.append(folder / f"events.out.tfevents.1700000000.host.{name}")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(base64.b64decode(text))
    return paths[0], paths[1]


def record(message: bytes) -> bytes:
    """A TFRecord around any bytes."""

    def checksum(data: bytes) -> bytes:
        crc = crc32c(data)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(message))
    return length + checksum(length) + message + checksum(message)


def scalar(tag: str, value: float, step: int) -> bytes:
    """An Event with one simple_value."""
    name = tag.encode()
    inner = b"\x0a" + varint(len(name)) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + varint(len(inner)) + inner
    return record(b"\x10" + varint(step) + b"\x2a" + varint(len(summary)) + summary)


def write_events(path: Path, scalars: dict[str, list[tuple[int, float]]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [scalar(tag, v, step) for tag, points in scalars.items() for step, v in points]
    version = record(b"\x1a\x0dbrain.Event:2")
    path.write_bytes(b"".join([version, *parts]))
    return path


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])
