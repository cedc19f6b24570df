"""The laws: loss as a function of training compute.

All of them are L(C) = a (C + C0)^-b + c with some terms left out: the report's form has no C0,
the pure power law neither C0 nor c. They are fitted in other coordinates than they are written:
about the centre of the ladder, in log compute and log loss, where the parameters are nearly
uncorrelated and nothing depends on the units of C or L.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLaw:
    """L(C) = a (C + C0)^-b + c, with C and C0 in FLOPs, a, c and L in the unit of the loss."""

    a: float
    b: float
    c: float = 0.0
    compute_offset_flops: float = 0.0

    def __call__(self, compute_flops: Array | float) -> Array:
        """Loss at each compute; same shape as the argument."""
        compute = np.asarray(compute_flops, dtype=np.float64)
        return np.asarray(self.a * (compute + self.compute_offset_flops) ** -self.b + self.c)


@dataclass(frozen=True)
class Form:
    """A law as the fit sees it: which terms are free, and the prior of its exponent.

    `top_rungs`: fit only that many of the largest rungs (None: all). `exponent_median` and
    `exponent_sd_log` give the log-normal prior of b; `weight` is its prior weight in the stack,
    in units of back-test residuals.
    """

    name: str
    formula: str
    floor: bool
    offset: bool
    exponent_median: float
    exponent_sd_log: float
    weight: float
    top_rungs: int | None = None


# Provenance of the exponent priors (weak: they span a factor of about 3 either way at 95 %).
# With a floor: recipe.md section 6 gives N(.15, .06) for large ladders, and section 4d measured
# .19-.25 on a tiny one. Without: slopes of .04-.10 are what ladders show locally (Kaplan et al.
# 2020: .050; Cerebras-GPT: .074; the probe in issue 2: .04-.09).
# All forms weigh the same beforehand: right at 10x, too much for the last two beyond (LOG.md).
FLOOR = Form("floor", "a*C^-b + c", True, False, 0.15, 0.55, weight=0.25)
OFFSET = Form("offset", "a*(C+C0)^-b + c", True, True, 0.15, 0.55, weight=0.25)
PURE = Form("pure", "a*C^-b", False, False, 0.07, 0.6, weight=0.25)
# Where the slope still steepens (the probe in issue 2), the upper rungs know more about the
# next one than any decaying law through all of them does.
LOCAL = Form("local", "a*C^-b, upper rungs", False, False, 0.07, 0.6, weight=0.25, top_rungs=3)
FORMS = (FLOOR, OFFSET, PURE, LOCAL)


def exponent(theta: Array) -> Array:
    """b of each row of theta (n, 3); see `shape`."""
    slope, floor, offset = theta.T
    return np.asarray(slope * (1.0 + offset) / (1.0 - floor))


def shape(theta: Array, delta: Array) -> Array:
    """log(L(C) / L(centre)), of shape (n, len(delta)), for delta = ln(C / C_centre).

    theta (n, 3) holds the local slope -dlnL/dlnC at the centre, the floor c / L(centre) in
    [0, 1), and the offset C0 / C_centre >= 0.
    """
    floor, offset = theta[:, 1:2], theta[:, 2:3]
    # ln((C + C0) / (C_centre + C0)) without overflow for any delta.
    reduced = np.logaddexp(delta[None, :], np.log(np.maximum(offset, 1e-300))) - np.log1p(offset)
    decay = -exponent(theta)[:, None] * reduced
    return np.asarray(np.logaddexp(np.log1p(-floor) + decay, np.log(np.maximum(floor, 1e-300))))


def closed_form(level: float, theta: Array, centre: float) -> PowerLaw:
    """The written form of one parameter point: level = ln L(centre), centre = ln C_centre."""
    b = float(exponent(theta[None, :])[0])
    _, floor, offset = (float(value) for value in theta)
    log_a = level + np.log1p(-floor) + b * (centre + np.log1p(offset))
    return PowerLaw(
        a=float(np.exp(log_a)),
        b=b,
        c=float(floor * np.exp(level)),
        compute_offset_flops=float(offset * np.exp(centre)),
    )
