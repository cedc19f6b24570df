"""Hands things out to people who judge them, and keeps what they say."""

from __future__ import annotations

import re
import secrets
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from foresight.errors import UserError
from foresight.evals.files import validated
from foresight.evals.journal import Journal, now
from foresight.evals.people.entry import E, read_journal, standing
from foresight.runs import sha256_text, write_atomic


@dataclass(frozen=True)
class Sharing:
    """Who judges, which share of all things is judged by two, and the seed of every order.

    Raises UserError for a share outside [0, 1], no names, or a name that is none.
    """

    people: tuple[str, ...]
    overlap: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.overlap <= 1.0:
            raise UserError(f"overlap {self.overlap}: must be a share, from 0 to 1")
        if not self.people or len(set(self.people)) < len(self.people):
            raise UserError(f"names {', '.join(self.people)}: give each person one of their own")
        for name in self.people:
            if not re.fullmatch(r"\w[\w .@-]{0,39}", name):
                raise UserError(f"name {name!r}: use up to 40 letters, digits, '.', '-', '_', '@'")

    def drawn(self, *what: str) -> float:
        """A number in [0, 1) that depends on the seed and on what it is for."""
        return int(sha256_text("/".join((str(self.seed), *what)))[:12], 16) / 16**12


class Desk(ABC, Generic[E]):
    """One journal, and who is shown what next.

    Everybody goes through one drawn order. A thing goes to one person, the overlap to two; what
    one has before them is kept from others until nothing else is left. On pages a thing has a name
    that tells nothing of it, and people are told apart by secret tokens, both the same after the
    server was started again.
    """

    def __init__(self, journal: Path, kind: type[E], keys: Sequence[str], sharing: Sharing) -> None:
        self.people, self._kind = sharing.people, kind
        self._stood = standing(read_journal(journal, kind))
        self._order = sorted(keys, key=lambda key: sharing.drawn(key, "order"))
        self._wanted = {key: 1 + (sharing.drawn(key, "twice") < sharing.overlap) for key in keys}
        self._held: dict[str, str] = {}
        self._secret = secret(journal.parent)
        self._keys = {self._name(key): key for key in keys}
        self._journal = Journal(journal, sync_every=1)
        self._lock = threading.Lock()

    def __enter__(self) -> Desk[E]:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.__exit__()

    @abstractmethod
    def picture(self, sha256: str) -> Path | None:
        """The file of a picture in a prompt; None, or no file, if there is none."""

    @abstractmethod
    def _shown(self, key: str, person: str) -> dict[str, Any]:
        """What the page shows of a thing: nothing in it may tell which model it is of."""

    @abstractmethod
    def _fields(self, key: str, person: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """The entry's own fields. Raises UserError if what was said makes no sense."""

    def token(self, person: str) -> str:
        """Whoever has it is this person; 128 bits."""
        return token(self._secret, person)

    def card(self, person: str) -> dict[str, Any]:
        """What the person is to see now: `card` None when there is nothing left."""
        with self._lock:
            return self._card(person)

    def enter(self, person: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """Write down what was said of `id`, and the next card. When this returns, it is on disk.

        Said twice it counts once (an answer may get lost on its way back). Raises UserError for an
        unknown thing, for what makes no sense, and for what contradicts what stands.
        """
        with self._lock:
            key = self._keys.get(str(said.get("id")))
            if key is None:
                raise UserError(f"id {said.get('id')!r:.80}: there is no such thing to judge")
            entry = self._entry(key, person, said)
            before = self._stood.get((key, person))
            if before is None:
                self._write(entry)
            elif not entry.same_as(before):
                raise UserError("you have judged this one in another window: undo it there first")
            return self._card(person)

    def undo(self, person: str, done: int) -> dict[str, Any]:
        """Take back the last of the person's `done` entries; it is shown again. If there are more
        or fewer by now nothing happens: it was asked twice."""
        with self._lock:
            mine = [one for one in self._stood.values() if one.person == person]
            if mine and len(mine) == done:
                self._write(mine[-1].model_copy(update={"action": "undo", "at": now()}))
                self._held[person] = mine[-1].key
            return self._card(person)

    def _entry(self, key: str, person: str, said: Mapping[str, Any]) -> E:
        if said.get("action") == "undo":
            raise UserError("field action: 'undo' has an address of its own")
        own = self._fields(key, person, said)
        value = {"key": key, "action": said.get("action"), "at": now()} | own
        return validated(self._kind, value, "what was said")

    def _write(self, entry: E) -> None:
        self._journal.append(entry.to_line())
        self._stood = standing([*self._stood.values(), entry])

    def _card(self, person: str) -> dict[str, Any]:
        mine = {key for key, who in self._stood if who == person}
        said = Counter(key for (key, _), one in self._stood.items() if one.action != "skip")
        others = Counter(key for who, key in self._held.items() if who != person)
        held = self._held.get(person)
        if held in mine:
            held = None
        left = [
            key
            for key in self._order
            if key not in mine and (key == held or said[key] < self._wanted[key])
        ]
        if held is None:
            free = (key for key in left if said[key] + others[key] < self._wanted[key])
            held = next(free, left[0] if left else None)
        self._held.pop(person, None)
        shown = None
        if held is not None:
            self._held[person] = held
            shown = {"id": self._name(held), **self._shown(held, person)}
        return {"person": person, "done": len(mine), "left": len(left), "card": shown}

    def _name(self, key: str) -> str:
        return sha256_text(f"{self._secret}/{key}")[:16]


def token(secret: str, person: str) -> str:
    """Whoever has it is this person; 128 bits."""
    return sha256_text(f"{secret}/person/{person}")[:32]


def secret(folder: Path) -> str:
    """Of what a folder's pages are called: made once, readable by its owner alone."""
    path = folder / ".secret"
    if not path.exists():
        write_atomic(path, secrets.token_hex(32))
        path.chmod(0o600)
    return path.read_text()
