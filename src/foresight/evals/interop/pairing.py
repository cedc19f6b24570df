"""Which of our items a foreign record answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    prompt or options, the longest must stand in our prompt; then the record with most of the
    others. Position (`doc_id`, in the whole task or in a group of it) only says where to look
    first and decides between equals. What stays undecided, or asks for an item that is taken, is
    unpaired.
    """
    first = min((record.sample for record in ours), default=0)
    firsts = [record for record in ours if record.sample == first]
    texts = [_flat(" ".join((record.prompt, *record.choices))) for record in firsts]
    groups: dict[tuple[str, str], list[int]] = {}
    for index, record in enumerate(firsts):
        groups.setdefault((record.task, ""), []).append(index)
        if record.group:
            groups.setdefault((record.task, record.group), []).append(index)
    taken: set[int] = set()
    result = Pairing([], [])
    for record in foreign:
        near = _near(record.details.get("doc_id"), groups.values())
        found = _find(_asked(record), texts, near, taken)
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


def _find(
    asked: list[str], texts: Sequence[str], near: Sequence[int], taken: set[int]
) -> int | None:
    if not asked:
        return None
    question = asked[0]
    for index in near:
        if index not in taken and all(text in texts[index] for text in asked):
            return index
    hits = [i for i, text in enumerate(texts) if i not in taken and question in text]
    if not hits:
        return None
    counts = {i: sum(text in texts[i] for text in asked) for i in hits}
    best = [i for i in hits if counts[i] == max(counts.values())]
    if len(best) > 1:
        best = [i for i in best if i in near]
    return best[0] if len(best) == 1 else None


def _asked(record: Record) -> list[str]:
    """Texts of the document that the model was shown, the longest first."""
    shown = _flat(" ".join((record.prompt, *record.choices)))
    texts = {_flat(text) for text in _strings(record.details.get("doc"))}
    return sorted((text for text in texts if text and text in shown), key=lambda t: (-len(t), t))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _flat(text: str) -> str:
    return " ".join(text.split())
