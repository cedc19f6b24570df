"""A public set as read: items, the way in which they are usually put, examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.files import read_files, rows_of
from foresight.evals.item import Item
from foresight.evals.protocols import Protocol
from foresight.evals.task import Task


@dataclass(frozen=True, eq=False)
class Suite:
    """`examples` by category ("" for all) can serve as few-shot examples; `shots` are usual.

    A set without examples lends its own first questions, one of a group (of each category where
    `own_by_category`); they, and whatever shares a group with them, are then not asked.
    """

    items: tuple[Item, ...]
    protocol: Protocol
    examples: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    shots: int = 0
    own_by_category: bool = False

    def task(self, name: str, protocol: Protocol | None = None, shots: int | None = None) -> Task:
        """The first `shots` examples before every item. Raises UserError if there are fewer."""
        shots = self.shots if shots is None else shots
        examples, items = self.examples, self.items
        if shots and not any(examples.values()):
            examples = self._lent(shots)
            used = {_cluster(one) for some in examples.values() for one in some}
            items = tuple(item for item in items if _cluster(item) not in used)
        for category, some in examples.items():
            if len(some) < shots:
                raise UserError(
                    f"task {name}: {shots} examples wanted, {len(some)} there"
                    + (f" for {category}" if category else "")
                )
        few_shot = {category: some[:shots] for category, some in examples.items()}
        return Task(name, items, protocol or self.protocol, few_shot if shots else {})

    def _lent(self, shots: int) -> dict[str, tuple[Item, ...]]:
        """The first `shots` items of each category, no two of one group."""
        lent: dict[str, dict[tuple[bool, str], Item]] = {}
        for item in self.items:
            category = str(item.meta.get("category", "")) if self.own_by_category else ""
            some = lent.setdefault(category, {})
            if len(some) < shots:
                some.setdefault(_cluster(item), item)
        return {category: tuple(some.values()) for category, some in lent.items()}


Make = Callable[[str, str, dict[str, Any]], Item]
"""An item from the place where its row stands, its name (FILE/NUMBER) and the row."""


def read_items(
    path: Path, patterns: Sequence[str], fields: Sequence[str], make: Make
) -> dict[str, tuple[Item, ...]]:
    """Items by JSONL file, its suffix left out."""
    found = {}
    for file, text in read_files(path, *patterns).items():
        stem = file.removesuffix(".jsonl")
        rows = enumerate(rows_of(f"{path}, {file}", text, *fields))
        found[stem] = tuple(make(where, f"{stem}/{at}", row) for at, (where, row) in rows)
    return found


def needed(path: Path, read: Mapping[str, tuple[Item, ...]], *names: str) -> tuple[Item, ...]:
    """The items of the first file that is there and has any. Raises UserError if none is."""
    for name in names:
        if read.get(name):
            return read[name]
    raise UserError(f"{path}: holds no {'.jsonl and no '.join(names)}.jsonl")


def no_subset(name: str, subset: str) -> None:
    """Raises UserError if one is named."""
    if subset:
        raise UserError(f"{name} has no subset {subset!r}")


def _cluster(item: Item) -> tuple[bool, str]:
    return (True, item.group) if item.group else (False, item.id)
