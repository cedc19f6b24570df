"""A task: items, how they are put, and the examples shown before them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import prompt_text
from foresight.evals.protocols.protocol import Attempt, Protocol
from foresight.inference.language_model import Parts
from foresight.runs import canonical_json, sha256_text


@dataclass(frozen=True, eq=False)
class Task:
    """Items and the protocol that puts them.

    `few_shot`: solved examples by the item's category (`meta["category"]`: MMLU's subjects); those
    under "" serve categories without any. They are frozen: the hash covers every prompt as it is
    written. Raises UserError if there are no items, an id occurs twice, or an item cannot be put.
    """

    name: str
    items: tuple[Item, ...]
    protocol: Protocol
    few_shot: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]+", self.name) or self.name in (".", ".."):
            raise UserError(f"task name {self.name!r}: use letters, digits, '.', '_', '+', '-'")
        if not self.items:
            raise UserError(f"task {self.name}: no items")
        twice = [name for name, n in Counter(item.id for item in self.items).items() if n > 1]
        if twice:
            raise UserError(f"task {self.name}: item id {twice[0]!r} occurs twice")
        for item in self.items:
            self.protocol.check(item)

    def shots(self, item: Item) -> tuple[Item, ...]:
        """The examples shown before an item."""
        category = str(item.meta.get("category", ""))
        return self.few_shot.get(category, self.few_shot.get("", ()))

    @cached_property
    def _prefixes(self) -> dict[str, Parts]:
        first: dict[str, Item] = {}
        for item in self.items:
            first.setdefault(str(item.meta.get("category", "")), item)
        return {
            category: self.protocol.layout.prefix(self.shots(item), category)
            for category, item in first.items()
        }

    def attempt(self, item: Item, sample: int = 0) -> Attempt:
        """The item's `sample`-th attempt, with its prompt's prefix and its random stream."""
        prefix = self._prefixes[str(item.meta.get("category", ""))]
        stream = f"{self.hash}/{item.id}/{sample}"
        return Attempt(item, prefix, len(self.shots(item)), sample, stream)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that decides a score: the protocol's settings, and of every item
        its id, prompt as written, choices, target, weight, group and meta. The name is left out."""
        digest = hashlib.sha256(canonical_json(self.protocol.settings()).encode())
        written = {category: prompt_text(parts) for category, parts in self._prefixes.items()}
        prefixes = {category: sha256_text(text) for category, text in written.items()}
        for item in self.items:
            prefix = prefixes[str(item.meta.get("category", ""))]
            asked = prompt_text(tuple(self.protocol.layout.asked(item, len(self.shots(item)) + 1)))
            value: list[Any] = [
                item.id, prefix, asked, item.choices, item.target, item.weight, item.group,
                item.meta,
            ]  # fmt: skip
            digest.update(b"\n" + canonical_json(value).encode())
        return digest.hexdigest()

    def chosen(self, limit: int | None) -> Sequence[Item]:
        """All items, or `limit` drawn by their ids: the same for every model and every way of
        asking, so that they pair, and more of them contain the fewer."""
        if limit is None or limit >= len(self.items):
            return self.items
        if limit < 1:
            raise UserError(f"limit {limit}: must be 1 or more")
        drawn = sorted(self.items, key=lambda item: sha256_text(item.id))[:limit]
        names = {item.id for item in drawn}
        return [item for item in self.items if item.id in names]

    def attempts(self, items: Sequence[Item], samples: int) -> Iterator[Attempt]:
        """Every sample of every item, in the order of records."""
        return (self.attempt(item, sample) for item in items for sample in range(samples))
