"""What the loss curve of a clean run may look like, learnt from finished smaller runs.

In blocks of equal length, the log loss of a run minus its expected curve (collapse, see `curve`)
is modelled as

    level + shapes(t) . coefficients + noise,

a level that is the error of the forecast of the final loss, smooth shapes that vanish at the end
of the run, with a covariance estimated from how the ladder's curves miss their own trend, and
AR(1) noise. So deviations are Gaussian with a known covariance, and faults are found by
generalised likelihood ratios for a change at an unknown time (Willsky & Jones 1976; Lai 1995),
with thresholds simulated for a false-alarm rate per run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foresight.errors import UserError
from foresight.forecast.curve import Collapse, collapse, later_weights
from foresight.forecast.draws import Array

Curve = tuple[Array, Array]
Final = tuple[float, float, float]
"""Forecast of the final training loss: point, and low and high of its 95 % interval."""

MIN_CURVES = 4
MAX_BLOCKS, MIN_BLOCKS, RECORDS = 100, 10, 4
"""A run is cut into so many blocks, each with at least `RECORDS` records of the coarsest log."""
WARMUP, FIRST_LOOK = 0.02, 0.05
"""Blocks that begin before the one are never judged; nothing is judged before the other."""
FINAL = 0.05
"""The final loss is the mean over the last so much of the run."""
RATES = {"level": 0.002, "shape": 0.004}
"""Simulated false alarms per run of each test; their sum stays well below the 1 % promised."""
SIMULATIONS, SEED = 10_000, 20250712
DIFFUSE = 1.0
"""Sd of a level about which nothing is known, in log loss: shapes are judged whatever the level."""
PRIOR_CURVES, PROFILE = 2.0, 4.0 ** -np.arange(5)
"""The scatter of the shapes is shrunk, with the weight of so many curves, to one amplitude for
all of them and this profile of variances: misfits are smooth, and few curves cannot tell each."""
CURVATURE = 0.25
"""Share by which the trend along the ladder may bend on its way to the target, one sd."""
NOISE_RATIO = (0.35, 4.0)
"""The target's noise is not believed to be further from the ladder's than this."""
Z95 = 1.96
TINY = 1e-5
"""Noise of log loss below any that is measured: what a curve without noise is given."""


@dataclass(frozen=True)
class Band:
    """Model of a clean target in `count` equal blocks of the run; arrays over judged blocks (B,).

    `ends`: fraction of the run at each block's end. `expected`: log loss. `basis` (B, 5) with
    `shape` (5, 5), the covariance of its coefficients, known to `freedom` degrees. `noise`,
    `mean_noise`: sd of the noise in a block of the target and of `expected`; `phi`: correlation
    from block to block. `final`, `level_sd`: forecast of log final loss. `residuals`: the ladder's
    own standardised innovations. `record_noise`, `records`: sd of a record of the ladder's logs,
    and how many of them a block has.
    """

    count: int
    ends: Array
    expected: Array
    basis: Array
    shape: Array
    freedom: float
    noise: float
    mean_noise: float
    phi: float
    final: float
    level_sd: float
    residuals: Array
    record_noise: float
    records: float

    @classmethod
    def learn(cls, curves: Sequence[Curve], final: Final) -> Band:
        """From (fractions, losses) of finished runs, smallest first, and the target's forecast.

        Raises UserError with fewer than 4 curves, with fewer than 40 records in one of them, or
        if the forecast is not 0 < low < point < high.
        """
        count = _blocks_for(curves)
        point, low, high = final
        if not 0 < low < point < high < math.inf:
            raise UserError(
                f"final loss {point:g} in [{low:g}, {high:g}]: expected 0 < low < point < high"
            )
        target = math.log(point)
        ends = np.arange(1, count + 1) / count
        judged = ends - 1 / count >= WARMUP - 1e-9
        ends = ends[judged]
        finals = np.log([loss[t > 1 - FINAL].mean() for t, loss in curves])
        ratios = np.stack([_filled(block_log_means(*curve, count))[judged] for curve in curves])
        ratios -= finals[:, None]
        found = collapse(ratios, finals, target)
        basis = _basis(ends - 0.5 / count)
        coefficients, noise, phi, residuals = _decompose(found, basis)
        weights = later_weights(len(curves))
        lever = found.weights - weights
        # The trend is smooth; the noise that its long lever magnifies is not.
        drift = _coefficients(lever @ ratios, basis)
        spread = float(found.weights @ found.weights)
        shape = (1 + spread) * _shape_scatter(coefficients, found, noise)
        shape += noise**2 * float(lever @ lever) * np.eye(len(drift))
        shape += CURVATURE**2 * np.outer(drift, drift)
        # The ladder's final losses, from which the level is counted, are noisy as well.
        level_noise = noise * math.sqrt(spread / (FINAL * count))
        return cls(
            count=count,
            ends=ends,
            expected=target + weights @ ratios + basis @ drift,
            basis=basis,
            shape=shape,
            # Each curve tells of two shapes at least.
            freedom=2.0 * found.freedom + PRIOR_CURVES,
            noise=noise,
            mean_noise=noise * math.sqrt(float(weights @ weights)),
            phi=phi,
            final=target,
            level_sd=math.hypot(math.log(high / low) / (2 * Z95), level_noise),
            residuals=residuals,
            record_noise=float(weights @ [record_noise(*curve) for curve in curves]),
            records=float(weights @ [len(loss) / count for _, loss in curves]),
        )

    @property
    def total_noise(self) -> float:
        return math.hypot(self.noise, self.mean_noise)

    @property
    def final_noise(self) -> float:
        """Sd of the noise of the target's final loss."""
        return self.noise / math.sqrt(FINAL * self.count)

    def deviations(self, fractions: Array, losses: Array) -> tuple[NDArray[np.int64], Array]:
        """Indices of the judged blocks that are complete and have a record, and their deviations
        from the expected log loss."""
        if not len(fractions):
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        values = block_log_means(fractions, losses, self.count)[-len(self.ends) :]
        done = self.ends <= fractions[-1] + 1e-9
        at = np.flatnonzero(np.isfinite(values) & done)
        return at, (values - self.expected)[at]

    def for_log(self, fractions: Array, losses: Array) -> Band:
        """The band with the noise of this log: of its records up to the first look, beside the
        ladder's (another batch size, another interval of logging).

        Shrunk to the ladder's where the records are few.
        """
        number = int((fractions <= FIRST_LOOK).sum())
        if number < 10:
            return self
        ratio = record_noise(fractions, losses) / self.record_noise
        ratio *= math.sqrt(self.records * FIRST_LOOK * self.count / number)
        scale = max(ratio, 1e-6) ** (number / (number + 20))
        return replace(self, noise=self.noise * float(np.clip(scale, *NOISE_RATIO)))

    def covariance(self, level_sd: float, at: NDArray[np.int64] | None = None) -> Array:
        """Covariance of the deviations of blocks `at` (default: all), shape (B, B)."""
        index = np.arange(len(self.ends)) if at is None else at
        basis = self.basis[index]
        lag = np.abs(index[:, None] - index[None, :])
        return np.asarray(
            level_sd**2 + basis @ self.shape @ basis.T + self.total_noise**2 * self.phi**lag
        )

    def simulate(self, runs: int, rng: np.random.Generator) -> Array:
        """Deviations of clean runs, (runs, B): the level and the scatter of shapes have the
        tails of Student's t, for they are estimates; noise is resampled from the ladder's."""
        size = len(self.ends)
        tails = np.sqrt(self.freedom / rng.chisquare(self.freedom, (runs, 1)))
        root = _root(self.shape)
        shapes = tails * rng.standard_normal((runs, len(root))) @ root.T @ self.basis.T
        fresh = rng.choice(self.residuals, (runs, size)) * np.exp(
            0.1 * rng.standard_normal((runs, 1))
        )
        noise = np.empty((runs, size))
        noise[:, 0] = fresh[:, 0]
        for block in range(1, size):
            noise[:, block] = (
                self.phi * noise[:, block - 1] + math.sqrt(1 - self.phi**2) * fresh[:, block]
            )
        # A 95 % interval of Student's t4 is 2.776 / 1.96 wider than the normal one of equal sd.
        level = self.level_sd * rng.standard_t(4, (runs, 1)) * (Z95 / 2.776)
        return np.asarray(level + shapes + self.total_noise * noise)


@dataclass(frozen=True)
class Scan:
    """Signed standardised deviations after each block, shapes (runs, B): each is N(0, 1) for a
    clean run, before a maximum is taken. `level`: the whole curve is off; `change`: the largest
    of all steps and ramps that begin at any block, whatever the level, and `since` that block;
    `block`: the last block alone."""

    level: Array
    change: Array
    since: NDArray[np.int64]
    block: Array


def scan(band: Band, deviations: Array, at: NDArray[np.int64] | None = None) -> Scan:
    """Scan deviations (runs, B) from `band.expected`, of blocks `at` (default: all)."""
    index = np.arange(len(band.ends)) if at is None else at
    size = len(index)
    root = np.linalg.inv(np.linalg.cholesky(band.covariance(0.0, index)))
    ones, white = root @ np.ones(size), deviations @ root.T
    information = np.cumsum(ones**2)
    mean = np.cumsum(white * ones, axis=1) / information
    level = mean / np.sqrt(band.level_sd**2 + 1 / information)
    root = np.linalg.inv(np.linalg.cholesky(band.covariance(DIFFUSE, index)))
    white = deviations @ root.T
    change, since = np.zeros_like(white), np.zeros(white.shape, dtype=np.int64)
    # A step at block 0 is a level; later starts in even steps, few enough to be quick.
    for start in range(1, size, max(1, len(band.ends) // 20)):
        for form in (np.ones(size - start), np.arange(1.0, size - start + 1)):
            # Row b of a lower triangular root needs no block after b: sums of a prefix are the
            # scores of a look at block b.
            template = (root[:, start:] @ form)[start:]
            score = np.cumsum(white[:, start:] * template, axis=1)
            score /= np.sqrt(np.cumsum(template**2))
            better = np.abs(score) > np.abs(change[:, start:])
            change[:, start:][better] = score[better]
            since[:, start:][better] = start
    return Scan(level, change, since, white)


def thresholds(band: Band) -> dict[str, float]:
    """Values that the maximum over a clean run exceeds with the probabilities `RATES`.

    For the quietest target that is believed in: the less noise, the more the tails of the shapes
    count, so noisier ones alarm less often.
    """
    quiet = replace(band, noise=band.noise * NOISE_RATIO[0])
    clean = scan(quiet, quiet.simulate(SIMULATIONS, np.random.default_rng(SEED)))
    first = int(np.searchsorted(band.ends, FIRST_LOOK - 1e-9))
    level = np.abs(clean.level[:, first:]).max(axis=1)
    shape = np.maximum(np.abs(clean.change), np.abs(clean.block))[:, first:].max(axis=1)
    return {
        "level": float(np.quantile(level, 1 - RATES["level"])),
        "shape": float(np.quantile(shape, 1 - RATES["shape"])),
    }


def block_log_means(fractions: Array, losses: Array, count: int) -> Array:
    """Log of the mean loss in each of `count` blocks (count,); NaN where there is no record."""
    index = _block(fractions, count)
    number = np.bincount(index, minlength=count)
    total = np.bincount(index, losses, minlength=count)
    return np.asarray(np.log(np.where(number, total / np.maximum(number, 1), np.nan)))


def _filled(values: Array) -> Array:
    """Blocks without a record (uneven logging) take the value between their neighbours."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known])


def record_noise(fractions: Array, losses: Array) -> float:
    """Sd of one record's log loss about its neighbours, deaf to trends and outliers: from the
    median absolute second difference up to the first look (all records, if there are few)."""
    early = losses[fractions <= FIRST_LOOK]
    log = np.log(early if len(early) >= 10 else losses)
    second = log[1:-1] - (log[2:] + log[:-2]) / 2
    return max(float(1.4826 * np.median(np.abs(second)) * math.sqrt(2 / 3)), TINY)


def _block(fractions: Array, count: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(fractions * count - 1e-9).astype(np.int64) - 1, 0, count - 1)


def _basis(middles: Array) -> Array:
    """Orthonormal smooth shapes that vanish at the end of the run: powers of
    log t and of 1 - t."""
    log = np.log(middles)
    left = 1 - middles
    basis, _ = np.linalg.qr(np.stack([log, left, log**2, left**2, log**3], axis=1))
    return np.asarray(basis)


def _blocks_for(curves: Sequence[Curve]) -> int:
    if len(curves) < MIN_CURVES:
        raise UserError(f"a band needs at least {MIN_CURVES} finished curves, got {len(curves)}")
    fewest = min(len(loss) for _, loss in curves)
    if fewest < MIN_BLOCKS * RECORDS:
        raise UserError(
            f"a finished curve has only {fewest} records; at least {MIN_BLOCKS * RECORDS} are "
            f"needed to tell noise from shape"
        )
    return min(fewest // RECORDS, MAX_BLOCKS)


def _coefficients(values: Array, basis: Array) -> Array:
    """Least-squares coefficients of curves (..., B) on the shapes, (..., 5). An intercept takes
    the noise of each run's final loss, to which its curve is relative."""
    design = np.column_stack([np.ones(len(basis)), basis])
    return np.asarray(np.linalg.lstsq(design, values.T, rcond=None)[0][1:].T)


def _decompose(found: Collapse, basis: Array) -> tuple[Array, float, float, Array]:
    """The ladder's residuals as coefficients (K, 5), sd and autocorrelation of the noise per
    block, and its standardised innovations."""
    coefficients = _coefficients(found.residuals, basis)
    left = found.residuals - coefficients @ basis.T
    left -= left.mean(axis=1, keepdims=True)
    # Unbiased: the trend and the shapes took degrees of freedom.
    left *= math.sqrt(len(left) / found.freedom / (1 - (basis.shape[1] + 1) / len(basis)))
    lagged = float(np.sum(left[:, 1:] * left[:, :-1])) / max(float(np.sum(left**2)), TINY)
    phi = min(max(lagged, 0.0), 0.9)
    noise = float(np.sqrt(later_weights(len(left)) @ np.mean(left**2, axis=1)))
    innovations = left[:, 1:] - phi * left[:, :-1]
    scale = np.maximum(innovations.std(axis=1, keepdims=True), TINY)
    return coefficients, max(noise, TINY), phi, (innovations / scale).ravel()


def _shape_scatter(coefficients: Array, found: Collapse, noise: float) -> Array:
    """Covariance (5, 5) of a curve's coefficients (K, 5) about the trend, less the noise in it,
    shrunk to `PROFILE`."""
    weights = later_weights(len(coefficients))
    size = coefficients.shape[1]
    scatter = (coefficients * weights[:, None]).T @ coefficients * len(weights) / found.freedom
    values, vectors = np.linalg.eigh(scatter - noise**2 * np.eye(size))
    # Where the scatter is all noise, the part of the noise that cannot be excluded is left.
    scatter = (vectors * np.maximum(values, noise**2 / found.freedom)) @ vectors.T
    prior = np.diag(PROFILE) * np.trace(scatter) / PROFILE.sum()
    known = found.freedom / (found.freedom + PRIOR_CURVES)
    return np.asarray(known * scatter + (1 - known) * prior)


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
