"""Gold: answers whose class or propositions people have said, and how a grader stands to them.

No share of refusals is worth more than its grader: the confusion matrix stands beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.evals.files import read_files, rows_of
from foresight.evals.statistics import Estimate, mean_estimate
from foresight.posttrain.chat import ROLES, Conversation, Message
from foresight.posttrain.condition import Floats
from foresight.posttrain.rubric import Answered, Rubric

FIELDS = ("id", "set", "messages", "response", "class", "propositions")


@dataclass(frozen=True)
class Gold:
    """An answer, its class, and what is true of it (by proposition; {} if nobody said)."""

    answered: Answered
    label: str
    propositions: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Confusion:
    """`table` (classes + 1, classes + 1): answers by true (row) and found (column) class.

    `recall`: of the answers of a class, those found; `precision`: of those found, the right ones;
    None where there are none. Intervals at 95 %, clustered where clusters were given.
    """

    names: tuple[str, ...]
    table: NDArray[np.intp]
    accuracy: Estimate
    recall: Mapping[str, Estimate | None]
    precision: Mapping[str, Estimate | None]


def confusion(
    names: Sequence[str],
    predicted: Sequence[str],
    truth: Sequence[str],
    clusters: Sequence[Hashable] | None = None,
) -> Confusion:
    """Of found and true classes, both among `names`. `clusters`: answers that are alike, such as
    those to the same prompt; default: each is on its own."""
    places = {name: at for at, name in enumerate(names)}
    found = np.array([places[one] for one in predicted], np.intp)
    right = np.array([places[one] for one in truth], np.intp)
    groups = list(range(len(found))) if clusters is None else list(clusters)
    table = np.zeros((len(names), len(names)), np.intp)
    np.add.at(table, (right, found), 1)

    def share(among: NDArray[np.bool_]) -> Estimate | None:
        hits = [float(one) for one in (found == right)[among]]
        own = [groups[at] for at in np.flatnonzero(among)]
        return mean_estimate(hits, [1.0] * len(hits), own) if hits else None

    accuracy = share(np.ones(len(found), bool))
    if accuracy is None:
        raise UserError("a confusion matrix of no answers")
    return Confusion(
        tuple(names),
        table,
        accuracy,
        {name: share(right == at) for name, at in places.items()},
        {name: share(found == at) for name, at in places.items()},
    )


def grader_confusion(
    rubric: Rubric,
    probabilities: Floats,
    truth: Sequence[str],
    clusters: Sequence[Hashable] | None = None,
) -> Confusion:
    """Of a grader's likeliest classes."""
    predicted = [rubric.columns[at] for at in probabilities.argmax(1)]
    return confusion(rubric.columns, predicted, truth, clusters)


def proposition_accuracy(
    rubric: Rubric, yes: Floats, gold: Sequence[Gold]
) -> dict[str, Estimate | None]:
    """Per proposition, how often a chance of yes (n, propositions) above a half is the truth; no
    answer is wrong. None for propositions that nobody told about."""
    found: dict[str, Estimate | None] = {}
    for at, name in enumerate(rubric.propositions):
        hits = [
            float((chance > 0.5) == one.propositions[name]) if not np.isnan(chance) else 0.0
            for chance, one in zip(yes[:, at], gold, strict=True)
            if name in one.propositions
        ]
        weights, clusters = [1.0] * len(hits), list(range(len(hits)))
        found[name] = mean_estimate(hits, weights, clusters) if hits else None
    return found


def read_gold(path: Path, rubric: Rubric) -> tuple[Gold, ...]:
    """JSONL: id, set, messages ([{role, content}]), response, and class or propositions.

    Propositions have to include all that the classes' `when` name, if there is no class; if there
    is one, it has to be the class that they make. Raises UserError naming file, line and field.
    """
    (text,) = read_files(path, path.name.removesuffix(".gz")).values()
    return tuple(_gold(where, row, rubric) for where, row in rows_of(str(path), text, *FIELDS[:4]))


def _gold(where: str, row: dict[str, Any], rubric: Rubric) -> Gold:
    for name in row:
        if name not in FIELDS:
            raise UserError(f"{where}, field {name}: unknown; expected {', '.join(FIELDS)}")
    if row["set"] not in rubric.sets:
        raise UserError(f"{where}, field set: {row['set']!r}; rubric {rubric.name} has "
                        f"{', '.join(rubric.sets)}")  # fmt: skip
    if not isinstance(row["response"], str):
        raise UserError(f"{where}, field response: {row['response']!r}; expected a text")
    facts = _propositions(where, row.get("propositions", {}), rubric)
    made = _made(where, facts, rubric, row.get("class"))
    messages = _messages(where, row["messages"])
    answered = Answered(str(row["id"]), row["set"], messages, row["response"])
    return Gold(answered, made, facts)


def _propositions(where: str, given: Any, rubric: Rubric) -> dict[str, bool]:
    if not isinstance(given, dict) or not all(isinstance(one, bool) for one in given.values()):
        raise UserError(f"{where}, field propositions: expected an object of true and false")
    for name in given:
        if name not in rubric.propositions:
            raise UserError(f"{where}, field propositions.{name}: not in rubric {rubric.name}")
    return given


def _made(where: str, facts: Mapping[str, bool], rubric: Rubric, given: Any) -> str:
    """The class that is given or that the propositions make; both, if they are the same."""
    if given is not None and given not in rubric.columns:
        raise UserError(f"{where}, field class: {given!r}; expected one of "
                        f"{', '.join(rubric.columns)}")  # fmt: skip
    missing = [name for name in rubric.used if name not in facts]
    if missing or not rubric.used:
        if given is None:
            why = f"no {', '.join(missing)}" if missing else "the rubric has no `when`"
            raise UserError(f"{where}, field class: missing, and no propositions make it ({why})")
        return str(given)
    arrays = {name: np.array([one]) for name, one in facts.items()}
    made: str = rubric.names[int(rubric.classes_of(arrays)[0])]
    if given not in (None, made):
        raise UserError(f"{where}, field class: {given}, but its propositions make it {made}")
    return made


def _messages(where: str, given: Any) -> Conversation:
    messages = []
    for one in given if isinstance(given, list) and given else [None]:
        match one:
            case {"role": role, "content": str(content)} if role in ROLES:
                messages.append(Message.of(role, content))
            case _:
                raise UserError(f"{where}, field messages: expected a list of {{role, content}} "
                                f"with the roles {', '.join(ROLES)}")  # fmt: skip
    return tuple(messages)
