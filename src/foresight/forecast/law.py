"""The laws: loss as a function of training compute.

All of them are L(C) = (a (C + C0)^-b + c) (1 + t C^-m) with some terms left out. The report's form
has neither C0 nor t; the pure power law has no c either. C0 flattens the small runs (a slope that
steepens), t makes them worse than the law, by an excess that fades: rungs too short or too badly
tuned for it (design/forecasting.md, lesson 3). They are fitted in other coordinates than they are
written: about the centre of the ladder, in log compute and log loss, where the parameters are
nearly uncorrelated and nothing depends on the units of C or L.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foresight.forecast.draws import Array

SLOPE, FLOOR_SHARE, OFFSET_RATIO, FADE, FADE_EXPONENT = range(5)
"""Columns of theta; see `shape`."""


@dataclass(frozen=True)
class PowerLaw:
    """L(C) = (a (C + C0)^-b + c) (1 + (C_f / C)^m); C, C0, C_f in FLOPs, a, c, L in one unit.

    C_f (`fade_flops`) is the compute at which the fading excess equals the law itself; 0: none.
    """

    a: float
    b: float
    c: float = 0.0
    compute_offset_flops: float = 0.0
    fade_flops: float = 0.0
    fade_exponent: float = 1.0

    def __call__(self, compute_flops: Array | float) -> Array:
        """Loss at each compute; same shape as the argument."""
        compute = np.asarray(compute_flops, dtype=np.float64)
        law = self.a * (compute + self.compute_offset_flops) ** -self.b + self.c
        return np.asarray(law * (1.0 + (self.fade_flops / compute) ** self.fade_exponent))


@dataclass(frozen=True)
class Form:
    """A law as the fit sees it: which terms are free."""

    name: str
    formula: str
    floor: bool
    offset: bool
    fading: bool


FLOOR = Form("floor", "a*C^-b + c", True, False, False)
OFFSET = Form("offset", "a*(C+C0)^-b + c", True, True, False)
FADING = Form("fading", "(a*C^-b + c)*(1 + (Cf/C)^m)", True, False, True)
PURE = Form("pure", "a*C^-b", False, False, False)
FORMS = (FLOOR, OFFSET, FADING, PURE)


def exponent(theta: Array) -> Array:
    """b of each row of theta (n, 5); see `shape`."""
    slope, floor, offset = theta[:, SLOPE], theta[:, FLOOR_SHARE], theta[:, OFFSET_RATIO]
    return np.asarray(slope * (1.0 + offset) / (1.0 - floor))


def lasting(theta: Array, delta: Array) -> Array:
    """`shape` without the fading excess."""
    floor, offset = theta[:, FLOOR_SHARE, None], theta[:, OFFSET_RATIO, None]
    # ln((C + C0) / (C_centre + C0)) without overflow for any delta.
    reduced = np.logaddexp(delta[None, :], np.log(np.maximum(offset, 1e-300))) - np.log1p(offset)
    decay = -exponent(theta)[:, None] * reduced
    return np.asarray(np.logaddexp(np.log1p(-floor) + decay, np.log(np.maximum(floor, 1e-300))))


def shape(theta: Array, delta: Array) -> Array:
    """log(L(C) / L(centre)), of shape (n, len(delta)), for delta = ln(C / C_centre).

    theta (n, 5) holds, all of the law without its fading excess, the local slope -dlnL/dlnC at
    the centre, the floor c / L(centre) in [0, 1), the offset C0 / C_centre >= 0; and the excess
    at the centre as a share of the law, and its exponent m.
    """
    fade, m = theta[:, FADE, None], theta[:, FADE_EXPONENT, None]
    excess = np.log1p(fade * np.exp(-m * delta[None, :])) - np.log1p(fade)
    return np.asarray(lasting(theta, delta) + excess)


def closed_form(level: float, theta: Array, centre: float) -> PowerLaw:
    """The written form of one parameter point: level = ln L(centre), centre = ln C_centre."""
    b = float(exponent(theta[None, :])[0])
    _, floor, offset, fade, m = (float(value) for value in theta)
    base = level - np.log1p(fade)
    return PowerLaw(
        a=float(np.exp(base + np.log1p(-floor) + b * (centre + np.log1p(offset)))),
        b=b,
        c=float(floor * np.exp(base)),
        compute_offset_flops=float(offset * np.exp(centre)),
        fade_flops=float(np.exp(centre + np.log(fade) / m)) if fade > 0 else 0.0,
        fade_exponent=m if fade > 0 else 1.0,
    )
