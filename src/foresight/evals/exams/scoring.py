"""Scoring methods: from the shares of points earned in an exam's sections to its score.

A section's share is what was earned over what there is to earn, penalties taken off: it can be
negative. Shares are arrays, so that the draws of a bootstrap go through the same formula as the
point. Sections are summed as `weight * points * share`: the multipliers that composite scores
(College Board's AP) are published with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foresight.errors import UserError
from foresight.evals.exams.scale import Scale

Floats = NDArray[np.float64]
Shares = Mapping[str, Floats]


@dataclass(frozen=True)
class Part:
    """A section as scoring sees it: raw points of the whole section, and their multiplier."""

    points: float
    weight: float = 1.0


Parts = Mapping[str, Part]


class _Scoring(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    source: Annotated[str, Field(min_length=1)]
    """Where the method is published: title, address, year."""
    unit: str = ""
    """What the score is called, such as `1 to 5`."""

    def check(self, parts: Parts, scales: Mapping[str, Scale]) -> None:
        """Raises UserError where the sections and the scales do not fit the method."""
        if scales:
            raise UserError(f"scoring method {self.method} does not use scale.csv")

    def score(self, shares: Shares, parts: Parts, scales: Mapping[str, Scale]) -> Floats:
        """Scores, an array as long as each of the shares; the weighted share of points, unless a
        method says otherwise."""
        return overall_share(shares, parts)


class Raw(_Scoring):
    """No scale is known: the weighted share of points."""

    method: Literal["raw"] = "raw"
    unit: str = "share of points"


class Linear(_Scoring):
    """base + span * share; a section of the GRE is 130 + 40 * share (GPT-4 report, appendix A)."""

    method: Literal["linear"] = "linear"
    base: float
    span: Annotated[float, Field(gt=0)]
    step: Annotated[float, Field(gt=0)] | None = None
    """Scores are rounded to multiples of it, halves up; none: they are not rounded."""

    def score(self, shares: Shares, parts: Parts, scales: Mapping[str, Scale]) -> Floats:
        return rounded(self.base + self.span * overall_share(shares, parts), self.step)


class Table(_Scoring):
    """The sum of the sections' weighted raw points, read in `scale.csv`."""

    method: Literal["table"] = "table"
    raw_step: Annotated[float, Field(gt=0)] | None = 1.0
    """Raw scores are rounded to multiples of it before they are read, halves up."""

    def check(self, parts: Parts, scales: Mapping[str, Scale]) -> None:
        if set(scales) != {""}:
            raise UserError("scoring method table needs a scale.csv without a section column")
        _reaches(scales[""], sum(one.weight * one.points for one in parts.values()), "the exam")

    def score(self, shares: Shares, parts: Parts, scales: Mapping[str, Scale]) -> Floats:
        raw = sum_of(shares, {name: one.weight * one.points for name, one in parts.items()})
        return scales[""].at(rounded(raw, self.raw_step))


class Weighted(_Scoring):
    """The sum of sections' scaled scores, each times the section's weight: every section has rows
    of its own in `scale.csv`. SAT reading and writing count ten times their test scores."""

    method: Literal["weighted"] = "weighted"
    raw_step: Annotated[float, Field(gt=0)] | None = 1.0
    """As for `table`."""

    def check(self, parts: Parts, scales: Mapping[str, Scale]) -> None:
        if set(scales) != set(parts):
            raise UserError(
                f"scoring method weighted needs a scale.csv with rows for each section: "
                f"{', '.join(parts)}; it has {', '.join(scales) or 'none'}"
            )
        for name, one in parts.items():
            _reaches(scales[name], one.points, f"section {name}")

    def score(self, shares: Shares, parts: Parts, scales: Mapping[str, Scale]) -> Floats:
        scaled = {
            name: scales[name].at(rounded(one.points * shares[name], self.raw_step))
            for name, one in parts.items()
        }
        return sum_of(scaled, {name: one.weight for name, one in parts.items()})


class Essay(_Scoring):
    """Holistic scores of essays, averaged (by the sections' weights) and rounded to steps: GRE
    Writing is 0 to `top` 6 in steps of one half."""

    method: Literal["essay"] = "essay"
    top: Annotated[float, Field(gt=0)]
    step: Annotated[float, Field(gt=0)] = 0.5

    def score(self, shares: Shares, parts: Parts, scales: Mapping[str, Scale]) -> Floats:
        return rounded(self.top * overall_share(shares, parts), self.step)


class Elo(_Scoring):
    """The rating at which a participant's expected results are those of the model: see `elo`.

    Questions have `meta.rating`, the problem's published rating, and are grouped by contest.
    """

    method: Literal["elo"] = "elo"
    lowest: float = 0.0
    """The rating of one who solves nothing, which has no equilibrium (0 in the report)."""
    highest: float = 4000.0
    """The rating of one who solves all, which has none either."""
    simulations: Annotated[int, Field(ge=1)] = 100
    """Of every contest."""


Scoring = Annotated[Raw | Linear | Table | Weighted | Essay | Elo, Field(discriminator="method")]


def overall_share(shares: Shares, parts: Parts) -> Floats:
    """Weighted points earned over weighted points possible."""
    worth = {name: one.weight * one.points for name, one in parts.items()}
    return sum_of(shares, worth) / sum(worth.values())


def sum_of(values: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Sum of weights * values."""
    found: Floats = np.sum([weight * values[name] for name, weight in weights.items()], axis=0)
    return found


def rounded(values: Floats, step: float | None) -> Floats:
    """To multiples of `step`, halves up; unchanged without one."""
    if step is None:
        return values
    # A sum of shares that should be a half exactly may lie a hair below it.
    found: Floats = np.floor(values / step + 0.5 + 1e-9) * step
    return found


def _reaches(scale: Scale, points: float, what: str) -> None:
    """A scale that does not fit the points makes scores wrong without a sign of it."""
    if scale.raw[0] > 0:
        raise UserError(f"scale.csv begins at raw {scale.raw[0]:g}; it must tell what 0 is worth")
    if scale.raw[-1] > points + 1e-9:
        raise UserError(
            f"scale.csv goes up to raw {scale.raw[-1]:g}, {what} has at most {points:g} points; "
            f"if the folder holds a part of its questions, give the section's `points` as a whole"
        )
