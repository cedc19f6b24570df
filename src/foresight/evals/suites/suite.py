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
    """`examples` by category ("" for all) can serve as few-shot examples; `shots` are usual."""

    items: tuple[Item, ...]
    protocol: Protocol
    examples: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    shots: int = 0

    def task(self, name: str, protocol: Protocol | None = None, shots: int | None = None) -> Task:
        """The first `shots` examples before every item. Raises UserError if there are fewer."""
        shots = self.shots if shots is None else shots
        for category, some in self.examples.items():
            if len(some) < shots:
                raise UserError(
                    f"task {name}: {shots} examples wanted, {len(some)} there"
                    + (f" for {category}" if category else "")
                )
        if shots and not self.examples:
            raise UserError(f"task {name}: {shots} examples wanted, the set has none")
        few_shot = {category: some[:shots] for category, some in self.examples.items()}
        return Task(name, self.items, protocol or self.protocol, few_shot if shots else {})
