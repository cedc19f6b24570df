"""Which runs may speak for the law, decided from their diagnostics before residuals are seen.

Source: design/recipe.md section 6 (protocol, point 1) and design/forecasting.md (protocol, 1):
an ineligible run is drawn hollow and never fitted, and *why* is recorded as a code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foresight.forecast.codes import Reason


class Ineligible(Reason):
    """Why a run is kept out of the fit."""

    NOT_FINITE = "loss or compute is not a finite positive number"
    TOO_FEW_STEPS = "too few optimizer steps: warm-up and schedule dominate the loss"
    HEAD_SHARE = "the output layer takes most of the FLOPs: compute does not buy depth"
    MULTI_EPOCH = "the data were repeated: the law of fresh tokens does not apply"
    CLIP_RATE = "gradients were clipped too often: the learning rate is off"
    NO_COPY_GAIN = "context hardly lowers the loss: attention does not copy yet"
    MISSING_DIAGNOSTIC = "a diagnostic that the limits need was not logged"


@dataclass(frozen=True)
class Limits:
    """Thresholds of eligibility. Provisional defaults for ladders between 1e10 and 1e14 FLOPs."""

    min_steps: int = 200
    """Fewest optimizer steps (recipe.md asks 1,500 of large ladders; a pocket ladder has fewer)."""
    max_head_share: float = 0.6
    """Largest share of the training FLOPs spent in the output layer, 0..1."""
    max_epochs: float = 1.0
    """Most passes over the training data."""
    max_clip_rate: float = 0.05
    """Largest share of steps, 0..1, whose gradient was clipped."""
    min_copy_gain: float | None = None
    """Smallest loss difference, nats, between early and late context positions; None: not asked."""


def is_positive(value: Any) -> bool:
    """True for a finite number above zero (booleans and strings are not numbers here)."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value > 0
    )


def judge(
    compute_flops: Any, loss: Any, steps: Any, diagnostics: Mapping[str, Any], limits: Limits
) -> tuple[Ineligible, ...]:
    """Reasons, in a fixed order, why a run is not eligible; empty if it is.

    Only the sanity of `loss` is looked at, never its value: the decision may not depend on
    how well the run fits. `steps` counts optimizer steps; `diagnostics` holds `head_share`,
    `epochs`, `clip_rate` and `copy_gain` (nats) as the trainer logged them.
    """
    reasons = []
    if not (is_positive(compute_flops) and is_positive(loss)):
        reasons.append(Ineligible.NOT_FINITE)
    rules = [
        (Ineligible.TOO_FEW_STEPS, steps, limits.min_steps, None),
        (Ineligible.HEAD_SHARE, diagnostics.get("head_share"), None, limits.max_head_share),
        (Ineligible.MULTI_EPOCH, diagnostics.get("epochs"), None, limits.max_epochs),
        (Ineligible.CLIP_RATE, diagnostics.get("clip_rate"), None, limits.max_clip_rate),
        (Ineligible.NO_COPY_GAIN, diagnostics.get("copy_gain"), limits.min_copy_gain, None),
    ]
    missing = False
    for code, value, low, high in rules:
        if low is None and high is None:
            continue
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            missing = True
        elif (low is not None and value < low) or (high is not None and value > high):
            reasons.append(code)
    if missing:
        reasons.append(Ineligible.MISSING_DIAGNOSTIC)
    return tuple(reasons)
