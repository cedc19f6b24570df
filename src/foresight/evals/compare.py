"""Two sets of records on the same items: is the difference real?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foresight.errors import UserError
from foresight.evals.record import Record, cluster
from foresight.evals.statistics import (
    Estimate,
    detectable,
    difference_estimate,
    holm,
    mcnemar_exact,
    mean_estimate,
    permutation_p,
    unpaired_p,
)


@dataclass(frozen=True)
class Comparison:
    """First minus second, paired on items.

    `difference`: mean over shared items of the difference of their mean scores, with interval by
    cluster. `only_first`, `only_second`, `mcnemar_p`: items that just one has right, None unless
    all scores are 0 or 1 with one sample each; McNemar takes items for independent. `permutation_p`
    respects clusters. `detectable`: the true difference that this set would find with 80 % power.
    `unpaired_p`: what a test that forgets the pairing says; shown to explain, not to be used.
    `adjusted_p`: `permutation_p` after Holm's correction for all tasks compared at once.
    """

    task: str
    models: tuple[str, str]
    items: int
    first: Estimate
    second: Estimate
    difference: Estimate
    permutation_p: float
    adjusted_p: float
    mcnemar_p: float | None
    only_first: int | None
    only_second: int | None
    detectable: float | None
    unpaired_p: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Side:
    """One item's records of one set."""

    score: float
    samples: int
    record: Record


def compare(first: Sequence[Record], second: Sequence[Record], seed: int = 0) -> Comparison:
    """Pair two record sets of one task on item.

    Records without a score are left out, and an item is compared if both sides have a score for
    it. Raises UserError if there are fewer than two such items. `seed`: of the permutations.
    """
    sides = _by_item(first), _by_item(second)
    shared = [name for name in sides[0] if name in sides[1]]
    if len(shared) < 2:
        raise UserError(
            f"{_name(first)} and {_name(second)}: {len(shared)} items in common with a score on "
            f"both sides; expected records of the same task"
        )
    pairs = [(sides[0][name], sides[1][name]) for name in shared]
    weights = [one.record.weight for one, _ in pairs]
    clusters = [cluster(one.record) for one, _ in pairs]
    differences = [one.score - other.score for one, other in pairs]
    means = [mean_estimate([pair[at].score for pair in pairs], weights, clusters) for at in (0, 1)]
    difference = difference_estimate(differences, weights, clusters)
    p = permutation_p(differences, weights, clusters, seed)
    single = all(side.samples == 1 and side.score in (0.0, 1.0) for pair in pairs for side in pair)
    only = (differences.count(1.0), differences.count(-1.0)) if single else None
    return Comparison(
        task=_name(first),
        models=(first[0].model, second[0].model),
        items=len(pairs),
        first=means[0],
        second=means[1],
        difference=difference,
        permutation_p=p,
        adjusted_p=p,
        mcnemar_p=mcnemar_exact(*only) if only else None,
        only_first=only[0] if only else None,
        only_second=only[1] if only else None,
        detectable=(detectable(difference.se, difference.clusters - 1) if difference.se else None),
        unpaired_p=unpaired_p(*means),
        remarks=tuple(_remarks(first, second, pairs)),
    )


def adjusted(found: Sequence[Comparison]) -> list[Comparison]:
    """Several tasks' comparisons with their p-values corrected for being several."""
    values = holm([one.permutation_p for one in found])
    return [
        Comparison(**{**vars(one), "adjusted_p": p}) for one, p in zip(found, values, strict=True)
    ]


def _by_item(records: Sequence[Record]) -> dict[str, _Side]:
    some: dict[str, list[Record]] = defaultdict(list)
    for one in records:
        if one.score is not None and one.weight > 0:
            some[one.item].append(one)
    return {
        name: _Side(math.fsum(one.score or 0.0 for one in rows) / len(rows), len(rows), rows[0])
        for name, rows in some.items()
    }


def _remarks(
    first: Sequence[Record], second: Sequence[Record], pairs: Sequence[tuple[_Side, _Side]]
) -> list[str]:
    remarks = []
    names = {one.item for one in first}, {one.item for one in second}
    left_out = len(names[0] | names[1]) - len(pairs)
    if left_out:
        remarks.append(f"{left_out} items have a score on one side at most: left out")
    prompts = sum(one.record.prompt != other.record.prompt for one, other in pairs)
    if prompts:
        remarks.append(f"{prompts} of {len(pairs)} items were put with another prompt")
    targets = sum(list_of(a.record.target) != list_of(b.record.target) for a, b in pairs)
    if targets:
        remarks.append(f"{targets} items have another target: are they the same questions?")
    return remarks


def list_of(target: Any) -> Any:
    """Targets as JSON has them: a tuple and a list of the same answers are equal."""
    return list(target) if isinstance(target, tuple) else target


def _name(records: Sequence[Record]) -> str:
    return records[0].task if records else "no records"
