"""The pass-rate law of single problems, fitted to counts: a hierarchical binomial model.

For problem i and model m of compute C_m, with u = ln(C / C_centre):

    passes_im ~ Binomial(samples_im, p_im),   -log p_im = exp(d_im) log(1 + link e^eta) / link,
    eta_im = a_i - s_i u_m + b w_m + e_m,   a_i ~ N(mu, tau^2),
    s_i ~ N(k + g (a_i - mu), kappa^2),   e_m ~ N(0, jitter^2),   d_im ~ N(0, scatter^2).

As link goes to 0, -log p of a problem is a power law e^a (C / C_centre)^-s with a level and an
exponent of its own (GPT-4 report, section 3.2, has the law for the mean over problems); at link 1
the log odds are linear in log C, as in item response theory; the family is that of Aranda-Ordaz
(1981), and the counts decide. All its members become the power law where p nears 1. A model is
better or worse than its compute says by e_m at all problems, and by d_im at one. The exponents of
all problems may rise or fall over the ladder: w is u^2 less its level and slope over the fitted
models, and straight beyond the largest of them. There s_i becomes (1 - drift) s_i, of which the
fitted models say nothing. Zero passes in n samples are a likelihood, never log 0.

Inference is deterministic and needs no Markov chain. Per problem (a_i, s_i) is integrated on a
grid of its own, placed at its posterior (adaptive quadrature; Pinheiro and Bates 1995); d_im is
folded into tables of the cell's likelihood. What problems share is found by Fisher scoring with
the outer product of the problems' scores (Berndt, Hall, Hall and Hausman 1974), then integrated
by importance sampling in rounds, each from the moments of the one before. The parts of e
that look like a level and a slope cannot be told from mu and k by any data: they are integrated
in closed form, which is what widens forecasts with distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from foresight.forecast.likelihood_table import (
    SCATTERS,
    STEP,
    Array,
    LikelihoodTable,
    log_power,
    place,
)

JITTERS = np.geomspace(0.01, 1.0, 16)
TILTS = np.linspace(-5.0, 5.0, 31)
"""Grids over the jitter, and over the tilt of the models' deviations in standard deviations."""
STAND_IN = ((0.25, 0.3), (0.0, 0.3))
"""Mean and sd of the exponent and of the models' deviations while the mode is searched."""
PRIOR = {
    "level": (0.5, 2.0),
    "log_tau": (math.log(1.0), 0.7),
    "coupling": (0.0, 0.05),
    "log_kappa": (math.log(0.04), 0.8),
    "log_scatter": (math.log(0.2), 0.7),
    "log_link": (math.log(0.4), 1.2),
    "log_jitter": (math.log(0.08), 0.8),
    "log_exponent": (math.log(0.2), 0.6),
    "bend": (0.0, 0.05),
    "drift": (0.2, 0.25),
}
"""Mean and sd; all weak. Those of the exponent hold the report's HumanEval curve and the laws of
-log accuracy; jitter is in log(-log p): 0.08 is 8 % in -log p; a bend of 0.05 changes an exponent
by 0.23 over a decade. The drift is from eight suites of small models, targets of 10 and 100 times
the compute (LOG, 2026-11-26): where a suite is chosen so that a ladder just begins to pass, the
ladder sees skills at their fastest."""
SHARED = 7
"""Parameters that problems share, besides the models' deviations: mu, log tau, k, g, log kappa,
log scatter, log link; together they are `psi`."""
REACH = 12.0
"""Largest size of any parameter in psi: mu, k and logs."""
POINTS, WIDTHS = (11, 7), (3.8, 3.3)
"""Of a problem's grid: points by level and slope, and half-widths in standard deviations."""
ROUNDS, RESCUES, ENOUGH = (120, 240), (400, 800), 25
"""Importance draws by round, and those of further rounds while fewer than enough of the last
round's are effective."""
DRAWS, TAILS = 2000, 8.0
"""Posterior draws, and degrees of freedom of the proposals."""
_MU, _TAU, _K, _G, _KAPPA, _SCATTER, _LINK = range(SHARED)
_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Bend:
    """The shape w of a common bend of the law, by u = ln(C / C_centre): `of(u)` has length `size`
    over the fitted models and neither level nor slope there."""

    top: float
    line: tuple[float, float]
    size: float

    @classmethod
    def over(cls, u: Array) -> Bend:
        """Of fitted models at u (M,)."""
        top = float(u.max())
        raw = cls(top, (0.0, 0.0), 0.0).of(u)
        columns = np.stack([np.ones(len(u)), u], axis=1)
        level, slope = np.linalg.lstsq(columns, raw, rcond=None)[0]
        size = float(np.linalg.norm(raw - columns @ np.array([level, slope])))
        # Two computes have no bend.
        return cls(top, (float(level), float(slope)), size if size > 1e-6 * top * top else 0.0)

    def of(self, u: Any) -> Any:
        raw = np.where(u <= self.top, u * u, self.top * (2 * u - self.top))
        return raw - self.line[0] - self.line[1] * u


@dataclass(frozen=True)
class PassPosterior:
    """Equally weighted draws. Per problem, shape (draws, P): `level` a and `slope` s. Shared,
    (draws,): `exponent` k, `bend` b, `drift`, `jitter`, `scatter`, `link`, and the `offset` and
    `tilt` of the fitted models' own deviations. `centre` = ln C_centre; `shape`: that of the bend;
    `effective`: importance draws behind it."""

    centre: float
    shape: Bend
    level: Array
    slope: Array
    offset: Array
    tilt: Array
    exponent: Array
    bend: Array
    drift: Array
    jitter: Array
    scatter: Array
    link: Array
    effective: float

    def law(self, compute_flops: float) -> Array:
        """Draws (draws, P) of log pass rates under the law, without any model's own deviation."""
        return self._log_rate(compute_flops, np.zeros_like(self.jitter), np.zeros_like(self.level))

    def log_pass_rate(self, compute_flops: float, seed: int = 0) -> Array:
        """Draws (draws, P) of the log true pass rates of one new model at a compute."""
        rng = np.random.default_rng(seed)
        own = self.jitter * rng.standard_normal(len(self.jitter))
        return self._log_rate(
            compute_flops, own, self.scatter[:, None] * rng.standard_normal(self.level.shape)
        )

    def _log_rate(self, compute_flops: float, own: Array, scatter: Array) -> Array:
        u = math.log(compute_flops) - self.centre
        shared = own - self.offset - self.tilt * u + self.bend * self.shape.of(u)
        steps = u - self.drift * max(u - self.shape.top, 0.0)
        eta = self.level - self.slope * steps[:, None] + shared[:, None]
        power, _ = log_power(eta, self.link[:, None])
        return np.asarray(-np.exp(np.minimum(power + scatter, 30.0)))


def fit_pass_law(passes: Array, samples: Array, compute: Array, seed: int = 0) -> PassPosterior:
    """Posterior of the law given counts (P, M), of which samples may be 0, and compute (M,).

    Needs three models, of two computes at least; `capability` asks for more.
    """
    return _Sampler(passes, samples, compute).run(np.random.default_rng(seed))


@dataclass(frozen=True)
class _Guide:
    """Normal stand-ins of the problems' likelihoods of (level, slope), which place the grids:
    `precision` (P, 2, 2), and precision times mean `pull` (P, 2)."""

    precision: Array
    pull: Array


@dataclass
class _Nodes:
    """Grids of (level, slope), one per problem: (P, Q) each, and the log area of a cell (P,)."""

    level: Array
    slope: Array
    log_area: Array
    half_cell: tuple[Array, Array, Array]
    """Half-steps of the grid: level by level, slope by level, slope by slope; (P,) each."""


class _Sampler:
    """Everything that is fixed for one table of counts."""

    def __init__(self, passes: Array, samples: Array, compute: Array) -> None:
        x = np.log(compute)
        self.centre = float(x.mean())
        self.u = x - self.centre
        self.spread = float(self.u @ self.u)
        self.models = len(x)
        self.shape = Bend.over(self.u)
        self.bend = PRIOR["bend"][1] * self.shape.size
        parts = np.stack([np.ones(self.models), self.u, self.shape.of(self.u)], axis=1)
        # Deviations of the models orthogonal to a level and a slope, (M, M - 2): first the bend.
        self.basis = np.linalg.qr(parts, mode="complete")[0][:, 2:]
        if self.basis[:, 0] @ parts[:, 2] < 0:
            self.basis[:, 0] *= -1
        self.tables = LikelihoodTable(passes, samples)
        self.dimensions = SHARED + self.models - 2
        # Smoothed rates: a start for the search, nothing more.
        link = math.exp(PRIOR["log_link"][0])
        eta = np.log(np.expm1(-link * np.log((passes + 0.5) / (samples + 1.0))) / link)
        mean = np.average(eta, axis=0, weights=samples + 1e-9)
        start = np.zeros(self.dimensions)
        start[_MU], start[_K] = mean.mean(), -float(self.u @ mean) / self.spread
        start[_TAU], start[_KAPPA] = PRIOR["log_tau"][0], PRIOR["log_kappa"][0]
        start[_SCATTER], start[_LINK] = PRIOR["log_scatter"][0], PRIOR["log_link"][0]
        self.start = start
        self.problems = passes.shape[0]

    # -- densities -------------------------------------------------------------------------

    def log_cells(self, psi: Array, nodes: _Nodes) -> Array:
        """Log density of every grid point, (P, Q): prior times likelihood."""
        table = self.tables.at(scatter_of(psi[_SCATTER]), psi[_LINK])
        total = self._log_hierarchy(psi, nodes)
        deviation = self.basis @ psi[SHARED:]
        for model in range(self.models):
            eta = nodes.level - self.u[model] * nodes.slope + deviation[model]
            at, share = place(eta)
            at += self.tables.row[model]
            low = table[at]
            total += low + share * (table[at + 1] - low)
        return total

    def _log_hierarchy(self, psi: Array, nodes: _Nodes) -> Array:
        z, y = self._standard(psi, nodes)
        return np.asarray(-0.5 * (z * z + y * y) - (psi[_TAU] + psi[_KAPPA] + _LOG_2PI))

    def _standard(self, psi: Array, nodes: _Nodes) -> tuple[Array, Array]:
        z = (nodes.level - psi[_MU]) / math.exp(psi[_TAU])
        expected = psi[_K] + psi[_G] * (nodes.level - psi[_MU])
        return z, (nodes.slope - expected) / math.exp(psi[_KAPPA])

    def log_prior(self, psi: Array) -> tuple[float, Array, Array]:
        """Log prior of psi, its gradient, and the diagonal of its (approximate) curvature."""
        value, gradient, curvature = 0.0, np.zeros_like(psi), np.full_like(psi, 1e-6)
        for at, name in (
            (_MU, "level"), (_TAU, "log_tau"), (_G, "coupling"), (_KAPPA, "log_kappa"),
            (_SCATTER, "log_scatter"), (_LINK, "log_link"),
        ):  # fmt: skip
            mean, sd = PRIOR[name]
            z = (psi[at] - mean) / sd
            value, gradient[at], curvature[at] = value - 0.5 * z * z, -z / sd, 1 / sd**2
        z = self._stand_in(psi)
        gradient[_K], curvature[_K] = -z[0] / STAND_IN[0][1], STAND_IN[0][1] ** -2
        gradient[SHARED:], curvature[SHARED:] = -z[1:] / STAND_IN[1][1], STAND_IN[1][1] ** -2
        return value - 0.5 * float(z @ z), gradient, curvature

    def _stand_in(self, psi: Array) -> Array:
        """Standardised exponent and deviations (..., M - 1). In the search they are normal, and
        wider than `_mixture`, which takes their place when the draws are weighed."""
        (mean, sd), (zero, free) = STAND_IN
        rest = (psi[..., SHARED:] - zero) / free
        return np.concatenate([(psi[..., [_K]] - mean) / sd, rest], axis=-1)

    def _mixture(self, psi: Array) -> tuple[Array, Array]:
        """Log weights of (draws, jitters, tilts) given psi (draws, dimensions), and the law's
        exponents there: the fitted one less the tilt of the models' deviations."""
        jitters = JITTERS[:, None]
        exponent = psi[:, _K, None, None] + TILTS * jitters / math.sqrt(self.spread)
        positive = np.maximum(exponent, 1e-9)  # of density 0, as good as
        squares = (psi[:, SHARED + 1 :] ** 2).sum(axis=1)[:, None, None] / jitters**2
        bent = jitters**2 + self.bend**2
        squares = squares + psi[:, SHARED, None, None] ** 2 / bent
        logs = -0.5 * (squares + TILTS**2 + np.log(bent)) - np.log(positive)
        logs = logs - (self.models - 3) * np.log(jitters)
        for value, name in ((np.log(jitters), "log_jitter"), (np.log(positive), "log_exponent")):
            mean, sd = PRIOR[name]
            logs = logs - 0.5 * ((value - mean) / sd) ** 2
        return logs, positive

    def log_posterior(self, psi: Array, guide: _Guide) -> float:
        """Up to a constant; minus infinity beyond any data's reach, where grids have no width."""
        if (abs(psi) > REACH).any():
            return -math.inf
        nodes = self.nodes(psi, guide)
        logs = self.log_cells(psi, nodes)
        top = logs.max(axis=1)
        evidence = np.log(np.exp(logs - top[:, None]).sum(axis=1)) + top + nodes.log_area
        return float(evidence.sum()) + self.log_prior(psi)[0]

    def scores(self, psi: Array, guide: _Guide) -> Array:
        """Derivatives of every problem's log evidence by psi, (P, dimensions)."""
        nodes = self.nodes(psi, guide)
        logs = self.log_cells(psi, nodes)
        weight = _normalised(logs)
        z, y = self._standard(psi, nodes)
        tau, kappa = math.exp(psi[_TAU]), math.exp(psi[_KAPPA])
        result = np.zeros((self.problems, self.dimensions))

        def mean(value: Array) -> Array:
            return np.asarray((weight * value).sum(axis=1))

        result[:, _MU] = mean(z / tau - y * psi[_G] / kappa)
        result[:, _TAU] = mean(z * z - 1)
        result[:, _K] = mean(y / kappa)
        result[:, _G] = mean(y * z) * tau / kappa
        result[:, _KAPPA] = mean(y * y - 1)
        scatter = scatter_of(psi[_SCATTER])
        table = self.tables.at(scatter, psi[_LINK])
        by_scatter, by_link = self.tables.slopes(scatter, psi[_LINK])
        others = by_scatter * (1 - (SCATTERS[0] / scatter) ** 2), by_link
        deviation = self.basis @ psi[SHARED:]
        slopes = np.empty((self.problems, self.models))
        for model in range(self.models):
            eta = nodes.level - self.u[model] * nodes.slope + deviation[model]
            at, share = place(eta)
            at += self.tables.row[model]
            slopes[:, model] = mean(table[at + 1] - table[at]) / STEP
            for column, other in zip((_SCATTER, _LINK), others, strict=True):
                low = other[at]
                result[:, column] += mean(low + share * (other[at + 1] - low))
        result[:, SHARED:] = slopes @ self.basis
        return result

    # -- the search and the sampling ---------------------------------------------------------

    def nodes(self, psi: Array, guide: _Guide, points: tuple[int, int] = POINTS) -> _Nodes:
        """A grid per problem about its posterior at psi, were its likelihood the guide's."""
        precision, pull = self._hierarchy(psi)
        inverse = guide.precision + precision
        covariance = np.linalg.inv(inverse)
        middle = np.einsum("pij,pj->pi", covariance, guide.pull + pull)
        root = np.sqrt(covariance[:, 0, 0])
        shear = covariance[:, 0, 1] / root
        rest = 1.0 / np.sqrt(inverse[:, 1, 1])
        return _grid(middle, WIDTHS[0] * root, WIDTHS[0] * shear, WIDTHS[1] * rest, points)

    def _hierarchy(self, psi: Array) -> tuple[Array, Array]:
        """Precision (2, 2) of (level, slope) under the hierarchy, and precision times mean."""
        tau, kappa, g = math.exp(-2 * psi[_TAU]), math.exp(-2 * psi[_KAPPA]), psi[_G]
        precision = np.array([[tau + g * g * kappa, -g * kappa], [-g * kappa, kappa]])
        return precision, precision @ psi[[_MU, _K]]

    def guided(self, psi: Array, guide: _Guide, points: tuple[int, int] = POINTS) -> _Guide:
        """The guide whose posterior at psi has the moments that the likelihood gives."""
        nodes = self.nodes(psi, guide, points)
        weight = _normalised(self.log_cells(psi, nodes))
        at = np.stack([nodes.level, nodes.slope], axis=2)
        middle = np.einsum("pq,pqi->pi", weight, at)
        around = at - middle[:, None]
        covariance = np.einsum("pq,pqi,pqj->pij", weight, around, around)
        # A posterior narrower than the grid's step looks like a point: half a step then.
        covariance[:, 0, 0] += 0.25 * nodes.half_cell[0] ** 2
        covariance[:, 1, 1] += 0.25 * nodes.half_cell[2] ** 2
        prior, pull = self._hierarchy(psi)
        values, vectors = np.linalg.eigh(np.linalg.inv(covariance) - prior)
        # Skewed posteriors can be wider than the hierarchy: no information then.
        values = np.maximum(values, 0.0)
        precision = np.einsum("pik,pk,pjk->pij", vectors, values, vectors)
        return _Guide(precision, np.einsum("pij,pj->pi", precision + prior, middle) - pull)

    def mode(self) -> tuple[Array, Array, _Guide]:
        """psi at the mode, its covariance, and the guide there: scoring to come near, then
        Newton's method, which the ridge between link, tau and k needs."""
        psi = self.start
        guide = _Guide(np.zeros((self.problems, 2, 2)), np.zeros((self.problems, 2)))
        guide = self.guided(psi, self.guided(psi, guide, (41, 9)))
        psi, covariance = self._score(psi, guide)
        for _ in range(8):
            guide = self.guided(psi, guide)
            gradient = self._gradient(psi, guide)
            covariance = self._curvature(psi, covariance, guide)
            step = covariance @ gradient
            step *= min(1.0, 2.0 / float(abs(step).max()))
            value = self.log_posterior(psi, guide)
            lengths = (1.0, 0.5, 0.2, 0.05)
            better = (one for one in lengths if self.log_posterior(psi + one * step, guide) > value)
            length = next(better, 0.0)
            psi = psi + length * step
            if length == 0.0 or float(step @ gradient) < 0.05:
                break
        return psi, covariance, self.guided(psi, guide)

    def _gradient(self, psi: Array, guide: _Guide) -> Array:
        return np.asarray(self.scores(psi, guide).sum(axis=0) + self.log_prior(psi)[1])

    def _score(self, psi: Array, guide: _Guide) -> tuple[Array, Array]:
        """Damped scoring with the outer product of the scores: psi, and inverse information."""
        value, damping = self.log_posterior(psi, guide), 1e-3
        for _ in range(15):
            scores = self.scores(psi, guide)
            _, gradient, curvature = self.log_prior(psi)
            total = scores.sum(axis=0) + gradient
            information = scores.T @ scores + np.diag(curvature)
            damped = information + damping * np.diag(np.diag(information))
            trial = psi + np.clip(np.linalg.solve(damped, total), -1.0, 1.0)
            trial_value = self.log_posterior(trial, guide)
            if trial_value < value:
                damping = max(10 * damping, 0.1)
                continue
            gain, psi, value, damping = trial_value - value, trial, trial_value, damping / 10
            guide = self.guided(psi, guide)
            if gain < 0.5:
                break
        return psi, np.asarray(np.linalg.inv(information), dtype=np.float64)

    def _curvature(self, psi: Array, covariance: Array, guide: _Guide) -> Array:
        """Inverse of minus the second derivatives at psi, by differences of the gradient over a
        tenth of a standard deviation, within bounds about the covariance given."""
        root = np.linalg.cholesky(covariance)
        # In coordinates in which that covariance is the identity.
        rows = [
            root.T
            @ (self._gradient(psi - 0.1 * one, guide) - self._gradient(psi + 0.1 * one, guide))
            for one in root.T
        ]
        values, vectors = np.linalg.eigh((np.stack(rows) + np.stack(rows).T) / 0.4)
        turned = root @ vectors
        return np.asarray((turned / np.clip(values, 0.2, 50.0)) @ turned.T)

    def run(self, rng: np.random.Generator) -> PassPosterior:
        psi, covariance, guide = self.mode()
        first = self._proposals(psi, covariance)
        proposals = first
        for count in (*ROUNDS, *RESCUES):
            draws, weight = self._importance(proposals, guide, count, rng)
            effective = 1.0 / float((weight**2).sum())
            if count != ROUNDS[0] and effective > ENOUGH:
                break
            # The next round adds a part with the moments of this one, as far as it has draws.
            middle = weight @ draws
            share = effective / (effective + 2 * self.dimensions)
            around = (draws - middle) * np.sqrt(weight)[:, None]
            covariance = share * around.T @ around + (1 - share) * covariance
            proposals = (
                np.append(0.5 * first[0], 0.5),
                np.concatenate([first[1], middle[None]]),
                np.concatenate([first[2], covariance[None]]),
            )
        return self._draw(draws, weight, guide, effective, rng)

    def _proposals(self, psi: Array, covariance: Array) -> tuple[Array, Array, Array]:
        """Per jitter: its probability, and mean and covariance of psi given it, were the
        likelihood normal."""
        deviation, part = psi[SHARED:], covariance[SHARED:, SHARED:]
        logs = -0.5 * ((np.log(JITTERS) - PRIOR["log_jitter"][0]) / PRIOR["log_jitter"][1]) ** 2
        means, covariances = [], []
        for at, jitter in enumerate(JITTERS):
            total = part + jitter**2 * np.eye(len(part))
            total[0, 0] += self.bend**2
            gain = np.linalg.solve(total, covariance[SHARED:]).T
            logs[at] -= 0.5 * float(deviation @ np.linalg.solve(total, deviation))
            logs[at] -= 0.5 * float(np.linalg.slogdet(total)[1])
            means.append(psi - gain @ deviation)
            covariances.append(covariance - gain @ covariance[SHARED:])
        weight = np.exp(logs - logs.max())
        return weight / weight.sum(), np.stack(means), np.stack(covariances)

    def _importance(
        self,
        proposals: tuple[Array, Array, Array],
        guide: _Guide,
        count: int,
        rng: np.random.Generator,
    ) -> tuple[Array, Array]:
        """Draws (count, dimensions) of psi and their weights. The proposal is a mixture of
        Student t with 8 degrees of freedom: shares, means and covariances."""
        share, means, covariances = proposals
        roots = np.linalg.cholesky(covariances)
        positions = (np.arange(count) + 0.5) / count
        part = np.minimum(np.searchsorted(np.cumsum(share), positions), len(share) - 1)
        normal = rng.standard_normal((count, self.dimensions))
        normal *= np.sqrt(TAILS / rng.chisquare(TAILS, count))[:, None]
        draws = means[part] + np.einsum("nij,nj->ni", roots[part], normal)
        density = np.zeros(count)
        for one in range(len(share)):
            z = np.linalg.solve(roots[one], (draws - means[one]).T)
            scale = np.log(np.diag(roots[one])).sum()
            density += share[one] * np.exp(
                -0.5 * (TAILS + self.dimensions) * np.log1p((z * z).sum(axis=0) / TAILS) - scale
            )
        mixture, _ = self._mixture(draws)
        top = mixture.max(axis=(1, 2))
        logs = top + np.log(np.exp(mixture - top[:, None, None]).sum(axis=(1, 2)))
        logs += 0.5 * (self._stand_in(draws) ** 2).sum(axis=1) - np.log(density)
        logs += [self.log_posterior(one, guide) for one in draws]
        weight = np.exp(logs - logs.max())
        return draws, weight / weight.sum()

    def _draw(
        self, psi: Array, weight: Array, guide: _Guide, effective: float, rng: np.random.Generator
    ) -> PassPosterior:
        positions = (np.arange(DRAWS) + 0.5) / DRAWS
        chosen = np.minimum(np.searchsorted(np.cumsum(weight), positions), len(psi) - 1)
        level, slope = np.empty((2, DRAWS, self.problems))
        for one in np.unique(chosen):
            rows = np.flatnonzero(chosen == one)
            level[rows], slope[rows] = self._problems(psi[one], guide, len(rows), rng)
        unique, back = np.unique(chosen, return_inverse=True)
        logs, exponents = self._mixture(psi[unique])
        cells = np.cumsum(_normalised(logs.reshape(len(unique), -1)), axis=1)[back]
        cell = np.minimum((cells < rng.random((DRAWS, 1))).sum(axis=1), cells.shape[1] - 1)
        jitter = JITTERS[cell // len(TILTS)]
        exponent = exponents.reshape(len(unique), -1)[back, cell]
        # The part of the first deviation that is the law's, and not the fitted models' own.
        share = self.bend**2 / (self.bend**2 + jitter**2)
        bent = share * psi[chosen, SHARED]
        bent += np.sqrt(share) * jitter * rng.standard_normal(DRAWS)
        offset = jitter / math.sqrt(self.models) * rng.standard_normal(DRAWS)
        scatter = np.asarray(scatter_of(psi[chosen, _SCATTER]))
        tilt = exponent - psi[chosen, _K]
        return PassPosterior(
            self.centre,
            self.shape,
            level,
            slope,
            offset,
            tilt,
            exponent,
            bent / self.shape.size if self.shape.size else np.zeros(DRAWS),
            rng.normal(*PRIOR["drift"], DRAWS),
            jitter,
            scatter,
            np.exp(psi[chosen, _LINK]),
            effective,
        )

    def _problems(
        self, psi: Array, guide: _Guide, count: int, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Draws (count, P) of level and slope: grid points by weight, even inside their cells."""
        nodes = self.nodes(psi, guide)
        cells = np.cumsum(_normalised(self.log_cells(psi, nodes)), axis=1)  # (P, Q)
        u = rng.random((count, self.problems, 1))
        at = np.minimum((cells < u).sum(axis=2), cells.shape[1] - 1)  # (count, P)
        row = np.arange(self.problems)
        a, b = rng.uniform(-1.0, 1.0, (2, count, self.problems))
        ll, ls, ss = nodes.half_cell
        return nodes.level[row, at] + a * ll, nodes.slope[row, at] + a * ls + b * ss


def scatter_of(log_scatter: Any) -> Any:
    """The scatter with its floor, below which no table is kept: no law is exact to 5 %."""
    return np.minimum(np.hypot(SCATTERS[0], np.exp(log_scatter)), SCATTERS[-1])


def _normalised(logs: Array) -> Array:
    weight = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _grid(
    middle: Array, level: Array, shear: Array, slope: Array, points: tuple[int, int]
) -> _Nodes:
    """Sheared grids about `middle` (P, 2), of the given half-widths (P,)."""
    a = np.tile(np.linspace(-1, 1, points[0]), points[1])
    b = np.repeat(np.linspace(-1, 1, points[1]), points[0])
    along, across = points[0] - 1.0, points[1] - 1.0
    return _Nodes(
        middle[:, :1] + np.outer(level, a),
        middle[:, 1:] + np.outer(shear, a) + np.outer(slope, b),
        np.log(4 * level * slope / (along * across)),
        (level / along, shear / along, slope / across),
    )
