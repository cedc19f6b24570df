"""From reviewed cases to a better policy: a classifier trained anew, thresholds set anew, and both
policies put to the same cases that neither was made from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.evals.statistics import Estimate, difference_estimate, mean_estimate
from foresight.posttrain.text_classifier import TextClassifier, TextSettings
from foresight.runs import read_jsonl, sha256_text, write_atomic, write_json
from foresight.serve.audit import AuditLog
from foresight.serve.exports import Reviewed, classifier_rows, reviewed
from foresight.serve.judge import Judge
from foresight.serve.policy import ACTIONS, FINE, Policy

FOLDS = 5
KEPT = 1 / 3
"""Share of the cases that both policies are judged by; by the question, so that one that comes
twice is on one side."""
FALSE_FLAGS, FALSE_BLOCKS = 0.02, 0.005
"""Of what is fine, so much may be flagged, so much blocked."""


@dataclass(frozen=True)
class Measured:
    """A policy on kept cases. Of violations, the shares that are acted upon and blocked; of what is
    fine, the share that is acted upon: of all exchanges, for each case counts as often as exchanges
    it stands for. Intervals by question."""

    policy: str
    caught: Estimate
    blocked: Estimate
    false: Estimate


@dataclass(frozen=True)
class Improvement:
    """`more_caught`, `more_false`: of the new policy minus those of the old one, on the same cases;
    `cases`: trained on, kept."""

    before: Measured
    after: Measured
    more_caught: Estimate
    more_false: Estimate
    cases: tuple[int, int]
    thresholds: dict[str, tuple[float, float]]

    @property
    def is_better(self) -> bool:
        """Whether more is caught beyond chance, and nothing says that more of what is fine is."""
        low, worse = self.more_caught.low, self.more_false.low
        return low is not None and low > 0 and not (worse is not None and worse > 0)


def improve(log: AuditLog, policy_file: Path, to: Path, rows: Path | None = None) -> Improvement:
    """Write `to`/policy.yaml, a version further, and `to`/classifier. `rows`: further rows of the
    classifier (`foresight improve` leaves its own in `to`/rows.jsonl). Raises UserError where there
    are too few cases to train on and to judge by."""
    before = Policy.read(policy_file)
    cases = [one for one in reviewed(log) if one.verdict in _known(before)]
    kept = [one for one in cases if _is_kept(one)]
    used = [one for one in cases if not _is_kept(one)]
    for name, some in (("train on", used), ("judge by", kept)):
        bad = sum(one.verdict != FINE for one in some)
        if bad < 5 or len(some) - bad < 5:
            raise UserError(
                f"{len(cases)} reviewed cases leave {bad} violations and {len(some) - bad} fine "
                f"ones to {name}: five of each are the least"
            )
    known = [_checked(row, rows) for row in read_jsonl(rows)] if rows else []
    known += [row for case in used for row in classifier_rows(case)]
    texts = [(row["asked"], row["answered"]) for row in known]
    labels = [row["label"] for row in known]
    settings = TextSettings()
    thresholds = _thresholds(texts, labels, settings)
    after = _written(before, thresholds, TextClassifier.fit(texts, labels, settings), to)
    write_atomic(to / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in known))
    found = _compared(before, after, kept, len(used), thresholds)
    write_json(to / "improvement.json", asdict(found))
    return found


def _known(policy: Policy) -> set[str]:
    return {FINE, *(one.name for one in policy.categories)}


def _is_kept(case: Reviewed) -> bool:
    return int(sha256_text(case.asked)[:8], 16) / 2**32 < KEPT


def _checked(row: dict[str, Any], path: Path) -> dict[str, str]:
    fields = ("asked", "answered", "label")
    if any(not isinstance(row.get(name), str) for name in fields):
        raise UserError(f"{path}: {row!r:.120}; expected the texts {', '.join(fields)}")
    return {name: row[name] for name in fields}


def _thresholds(
    texts: Sequence[tuple[str, str]], labels: Sequence[str], settings: TextSettings
) -> dict[str, tuple[float, float]]:
    """(flag, block) of each category: scores that so many of the fine rows reach, each scored by a
    classifier that has not seen its question."""
    fold = np.array([int(sha256_text("fold" + asked)[:8], 16) % FOLDS for asked, _ in texts])
    names = sorted(set(labels) - {FINE})
    fine: dict[str, list[float]] = {name: [] for name in names}
    for at in range(FOLDS):
        inside = [i for i in range(len(texts)) if fold[i] != at]
        outside = [i for i in np.flatnonzero(fold == at).tolist() if labels[i] == FINE]
        if not outside or len({labels[i] for i in inside}) < 2:
            continue
        fitted = TextClassifier.fit(
            [texts[i] for i in inside], [labels[i] for i in inside], settings
        )
        shares = fitted.probabilities([texts[i] for i in outside])
        for column, name in enumerate(fitted.labels):
            if name in fine:
                fine[name] += shares[:, column].tolist()
    return {
        name: (_above(np.array(scores), FALSE_FLAGS), _above(np.array(scores), FALSE_BLOCKS))
        for name, scores in fine.items()
    }


def _above(scores: NDArray[np.float64], share: float) -> float:
    """The least threshold that at most a share of the scores reach."""
    if not len(scores):
        return 1.0
    ordered = np.sort(scores)[::-1]
    allowed = int(share * len(ordered))
    return float(min(np.nextafter(ordered[min(allowed, len(ordered) - 1)], 2.0), 1.0))


def _written(
    before: Policy, thresholds: dict[str, tuple[float, float]], classifier: TextClassifier, to: Path
) -> Policy:
    classifier.save(to / "classifier")
    raw = before.model_dump(mode="json")
    raw["version"], raw["classifier"] = before.version + 1, "classifier"
    for row in raw["categories"]:
        if row["name"] in thresholds:
            row["flag"], row["block"] = thresholds[row["name"]]
    write_atomic(to / "policy.yaml", yaml.safe_dump(raw, sort_keys=False))
    return Policy.read(to / "policy.yaml")


def _acted(policy: Policy, cases: Sequence[Reviewed]) -> list[int]:
    """What a policy does with each case: 0 nothing, 1 flags it, 2 blocks it."""
    judge = Judge(policy)

    async def one(case: Reviewed) -> int:
        verdicts = [await judge.judge("input", case.asked)]
        verdicts += [await judge.judge("output", case.asked, text) for text in case.outputs]
        return max(ACTIONS.index(verdict.action) for verdict in verdicts)

    async def all_of_them() -> list[int]:
        return [await one(case) for case in cases]

    return asyncio.run(all_of_them())


def _share(hits: Sequence[bool], cases: Sequence[Reviewed]) -> Estimate:
    weights = [one.weight for one in cases]
    return mean_estimate([float(hit) for hit in hits], weights, [one.asked for one in cases])


def _compared(
    before: Policy, after: Policy, kept: Sequence[Reviewed], used: int,
    thresholds: dict[str, tuple[float, float]],
) -> Improvement:  # fmt: skip
    bad = [one for one in kept if one.verdict != FINE]
    fine = [one for one in kept if one.verdict == FINE]
    acted = {
        policy.label: (_acted(policy, bad), _acted(policy, fine)) for policy in (before, after)
    }

    def measured(policy: Policy) -> Measured:
        of_bad, of_fine = acted[policy.label]
        return Measured(
            policy.label,
            _share([one > 0 for one in of_bad], bad),
            _share([one > 1 for one in of_bad], bad),
            _share([one > 0 for one in of_fine], fine),
        )

    def more(side: int, cases: Sequence[Reviewed]) -> Estimate:
        old, new = acted[before.label][side], acted[after.label][side]
        differences = [float(b > 0) - float(a > 0) for a, b in zip(old, new, strict=True)]
        weights = [one.weight for one in cases]
        return difference_estimate(differences, weights, [one.asked for one in cases])

    return Improvement(
        measured(before), measured(after), more(0, bad), more(1, fine), (used, len(kept)),
        thresholds,
    )  # fmt: skip
