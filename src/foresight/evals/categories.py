"""Scores by category, of several models side by side (GPT-4 report, figures 5 to 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from foresight.errors import UserError
from foresight.evals.journal import record_sets
from foresight.evals.people.agreement import Beside, beside
from foresight.evals.record import Record, cluster
from foresight.evals.statistics import Estimate, mean_of

By = Literal["category", "task"]


@dataclass(frozen=True)
class Series:
    """One model's mean scores by category.

    Estimand of each: the weighted mean score over items like those of the category, with a 95 %
    interval of its own, clustered by group. `unscored`: records without a score, left out.
    `chance`: mean share of right options among those shown, where all records are multiple choice.
    """

    name: str
    means: Mapping[str, Estimate]
    unscored: int
    chance: float | None
    records: Sequence[Record]

    def to_json(self) -> dict[str, Any]:
        means = {name: asdict(one) for name, one in self.means.items()}
        return {"name": self.name, "means": means, "unscored": self.unscored, "chance": self.chance}


def read_series(
    paths: Sequence[Path], by: By = "category", tasks: Sequence[str] = ()
) -> list[Series]:
    """A series for each path (a record file, or a directory that `eval` wrote), named by its model,
    or by the path where a model is there twice. `tasks`: only these.

    Raises UserError if there is nothing to show, or if one question would count twice.
    """
    found = []
    for path in paths:
        sets = record_sets(path)
        if unknown := [name for name in tasks if name not in sets]:
            raise UserError(f"{path}: no task {unknown[0]}; it has {', '.join(sets)}")
        chosen = [one for name, rows in sets.items() if not tasks or name in tasks for one in rows]
        found.append(_series(path, chosen, by))
    names = [one.name for one in found]
    return [
        Series(**{**vars(one), "name": str(path)}) if names.count(one.name) > 1 else one
        for one, path in zip(found, paths, strict=True)
    ]


def _series(path: Path, records: Sequence[Record], by: By) -> Series:
    some: dict[str, list[Record]] = defaultdict(list)
    seen: dict[tuple[str, str], str] = {}
    for one in records:
        name = one.task if by == "task" else str(one.details.get("category") or "")
        if not name:
            continue
        if (task := seen.setdefault((name, one.item), one.task)) != one.task:
            raise UserError(
                f"{path}: {one.item} of {name} was asked in {task} and in {one.task}; choose one "
                f"with --task"
            )
        if one.score is not None and one.weight > 0:
            some[name].append(one)
    if not some:
        raise UserError(f"{path}: no record has a score and a category (--by task needs none)")
    models = dict.fromkeys(one.model for one in records)
    means = {name: mean_of(rows) for name, rows in some.items()}
    unscored = sum(one.score is None for one in records)
    shown = [one for rows in some.values() for one in rows]
    return Series(", ".join(models), means, unscored, _chance(shown), shown)


def _chance(records: Sequence[Record]) -> float | None:
    """What guessing scores in the mean; None where answers are written freely."""
    if not all(one.choices for one in records):
        return None
    right = (1 if isinstance(one.target, int) else len(one.target) for one in records)
    shares = [n / len(one.choices) for n, one in zip(right, records, strict=True)]
    return sum(shares) / len(shares)


def graders_agree(series: Sequence[Series]) -> list[Beside]:
    """How far two graders agree on the same responses (same model, question and words), for every
    pair of series that shares any: a model's judgement beside people's."""
    keyed = [
        (one.name, {(r.model, r.item, r.sample, r.output): r for r in one.records if r.output})
        for one in series
    ]
    found = []
    for (name, mine), (other, theirs) in combinations(keyed, 2):
        if shared := [key for key in mine if key in theirs]:
            first, second = ([float(some[key].score or 0) for key in shared]
                             for some in (mine, theirs))  # fmt: skip
            clusters = [cluster(mine[key]) for key in shared]
            found.append(beside((name, other), first, second, clusters))
    return found
