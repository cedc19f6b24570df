"""What a scan says about each task: rates with intervals, what is doubtful apart, the places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foresight.evals.contamination.corpora import Unit
from foresight.evals.contamination.questions import Plan, Question, normalised
from foresight.evals.contamination.scanner import Found, scanner_of
from foresight.evals.files import lines_of
from foresight.forecast.coverage import wilson
from foresight.runs import write_atomic, write_json


@dataclass(frozen=True)
class Share:
    """Contaminated among `items`. Estimand: the share among items like these, 95 % by Wilson."""

    items: int
    ids: tuple[str, ...]

    @property
    def share(self) -> float | None:
        return len(self.ids) / self.items if self.items else None

    @property
    def interval(self) -> tuple[float, float] | None:
        if not self.items:
            return None
        low, high = wilson(len(self.ids), self.items)
        return max(0.0, low), min(1.0, high)

    def to_json(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "contaminated": len(self.ids),
            "share": self.share,
            "wilson95": None if self.interval is None else list(self.interval),
            "ids": list(self.ids),
        }


@dataclass(frozen=True)
class TaskFindings:
    """`methods`: contaminated items by `substring` (the GPT-4 report's method), `audited` (the
    same without substrings that are boilerplate and whole questions that are shorter than a
    substring), and, if asked for, `ngram` and `near`. `long`, `short`: the first of these by
    whether a question has the length of a substring. `boilerplate_only`: items that the report's
    method calls contaminated through boilerplate alone. `too_short`: items that a method cannot
    judge. `overlap`: share of the n-grams of an item that stand in the corpus, where there are any.
    """

    task: str
    items: int
    methods: dict[str, Share]
    long: Share
    short: Share
    boilerplate_only: tuple[str, ...]
    too_short: dict[str, tuple[str, ...]]
    overlap: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "methods": {name: share.to_json() for name, share in self.methods.items()},
            "long": self.long.to_json(),
            "short": self.short.to_json(),
        }


class Findings:
    """Of a plan in all units of a corpus, added up in the order of the units."""

    def __init__(self, plan: Plan, units: Sequence[Unit], found: Sequence[Found]) -> None:
        self.plan = plan
        self.settings = plan.settings
        self._scanner = scanner_of(plan)
        self.documents = sum(one["documents"] for one in found)
        self.bytes = sum(one["bytes"] for one in found)
        self._substrings: dict[int, tuple[int, list[dict[str, Any]]]] = {}
        self._grams: dict[int, tuple[int, list[dict[str, Any]]]] = {}
        self._near: dict[int, tuple[int, float, dict[str, Any]]] = {}
        rows: Counter[str] = Counter()
        for unit, one in zip(units, found, strict=True):
            # A file's lines, rows or documents are numbered through its units.
            before = rows[unit.files[0]]
            rows[unit.files[0]] += one["rows"]
            self._add(unit, before, one)

    def _add(self, unit: Unit, before: int, found: Found) -> None:
        def place(value: Sequence[Any]) -> dict[str, Any]:
            document, start, end, excerpt = value
            file = unit.files[document if unit.kind == "text" else 0]
            number = None if unit.kind == "text" else before + document + 1
            return {
                "file": file, "document": number, "start": start, "end": end, "excerpt": excerpt,
            }  # fmt: skip

        for key, (documents, places) in found["substrings"].items():
            total, known = self._substrings.get(int(key), (0, []))
            room = self.settings.places - len(known)
            self._substrings[int(key)] = total + documents, [*known, *map(place, places[:room])]
        for key, (documents, first) in found["grams"].items():
            total, known = self._grams.get(int(key), (0, []))
            self._grams[int(key)] = total + documents, known or [place(first)]
        for key, (documents, share, best) in found["near"].items():
            total, most, where = self._near.get(int(key), (0, 0.0, {}))
            if share > most:
                most, where = share, place(best)
            self._near[int(key)] = total + documents, most, where

    @cached_property
    def tasks(self) -> list[TaskFindings]:
        names = dict.fromkeys(one.task for one in self.plan.questions)
        return [self._task(name) for name in names]

    def _task(self, task: str) -> TaskFindings:
        every = [(at, one) for at, one in enumerate(self.plan.questions) if one.task == task]
        judged = [(at, one) for at, one in every if self._scanner.of[at]]
        whole = {at for at, one in judged if self._is_short(one)}
        hit = {at for at, _ in judged if self._hits(at)}
        sound = {at for at in hit if not all(map(self.is_boilerplate, self._hits(at)))}
        methods = {
            "substring": _share(judged, hit),
            "audited": _share(judged, sound - whole),
        }
        too_short = {"substring": _ids(one for one in every if not self._scanner.of[one[0]])}
        if self._scanner.grams:
            of = self._scanner.grams.of
            able = [one for one in every if len(of[one[0]])]
            methods["ngram"] = _share(able, {at for at, _ in able if self._telling(at)})
            too_short["ngram"] = _ids(one for one in every if not len(of[one[0]]))
        if self._scanner.near:
            can = self._scanner.near.judged
            methods["near"] = _share([one for one in every if can[one[0]]], set(self._near))
            too_short["near"] = _ids(one for one in every if not can[one[0]])
        return TaskFindings(
            task=task,
            items=len(every),
            methods=methods,
            long=_share([one for one in judged if one[0] not in whole], hit),
            short=_share([one for one in judged if one[0] in whole], hit),
            boilerplate_only=_ids(one for one in judged if one[0] in hit - sound),
            too_short=too_short,
            overlap={one.id: share for at, one in every if (share := self._overlap(at))},
        )

    def _is_short(self, question: Question) -> bool:
        return len(normalised(question.text, self.settings.fold)) < self.settings.length

    def _hits(self, question: int) -> list[int]:
        return [number for number in self._scanner.of[question] if number in self._substrings]

    def is_boilerplate(self, substring: int) -> bool:
        """It stands in so many documents that it tells nothing about a question."""
        return self._substrings[substring][0] >= self.settings.boilerplate

    def _telling(self, question: int) -> bool:
        """An n-gram of the question stands in the corpus and is no boilerplate."""
        limit = self.settings.boilerplate
        return any(0 < self._grams.get(run, (0,))[0] < limit for run in self._runs(question))

    def _runs(self, question: int) -> list[int]:
        grams = self._scanner.grams
        runs: list[int] = grams.of[question].tolist() if grams else []
        return runs

    def _overlap(self, question: int) -> float:
        runs = self._runs(question)
        return sum(run in self._grams for run in runs) / len(runs) if runs else 0.0

    def boilerplate(self) -> list[dict[str, Any]]:
        """Substrings of many documents, with how many and of how many items; most common first."""
        items = Counter(number for some in self._scanner.of for number in some)
        rows = [
            {"text": self._scanner.substrings[number], "documents": documents,
             "items": items[number]}
            for number, (documents, _) in self._substrings.items()
            if self.is_boilerplate(number)
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (-row["documents"], row["text"]))

    def evidence(self) -> Iterator[dict[str, Any]]:
        """Item by item, for each of its substrings the first places, for n-grams the first one
        that was found, for near-duplicates the best. `document`: line, row or number, from 1;
        `start`, `end`: characters of its text."""
        for at, question in enumerate(self.plan.questions):
            who = {"task": question.task, "item": question.id}
            for number in self._hits(at):
                documents, places = self._substrings[number]
                about = {
                    "method": "substring", "text": self._scanner.substrings[number],
                    "documents": documents, "boilerplate": self.is_boilerplate(number),
                }  # fmt: skip
                yield from (who | about | place for place in places)
            runs = [run for run in self._runs(at) if run in self._grams]
            if runs and self._scanner.grams:
                text = self._scanner.grams.texts[runs[0]].decode()
                about = {"method": "ngram", "text": text, "share": self._overlap(at)}
                yield who | about | self._grams[runs[0]][1][0]
            if at in self._near:
                documents, share, place = self._near[at]
                yield who | {"method": "near", "documents": documents, "share": share} | place

    def to_json(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.settings),
            "corpus": {"documents": self.documents, "bytes": self.bytes},
            "boilerplate": self.boilerplate(),
            "tasks": {one.task: one.to_json() for one in self.tasks},
        }

    def write(self, out_dir: Path) -> None:
        """`contamination.json` and `evidence.jsonl`, the same bytes however the job was run."""
        write_atomic(out_dir / "evidence.jsonl", lines_of(self.evidence()))
        write_json(out_dir / "contamination.json", self.to_json())


def _ids(some: Iterator[tuple[int, Question]]) -> tuple[str, ...]:
    return tuple(one.id for _, one in some)


def _share(judged: Sequence[tuple[int, Question]], hit: set[int]) -> Share:
    return Share(len(judged), _ids(one for one in judged if one[0] in hit))
