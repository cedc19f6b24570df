"""Which prompts people are to judge: not the too short, the too common, the disallowed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foresight.data.deduplicate import deduplicate
from foresight.document import Document, Text
from foresight.errors import UserError
from foresight.evals.files import read_text
from foresight.evals.graders import normalised
from foresight.evals.item import Item


@dataclass(frozen=True)
class Filters:
    """`min_words`: a shorter prompt is too short. `max_copies`: a prompt that occurs more often is
    too common, with all its copies; copies are equal up to case, punctuation and articles, or have
    Jaccard `similarity` of their runs of five letters (of five words, a typo would make a short
    prompt another one). `disallowed`: regular expressions, any case.
    """

    min_words: int = 3
    max_copies: int = 3
    similarity: float = 0.85
    disallowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filtered:
    """A prompt that was left out, and why."""

    id: str
    reason: Literal["too_short", "too_common", "disallowed"]
    detail: str


@dataclass(frozen=True)
class Sifted:
    """`clusters`: of each kept prompt its group, or the first of the prompts that it repeats:
    prompts of one cluster are not independent."""

    kept: tuple[Item, ...]
    clusters: tuple[str, ...]
    filtered: tuple[Filtered, ...]


def read_disallowed(path: Path) -> tuple[str, ...]:
    """A regular expression a line; empty lines and those that begin with # are left out.

    Raises UserError naming file and line.
    """
    patterns = []
    for number, line in enumerate(map(str.strip, read_text(path).splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            re.compile(line)
        except re.error as error:
            raise UserError(f"{path}, line {number}: no regular expression ({error})") from None
        patterns.append(line)
    return tuple(patterns)


def sift(items: Sequence[Item], filters: Filters) -> Sifted:
    """Prompts that pass all filters, in their order. A prompt that fails several is named once, for
    the first in the order too short, disallowed, too common."""
    firsts = _firsts(items, filters.similarity)
    copies = Counter(firsts)
    kept, clusters, filtered = [], [], []
    for item, first in zip(items, firsts, strict=True):
        words = len(item.text.split())
        bad = next((one for one in filters.disallowed if re.search(one, item.text, re.I)), None)
        if words < filters.min_words:
            filtered.append(Filtered(item.id, "too_short", f"{words} words"))
        elif bad is not None:
            filtered.append(Filtered(item.id, "disallowed", bad))
        elif copies[first] > filters.max_copies:
            detail = f"{copies[first]} like {first}"
            filtered.append(Filtered(item.id, "too_common", detail))
        else:
            kept.append(item)
            clusters.append(item.group or first)
    return Sifted(tuple(kept), tuple(clusters), tuple(filtered))


def _firsts(items: Sequence[Item], similarity: float) -> list[str]:
    """Of each prompt the id of the first one that it repeats, which may be itself."""

    def letters(text: str) -> Text:
        """As words of one letter, of which `deduplicate` takes five at a time."""
        return Text(" ".join(normalised(text, "words").replace(" ", "_")))

    documents = [
        Document(
            item.id,
            tuple(letters(one.text) if isinstance(one, Text) else one for one in item.parts),
            "prompts",
        )
        for item in items
    ]
    _, _, report = deduplicate(documents, (), similarity)
    repeats = {one.id: one.kept_id for one in report.removals}
    return [repeats.get(item.id, item.id) for item in items]
