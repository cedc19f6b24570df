"""How often intervals were right: shares with their Wilson intervals, by kind of prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from foresight.forecast.draws import rounded

if TYPE_CHECKING:
    from foresight.forecast.verification import Score

KINDS = ("registered", "stated", "in-flight", "back-cast")
"""Predictions are counted apart by kind: only the first is our own forecast before the fact."""


def wilson(right: float, n: float, z: float = 1.959963985) -> tuple[float, float]:
    """Score interval of a proportion of n > 0 (Wilson 1927)."""
    p = right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def tallies(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Per kind that occurs: predictions, outcomes, mean |error| / sd, mean CRPS per scale, and
    per level the share of outcomes inside the interval with its 95 % Wilson interval."""
    found = []
    for kind in KINDS:
        some = [score for score in scores if score.kind == kind]
        if not some:
            continue
        done = [score for score in some if score.observed is not None]
        errors = [score.error_in_sd for score in done if score.error_in_sd is not None]
        found.append(
            {
                "kind": kind,
                "predictions": len(some),
                "outcomes": len(done),
                "mean_error_in_sd": sum(errors) / len(errors) if errors else None,
                "mean_crps": {
                    scale: sum(values) / len(values)
                    for scale in ("log", "linear")
                    if (values := [s.crps for s in done if s.scale == scale and s.crps is not None])
                },
                "coverage": {
                    level: _share([s.inside[level] for s in done if s.inside and level in s.inside])
                    for level in ("50", "80", "95")
                },
            }
        )
    return rounded(found)


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    """Outcomes inside, their number, and the share with its interval where there is any."""
    inside, n = sum(hits), len(hits)
    if n == 0:
        return {"inside": 0, "n": 0, "share": None, "wilson95": None}
    return {"inside": inside, "n": n, "share": inside / n, "wilson95": list(wilson(inside, n))}
