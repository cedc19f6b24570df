"""Functions of one number: programs whose bodies are one to three of the shortest lines.

They are in reach of models that never write a list comprehension right: a ladder of minutes shows
pass rates between none and all on held-out compositions of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from foresight.document import Document
from foresight.worlds import programs
from foresight.worlds.splits import Split

STEP_SHARES = (0.4, 0.4, 0.2)


def documents(seed: int, count: int, split: Split) -> Iterator[Document]:
    """`count` documents of one function each, in the form of `programs.documents`."""
    for index, document in enumerate(
        programs.documents(seed, count, split, STEP_SHARES, kind="number")
    ):
        yield replace(document, id=f"functions-{split}-{seed}-{index}", source="functions")
