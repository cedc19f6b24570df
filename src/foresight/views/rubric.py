"""What `rubric check` shows on a terminal, and its JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from foresight.evals.statistics import Estimate
from foresight.posttrain.gold import Confusion, Gold
from foresight.posttrain.rubric import ALL_COMBINATIONS, UNREADABLE, Rubric
from foresight.views import show_table


def show_rubric(
    console: Console,
    rubric: Rubric,
    gold: Sequence[Gold] = (),
    confusions: Mapping[str, Confusion] | None = None,
    propositions: Mapping[str, Estimate | None] | None = None,
) -> None:
    """Classes with their rewards, orders, gold rows, and how graders stand to them."""
    counts = Counter(one.label for one in gold)
    rewards = {name: rubric.rewards(name) for name in rubric.sets}
    letters = [one.letter for one in rubric.classes] + [""]
    refuses = ["yes" if one.refuses else "no" for one in rubric.classes] + ["neither"]
    rows = [
        [name, letters[at], refuses[at], *(f"{rewards[one][at]:g}" for one in rubric.sets),
         *([str(counts[name])] if gold else [])]
        for at, name in enumerate(rubric.columns)
    ]  # fmt: skip
    columns = ["class", "letter", "refuses", *(f"reward on {one}" for one in rubric.sets)]
    show_table(console, f"Rubric {rubric.name}", [*columns, *(["gold rows"] if gold else [])], rows)
    for name, tiers in rubric.order.items():
        _say(console, f"order on {name}: " + " > ".join(" = ".join(tied) for tied in tiers))
    if rubric.used:
        which = "every" if len(rubric.used) <= ALL_COMBINATIONS else "every tried"
        _say(console, f"{which} combination of {len(rubric.used)} propositions is in one class")
    for grader, one in (confusions or {}).items():
        show_confusion(console, f"Grader: {grader}", one)
    if propositions:
        rows = [[name, *_cells(one)] for name, one in propositions.items()]
        show_table(console, "Propositions", ["proposition", "accuracy", "95 %", "n"], rows)


def show_confusion(console: Console, title: str, one: Confusion) -> None:
    """Rows: true classes; then recall and precision."""
    rows = []
    for at, name in enumerate(one.names):
        if not (one.table[at].any() or one.table[:, at].any() or name == UNREADABLE):
            continue
        recall, precision = _share(one.recall[name]), _share(one.precision[name])
        rows.append([name, *map(str, one.table[at]), recall, precision])
    show_table(console, title, ["true \\ found", *one.names, "recall", "precision"], rows)
    _say(console, f"accuracy {_share(one.accuracy)} of {one.accuracy.n}")


def _share(one: Estimate | None) -> str:
    if one is None:
        return ""
    return f"{one.mean:.3f}" + ("" if one.low is None else f" [{one.low:.3f}, {one.high:.3f}]")


def _cells(one: Estimate | None) -> list[str]:
    if one is None:
        return ["", "", "0"]
    band = "" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
    return [f"{one.mean:.3f}", band, str(one.n)]


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def rubric_json(
    rubric: Rubric,
    gold: Sequence[Gold] = (),
    confusions: Mapping[str, Confusion] | None = None,
    propositions: Mapping[str, Estimate | None] | None = None,
) -> dict[str, Any]:
    """The same as a JSON object."""
    return {
        "rubric": rubric.name,
        "classes": [one.model_dump() for one in rubric.classes],
        "sets": {
            name: dict(zip(rubric.columns, map(float, rubric.rewards(name)), strict=True))
            for name in rubric.sets
        },
        "order": {name: [list(tied) for tied in tiers] for name, tiers in rubric.order.items()},
        "gold": dict(Counter(one.label for one in gold)),
        "graders": {name: _confusion_json(one) for name, one in (confusions or {}).items()},
        "propositions": {name: one and asdict(one) for name, one in (propositions or {}).items()},
    }


def _confusion_json(one: Confusion) -> dict[str, Any]:
    return {
        "names": list(one.names),
        "table": one.table.tolist(),
        "accuracy": asdict(one.accuracy),
        "recall": {name: share and asdict(share) for name, share in one.recall.items()},
        "precision": {name: share and asdict(share) for name, share in one.precision.items()},
    }
