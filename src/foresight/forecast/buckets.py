"""Difficulty buckets that do not bend the curve they are drawn for.

A problem put among the hard ones because its samples happened to fail looks easier in every
other sample (regression to the mean). So the samples that assign a problem are not those whose
bucket means are shown: each pair's samples are split in two by hypergeometric thinning, which
makes the halves independent given the true rates, or rows marked `assign` do the assigning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.counts import Counts, Integers

ASIDE = -1


@dataclass(frozen=True)
class Buckets:
    """`of` (P,): a problem's bucket, 0 the easiest, or ASIDE: no assigning sample passed.

    `passes` and `samples` (P, M): the counts that took no part in the assignment.
    """

    of: NDArray[np.intp]
    passes: Integers
    samples: Integers
    method: str

    @property
    def count(self) -> int:
        return int(self.of.max()) + 1

    def observed(self, problems: NDArray[np.intp]) -> NDArray[np.float64]:
        """Mean pass rate (M,) of some problems by model, nan where nothing was sampled: unbiased
        for buckets, since these samples assigned none."""
        passes, samples = self.passes[problems], self.samples[problems]
        seen = (samples > 0).sum(axis=0)
        rates = passes / np.maximum(samples, 1)
        return np.where(seen > 0, rates.sum(axis=0) / np.maximum(seen, 1), np.nan)


def assign_buckets(counts: Counts, buckets: int, seed: int = 0) -> Buckets:
    """Split problems into so many buckets of equal size by how often the models solved them.

    The hardest, which no assigning sample solved, are set aside, as in the GPT-4 report (section
    3.2). Difficulty is passes over those expected of an average problem in the same samples.
    Raises UserError if there are fewer problems left than buckets.
    """
    if buckets < 1:
        raise UserError(f"buckets: {buckets}; expected at least 1")
    if counts.assign_samples.any():
        passes, samples, method = counts.assign_passes, counts.assign_samples, "marked rows"
        rest = counts.passes, counts.samples
    else:
        passes, samples = _thin(counts, np.random.default_rng(seed))
        rest, method = (counts.passes - passes, counts.samples - samples), "thinned samples"
    rate = passes.sum(axis=0) / np.maximum(samples.sum(axis=0), 1)
    score = passes.sum(axis=1) / np.maximum(samples @ rate, 1e-9)
    solved = np.flatnonzero(passes.sum(axis=1) > 0)
    if 0 < len(solved) < buckets:
        raise UserError(
            f"{buckets} buckets of {len(solved)} problems that were ever solved; expected at "
            f"least one each"
        )
    order = solved[np.argsort(-score[solved], kind="stable")]
    of = np.full(len(counts.problems), ASIDE, dtype=np.intp)
    of[order] = np.arange(len(order)) * buckets // max(len(order), 1)
    return Buckets(of, *rest, method)


def _thin(counts: Counts, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Passes and samples of a random half of every pair's samples; of an odd number, the one
    that is left goes either way."""
    samples = (counts.samples + rng.integers(0, 2, counts.samples.shape)) // 2
    failures = counts.samples - counts.passes
    return rng.hypergeometric(counts.passes, failures, samples), samples
