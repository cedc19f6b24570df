"""Witnesses of time: who else saw a registration, and when. Nothing of it is inside the record.

FILE.tsr is the answer of a time-stamping authority (RFC 3161) over the SHA-256 of FILE's bytes.
NNNN-name.git.json names a commit that holds FILE. A chain shows that nothing was changed since;
only a witness shows that it was not written yesterday.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from foresight.errors import UserError
from foresight.forecast.chain import GIT_SUFFIX
from foresight.runs import read_json, sha256_file, write_json

SECONDS = 30
"""How long an authority may take to answer."""
_INTEGER, _OCTETS, _SEQUENCE, _TIME, _EXPLICIT = 0x02, 0x04, 0x30, 0x18, 0xA0
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
"""AlgorithmIdentifier of SHA-256: its OID 2.16.840.1.101.3.4.2.1, and NULL."""
_SHA256_BARE = bytes.fromhex("300b0609608648016503040201")
"""The same without its NULL, as some authorities write it."""


@dataclass(frozen=True)
class Sight:
    """What a witness's file says. `time` is an authority's, else None."""

    file: Path
    ok: bool
    message: str
    time: datetime | None = None


def timestamp_path(path: Path) -> Path:
    return path.with_name(path.name + ".tsr")


def commit_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".json") + GIT_SUFFIX)


def request_bytes(sha256: str) -> bytes:
    """DER of the TimeStampReq (RFC 3161, section 2.4.1) for a digest, certificates wanted."""
    imprint = _der(_SEQUENCE, _SHA256 + _der(_OCTETS, bytes.fromhex(sha256)))
    return _der(_SEQUENCE, _der(_INTEGER, b"\x01") + imprint + b"\x01\x01\xff")


def request_timestamp(url: str, sha256: str) -> bytes:
    """Ask the authority at `url`; returns its TimeStampResp.

    Raises UserError if it cannot be reached, refuses, or answers for another digest.
    """
    # Imported here: it takes as long as the rest of the forecaster's imports.
    import urllib.request

    headers = {"Content-Type": "application/timestamp-query"}
    try:
        request = urllib.request.Request(url, request_bytes(sha256), headers)
        if request.type not in ("http", "https"):
            raise UserError(f"--timestamp {url}: expected an http or https address")
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            response: bytes = answer.read()
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{url}: no time stamp ({reason}); nothing was registered") from None
    try:
        digest, _ = read_timestamp(response)
    except UserError as error:
        raise UserError(f"{url}: {error}; nothing was registered") from None
    if digest != sha256:
        raise UserError(f"{url}: the time stamp is of another digest; nothing was registered")
    return response


def read_timestamp(response: bytes) -> tuple[str, datetime]:
    """SHA-256 and time in a TimeStampResp (RFC 3161, section 2.4.2). The signature is not checked.

    Raises UserError if it is a refusal or no such answer.
    """
    try:
        status, *token = _children(_only(response, _SEQUENCE))
        number = _children(status[1])[0]
        # 0: granted, 1: granted with changes.
        if number[0] != _INTEGER or int.from_bytes(number[1]) > 1 or not token:
            raise UserError(f"the authority refused (PKIStatus {int.from_bytes(number[1])})")
        signed = _children(_only(_children(token[0][1])[1][1], _SEQUENCE))
        content = _children(signed[2][1])[1]
        info = _children(_only(_only(content[1], _OCTETS), _SEQUENCE))
        algorithm, digest = _children(info[2][1])
        if _der(*algorithm) not in (_SHA256, _SHA256_BARE) or digest[0] != _OCTETS:
            raise UserError("the time stamp is not of a SHA-256")
        times = [value for tag, value in info if tag == _TIME]
        text = times[0].decode("ascii").rstrip("Z").split(".")[0]
        return digest[1].hex(), datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except (IndexError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("not a TimeStampResp in DER") from None


def check_timestamp(path: Path) -> Sight | None:
    """Does the time stamp beside a registration speak of its bytes? None if there is none."""
    beside = timestamp_path(path)
    if not beside.exists():
        return None
    try:
        digest, time = read_timestamp(beside.read_bytes())
    except (UserError, OSError) as error:
        return Sight(beside, False, str(error))
    if digest != sha256_file(path):
        return Sight(beside, False, f"is of SHA-256 {digest}, which {path.name} does not have")
    return Sight(
        beside,
        True,
        f"says {path.name} existed at {time.isoformat()}; its signature is not checked here: "
        f"openssl ts -verify -data {path.name} -in {beside.name} -CAfile CA.pem",
        time,
    )


def repository(folder: Path) -> Path:
    """Top of the git repository around a folder, ready for a commit.

    Raises UserError if there is none, git is missing, or it does not know who commits.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise UserError(f"{folder}: not inside a git repository (or git is missing); nothing was "
                        f"registered")  # fmt: skip
    if _git(folder, "var", "GIT_COMMITTER_IDENT") is None:
        raise UserError(f"{folder}: git does not know who commits (set user.name and user.email); "
                        f"nothing was registered")  # fmt: skip
    return Path(top.decode().strip())


def commit(path: Path, files: Sequence[Path]) -> Path:
    """Commit `files` (a registration and what belongs to it); returns the file beside `path`.

    Raises UserError if git refuses; the registration stands all the same.
    """
    top, names = repository(path.parent), [str(file.resolve()) for file in files]
    if _git(path.parent, "add", "--", *names) is None or _git(
        path.parent, "commit", "--quiet", "-m", f"Register prediction {path.stem}", "--", *names
    ) is None:  # fmt: skip
        raise UserError(f"{path}: registered, but git refused to commit it (see git status)")
    head = _git(path.parent, "rev-parse", "HEAD")
    assert head is not None, "a commit was made"
    beside = commit_path(path)
    where = path.resolve().relative_to(top.resolve()).as_posix()
    write_json(beside, {"commit": head.decode().strip(), "path": where})
    return beside


def check_commit(path: Path) -> Sight | None:
    """Does the commit named beside a registration hold its bytes? None if none is named."""
    beside = commit_path(path)
    if not beside.exists():
        return None
    try:
        named = read_json(beside)
        head, where = str(named["commit"]), str(named["path"])
    except (UserError, KeyError, TypeError) as error:
        return Sight(beside, False, f"names no commit and path ({error})")
    if not head.isalnum():
        return Sight(beside, False, f"{head!r} is no commit")
    held = _git(path.parent, "cat-file", "blob", f"{head}:{where}")
    if held is None:
        return Sight(beside, False, f"commit {head} with {where} is not in this repository")
    if held != path.read_bytes():
        return Sight(beside, False, f"commit {head} holds other bytes of {path.name}")
    time = (_git(path.parent, "show", "-s", "--format=%cI", head) or b"").decode().strip()
    return Sight(
        beside,
        True,
        f"commit {head[:12]} of {time} holds {path.name}; the time is the committer's own clock: "
        f"it counts from when others have the commit",
    )


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Standard output of git in a folder; None if it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _der(tag: int, content: bytes) -> bytes:
    """One DER element (X.690, section 8.1)."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(size)]) + size + content


def _children(content: bytes) -> list[tuple[int, bytes]]:
    """Elements (tag, content) that follow one another. Raises ValueError on anything else."""
    return list(_elements(content))


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        if at + 2 > len(content):
            raise ValueError("torn element")
        tag, length = content[at], content[at + 1]
        at += 2
        if length >= 0x80:
            size = length & 0x7F
            length = int.from_bytes(content[at : at + size])
            at += size
            # No size at all is BER's indefinite length, which DER does not have.
            if not 0 < size <= 8:
                raise ValueError("length")
        if at + length > len(content):
            raise ValueError("torn element")
        yield tag, content[at : at + length]
        at += length


def _only(content: bytes, tag: int) -> bytes:
    """Content of the first element, which must have this tag."""
    found, inner = _children(content)[0]
    if found != tag:
        raise ValueError(f"tag {found:#x}, expected {tag:#x}")
    return inner
