"""Who may ask: a file of hashed keys with roles and limits."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from foresight.errors import UserError
from foresight.evals.files import read_yaml, validated
from foresight.runs import locked, write_atomic

Role = Literal["user", "reviewer", "admin"]
RANK: dict[Role, int] = {"user": 0, "reviewer": 1, "admin": 2}
PREFIX = "fs-"
_Rate = Annotated[float, Field(gt=0)]


class Key(BaseModel):
    """`sha256` of the key itself, which is kept nowhere: it is 256 random bits, so that a plain
    hash cannot be turned back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    role: Role = "user"
    requests_per_minute: _Rate | None = None
    tokens_per_minute: _Rate | None = None

    def may(self, role: Role) -> bool:
        return RANK[self.role] >= RANK[role]


LOCAL = Key(name="local", sha256="0" * 64, role="admin")
"""Everyone, where there is no file of keys."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    keys: list[Key]


class Keys:
    """The file is read again when it changes. Raises UserError if it cannot be read at first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = read_keys(path)
        self._changed = path.stat().st_mtime_ns

    def find(self, given: str) -> Key | None:
        """The key's owner. All are compared, each in constant time, whichever it is."""
        self._refresh()
        digest = hashlib.sha256(given.encode(errors="replace")).hexdigest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def _refresh(self) -> None:
        """A file that is gone or broken leaves what was known."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._changed:
                self._keys, self._changed = read_keys(self._path), changed
        except (OSError, UserError):
            return


def read_keys(path: Path) -> list[Key]:
    """Raises UserError naming file and field."""
    if not path.exists():
        raise UserError(f"{path}: is not there; `foresight key {path} NAME` makes it")
    found = validated(_File, read_yaml(path), str(path))
    names = [key.name for key in found.keys]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: two keys have one name; give each its own")
    return found.keys


def add_key(path: Path, name: str, role: Role = "user") -> str:
    """A new key in the file, which is made if need be; the key, which is told this once. Raises
    UserError if the name is taken."""
    with locked(path.resolve().parent):
        keys = read_keys(path) if path.exists() else []
        if any(key.name == name for key in keys):
            raise UserError(f"{path}: there is a key of {name!r} already")
        secret = PREFIX + secrets.token_urlsafe(32)
        row = {"name": name, "sha256": hashlib.sha256(secret.encode()).hexdigest(), "role": role}
        key = validated(Key, row, "a new key")
        rows = [one.model_dump(exclude_none=True) for one in [*keys, key]]
        write_atomic(path, yaml.safe_dump({"keys": rows}, sort_keys=False))
    return secret


class Bucket:
    """What flows in at `per_minute` and is kept up to a minute's worth. It may be overdrawn: what
    an answer costs is known when it is given."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = per_minute / 60, per_minute, clock
        self._level, self._at = per_minute, clock()

    def wait_seconds(self, amount: float) -> float:
        """How long until `amount` is there; 0 if it is."""
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._most) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        self._level -= amount
