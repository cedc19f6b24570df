"""Are the probabilities of choices right? Reliability diagrams, expected calibration error.

After Figure 8 of the GPT-4 report, which bins the confidence in every option of every question, not
that in the likeliest alone. Confidence is the softmax of the options' log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.evals.choices import Choices, choices_of, shared
from foresight.evals.norm import (
    Means,
    NormDifference,
    NormEstimate,
    norm_difference,
    norm_estimate,
)
from foresight.evals.record import Record
from foresight.evals.statistics import Estimate, mean_estimate
from foresight.evals.temperature import Temperature, cross_fitted, fit_temperature

Floats = NDArray[np.float64]
Options = Literal["all", "top"]
"""Every option, or each question's likeliest (of equals the first)."""
Binning = Literal["width", "mass"]
"""Bins of equal width, or of equal numbers ("adaptive", Nguyen and O'Connor 2015)."""
VIEWS: tuple[tuple[Options, Binning], ...] = (
    ("all", "width"),
    ("top", "width"),
    ("all", "mass"),
    ("top", "mass"),
)
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Options held likely from `low` to `high`: number, weighted mean confidence, share that is
    right with its 95 % interval (Wilson's, or by cluster)."""

    low: float
    high: float
    n: int
    confidence: float
    right: Estimate


@dataclass(frozen=True)
class Reliability:
    """Bins that hold something, and the expected calibration error.

    Estimand of `error`: the sum over these bins, their edges taken as given, of P(bin) |P(right |
    bin) - E(confidence | bin)|, over questions like these (Naeini et al. 2015).
    """

    options: Options
    binning: Binning
    bins: tuple[Bin, ...]
    error: NormEstimate


@dataclass(frozen=True)
class Calibration:
    """Of one model on one task. `accuracy`: of the likeliest options. `views`: in the order of
    `VIEWS`."""

    items: int
    options: int
    clusters: int
    accuracy: Estimate
    views: tuple[Reliability, ...]

    def view(self, options: Options, binning: Binning) -> Reliability:
        return self.views[VIEWS.index((options, binning))]


@dataclass(frozen=True)
class Study:
    """Calibration of a record set, and what one temperature would change.

    `left_out`: records without log-probabilities of their choices or without a score, and in a
    pair those that the other side lacks. `scaled`: calibration under cross-fitted temperatures.
    It and `temperature` are None where no temperature is best.
    """

    task: str
    model: str
    left_out: int
    calibration: Calibration
    temperature: Temperature | None
    scaled: Calibration | None


@dataclass(frozen=True)
class PairedStudy:
    """Two models on the same questions; `changes`: second less first error, as `VIEWS`."""

    studies: tuple[Study, Study]
    changes: tuple[NormDifference, ...]


def edges_of(choices: Choices, probabilities: Floats, options: Options, binning: Binning) -> Floats:
    """(bins + 1,) ends of the bins: by width alone, or by what the confidences are."""
    return _forecasts(choices, probabilities, options, binning).edges


@dataclass(frozen=True)
class _Forecasts:
    """Confidences (m,) with whether they came true (m,), and the attempt (m,) that each is of."""

    confidence: Floats
    right: Floats
    attempt: NDArray[np.intp]
    bin: NDArray[np.intp]
    edges: Floats


def _forecasts(
    choices: Choices, probabilities: Floats, options: Options, binning: Binning
) -> _Forecasts:
    if options == "all":
        attempt, option = np.nonzero(choices.offered)
    else:
        attempt, option = np.arange(len(choices)), probabilities.argmax(axis=1)
    confidence = probabilities[attempt, option]
    edges = np.linspace(0.0, 1.0, BINS + 1)
    if binning == "mass":
        edges = np.unique([0.0, *np.quantile(confidence, edges[1:-1]), 1.0])
    at = np.searchsorted(edges[1:-1], confidence, side="right")
    return _Forecasts(confidence, choices.right[attempt, option], attempt, at, edges)


def gaps(choices: Choices, probabilities: Floats, options: Options, binning: Binning) -> Means:
    """(bins,) P(bin) (P(right | bin) - E(confidence | bin)), with the influence of each cluster.
    Their absolute values add up to the expected calibration error."""
    some = _forecasts(choices, probabilities, options, binning)
    weight = choices.weight[some.attempt]
    cluster = choices.cluster[some.attempt]
    shape = (int(choices.cluster.max()) + 1, len(some.edges) - 1)
    sums = np.zeros(shape)
    np.add.at(sums, (cluster, some.bin), weight * (some.right - some.confidence))
    total = weight.sum()
    value = sums.sum(axis=0) / total
    share = np.bincount(cluster, weights=weight, minlength=shape[0])
    return Means(value, (sums - share[:, None] * value) / total)


def reliability(
    choices: Choices, probabilities: Floats, options: Options, binning: Binning
) -> Reliability:
    """Bins and error of such probabilities (n, K)."""
    some = _forecasts(choices, probabilities, options, binning)
    bins = []
    for number, (low, high) in enumerate(zip(some.edges[:-1], some.edges[1:], strict=True)):
        inside = np.flatnonzero(some.bin == number)
        if len(inside):
            rows = some.attempt[inside]
            weight = choices.weight[rows]
            right = mean_estimate(
                some.right[inside].tolist(), weight.tolist(), choices.cluster[rows].tolist()
            )
            mean = float(np.average(some.confidence[inside], weights=weight))
            bins.append(Bin(float(low), float(high), len(inside), mean, right))
    error = norm_estimate(gaps(choices, probabilities, options, binning))
    return Reliability(options, binning, tuple(bins), error)


def calibrate(choices: Choices, probabilities: Floats | None = None) -> Calibration:
    """Of the model's own probabilities, or of others (n, K)."""
    shares = choices.probabilities() if probabilities is None else probabilities
    top = _forecasts(choices, shares, "top", "width")
    return Calibration(
        items=len({item for item, _ in choices.names}),
        options=int(choices.offered.sum()),
        clusters=int(choices.cluster.max()) + 1,
        accuracy=mean_estimate(
            top.right.tolist(), choices.weight.tolist(), choices.cluster.tolist()
        ),
        views=tuple(reliability(choices, shares, *view) for view in VIEWS),
    )


def calibration_of(records: Sequence[Record]) -> Calibration | None:
    """None if no record holds log-probabilities of its choices."""
    choices = choices_of(records)
    return None if choices is None else calibrate(choices)


def study(records: Sequence[Record]) -> Study:
    """Of the records of one task and one model. Raises UserError if none holds log-probabilities of
    its choices, or if an item's fields do not fit."""
    return _study(records, _choices(records))


def paired_study(first: Sequence[Record], second: Sequence[Record]) -> PairedStudy:
    """Of two models on the questions that both answered. Raises UserError as `study`, or if they
    share fewer than two."""
    both = shared(_choices(first), _choices(second))
    shares = [one.probabilities() for one in both]
    return PairedStudy(
        (_study(first, both[0]), _study(second, both[1])),
        tuple(
            norm_difference(gaps(both[0], shares[0], *view), gaps(both[1], shares[1], *view))
            for view in VIEWS
        ),
    )


def _choices(records: Sequence[Record]) -> Choices:
    choices = choices_of(records)
    if choices is None:
        raise UserError(
            f"task {records[0].task}: no record holds log-probabilities of its choices; ask by "
            f"`protocol: choice_logprob`"
        )
    return choices


def _study(records: Sequence[Record], choices: Choices) -> Study:
    scaled = cross_fitted(choices)
    temperature = None if scaled is None else fit_temperature(choices)
    return Study(
        task=records[0].task,
        model=records[0].model,
        left_out=len(records) - len(choices),
        calibration=calibrate(choices),
        temperature=temperature,
        scaled=None if scaled is None else calibrate(choices, scaled),
    )
