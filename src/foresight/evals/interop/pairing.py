"""Which of our items a foreign record answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from foresight.evals.record import Record


@dataclass(frozen=True)
class Pairing:
    """`paired`: foreign records under our task, item, group and weight. `unpaired`: the rest."""

    paired: list[Record]
    unpaired: list[Record]


def pair(foreign: Sequence[Record], ours: Sequence[Record]) -> Pairing:
    """Give foreign records the names of our items that ask the same question.

    The question is what decides, not a number: of the document's texts that stand in the foreign
    prompt or options, the longest must stand in our prompt or options, and one must be an option
    where we have options (a question alone may stand among another's solved examples). Of several
    such records the one with most of the texts is taken. Position (`doc_id`, in the whole task, a
    group or a category) says where to look first and decides between equals. What stays undecided,
    or asks for an item that is taken, is unpaired.
    """
    first = min((record.sample for record in ours), default=0)
    firsts = [record for record in ours if record.sample == first]
    texts = _Texts(firsts)
    # There a task may be what is a group or a category of a task here (MMLU's subjects).
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, record in enumerate(firsts):
        category = record.details.get("category")
        for name in {(), (record.group,), ("category", str(category))}:
            groups.setdefault((record.task, *name), []).append(index)
    taken: set[int] = set()
    result = Pairing([], [])
    for record in foreign:
        near = _near(record.details.get("doc_id"), groups.values())
        found = texts.find(_asked(record), near, taken)
        if found is None:
            result.unpaired.append(record)
            continue
        taken.add(found)
        mine = firsts[found]
        result.paired.append(
            replace(
                record,
                task=mine.task,
                item=mine.item,
                group=mine.group,
                weight=mine.weight,
                details={**record.details, "task": record.task, "item": record.item},
            )
        )
    return result


def _near(doc_id: Any, groups: Any) -> list[int]:
    if not isinstance(doc_id, int):
        return []
    return list(dict.fromkeys(group[doc_id] for group in groups if doc_id < len(group)))


class _Texts:
    """Our prompts and options, and which of them hold a text."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._texts = [_shown(record) for record in records]
        self._options = [{_flat(choice) for choice in record.choices} for record in records]

    @cached_property
    def _words(self) -> dict[str, list[int]]:
        words: dict[str, list[int]] = {}
        for index, text in enumerate(self._texts):
            for word in set(text.split(" ")):
                words.setdefault(word, []).append(index)
        return words

    def find(self, asked: list[str], near: Sequence[int], taken: set[int]) -> int | None:
        """The prompt that holds the first text, and more of the others than any other prompt."""
        if not asked:
            return None
        for index in near:
            if self._may_be(index, asked, taken) and self._holds(index, asked) == len(asked):
                return index
        counts = {
            index: self._holds(index, asked)
            for index in self._candidates(asked[0])
            if self._may_be(index, asked, taken)
        }
        best = [index for index, count in counts.items() if count == max(counts.values())]
        if len(best) > 1:
            best = [index for index in best if index in near]
        return best[0] if len(best) == 1 else None

    def _may_be(self, index: int, asked: Sequence[str], taken: set[int]) -> bool:
        if index in taken or asked[0] not in self._texts[index]:
            return False
        return not self._options[index] or not self._options[index].isdisjoint(asked)

    def _holds(self, index: int, asked: Sequence[str]) -> int:
        return sum(text in self._texts[index] for text in asked)

    def _candidates(self, question: str) -> Sequence[int]:
        """Prompts with the rarest word of a question. Its first and last may be parts of words
        there ("Q:Which", "long?)"); those between have spaces around them in both."""
        inner = question.split(" ")[1:-1]
        if not inner:
            return range(len(self._texts))
        return min((self._words.get(word, []) for word in inner), key=len)


def _asked(record: Record) -> list[str]:
    """Texts of the document that the model was shown, the longest first."""
    shown = _shown(record)
    texts = {_flat(text) for text in _strings(record.details.get("doc"))}
    return sorted((text for text in texts if text and text in shown), key=lambda t: (-len(t), t))


def _shown(record: Record) -> str:
    return _flat(" ".join((record.prompt, *record.choices)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _flat(text: str) -> str:
    return " ".join(text.split())
