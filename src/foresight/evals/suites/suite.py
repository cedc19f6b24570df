"""A public set as read: items, the way in which they are usually put, examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foresight.errors import UserError
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


def _cluster(item: Item) -> tuple[bool, str]:
    return (True, item.group) if item.group else (False, item.id)
