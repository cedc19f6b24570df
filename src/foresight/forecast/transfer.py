"""Loss to loss: one metric from another through the same models.

The law is L_B - E_B = K (L_A - E_A)^kappa (Brandfonbrener et al. 2024, "Loss-to-loss prediction:
scaling laws for all datasets"). Given both floors it is a straight line in logs, so that the
posterior needs a grid over the floors alone; at each the line has its conjugate Student-t. Floors
are shares of the smallest loss with the prior Beta(1, 2) of `posterior`, kappa is about 1.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass

import numpy as np

from foresight.errors import UserError
from foresight.forecast.draws import Array, Estimate, equally_likely, rounded, uniform
from foresight.forecast.forecast import Forecast
from foresight.forecast.scores import ScoreTable

MIN_RUNS = 4
SHARES = np.linspace(0.0, 0.96, 33)
"""Grid of either floor, as a share of the smallest loss."""
KAPPA, KAPPA_SD = 1.0, 0.5
"""Prior of the exponent; the paper's fits lie between about 0.8 and 1.3."""
DRAWS = 2000


@dataclass(frozen=True)
class LossMap:
    """Draws of the law: floors `floor_a`, `floor_b`, and of log K and kappa about the centre of
    the data; `scatter`: sd of log L_B about the law; each (DRAWS,). `runs` were fitted."""

    floor_a: Array
    floor_b: Array
    level: Array
    kappa: Array
    scatter: Array
    centre: Array
    degrees: int
    runs: int

    def predict(self, loss: float | Forecast) -> Estimate:
        """L_B of one new run from its L_A, known or forecast (then with A's uncertainty).

        Raises UserError if the loss is no finite positive number, or its forecast was refused.
        """
        u = uniform(DRAWS, 8)
        if isinstance(loss, Forecast):
            if loss.point is None or loss.intervals is None:
                raise UserError("the forecast of the first loss was refused: nothing to map")
            spread = equally_likely(loss.point, loss.intervals, DRAWS)
            given = spread[(u[:, 6] * DRAWS).astype(np.intp)]
        elif math.isfinite(loss) and loss > 0:
            given = np.full(DRAWS, loss)
        else:
            raise UserError(f"loss {loss}: expected a finite number above 0")
        # Below its floor no loss can lie; such draws of the floor give the floor of B.
        above = np.log(np.maximum(given - self.floor_a, 1e-12)) - self.centre
        mean = self.floor_b + np.exp(self.level + self.kappa * above)
        noise = self.scatter * _student(u[:, 7], self.degrees)
        return Estimate.of(mean * np.exp(noise))

    def summary(self) -> dict[str, float]:
        """Medians of the written law's parameters."""
        log_k = self.level - self.kappa * self.centre
        return rounded({
            "K": float(np.exp(np.median(log_k))),
            "kappa": float(np.median(self.kappa)),
            "E_A": float(np.median(self.floor_a)),
            "E_B": float(np.median(self.floor_b)),
            "scatter": float(np.median(self.scatter)),
        })  # fmt: skip


def fit_map(first: ScoreTable, second: ScoreTable) -> LossMap:
    """Fit B (`second`) on A (`first`); runs are paired by name.

    Raises UserError if a loss is not positive, a name occurs twice, or fewer than `MIN_RUNS` runs
    with different losses have both.
    """
    pairs = _pairs(first, second)
    a, b = pairs.T
    shares = np.array([(s, t) for s in SHARES for t in SHARES])
    z = np.log(a[None] - shares[:, :1] * a.min())  # (g, n)
    w = np.log(b[None] - shares[:, 1:] * b.min())
    # An error of log L_B is so much larger in log(L_B - E_B): weights, whose Jacobian cancels.
    weight = (1.0 - shares[:, 1:] * b.min() / b[None]) ** 2
    centre = (weight * z).sum(axis=1) / weight.sum(axis=1)
    design = np.stack([np.ones_like(z), z - centre[:, None]], axis=2) * np.sqrt(weight)[:, :, None]
    gram = np.einsum("gni,gnj->gij", design, design)
    # The prior of kappa, in units of the scatter found by the flattest line.
    response = np.sqrt(weight) * w
    scale = _scatter(np.log(a), np.log(b))
    gram[:, 1, 1] += (scale / KAPPA_SD) ** 2
    pull = np.einsum("gni,gn->gi", design, response)
    pull[:, 1] += KAPPA * (scale / KAPPA_SD) ** 2
    beta = np.linalg.solve(gram, pull[:, :, None])[:, :, 0]
    residual = response - np.einsum("gni,gi->gn", design, beta)
    degrees = len(a) - 2
    squares = (residual**2).sum(axis=1) + (scale / KAPPA_SD * (beta[:, 1] - KAPPA)) ** 2
    squares += 1e-12  # exact laws
    log_mass = -0.5 * degrees * np.log(squares) - 0.5 * np.log(np.linalg.det(gram))
    log_mass += np.log(1.0 - shares).sum(axis=1)
    mass = np.exp(log_mass - log_mass.max())
    u = uniform(DRAWS, 8)
    cells = np.minimum(
        np.searchsorted(np.cumsum(mass) / mass.sum(), u[:, 0]), len(mass) - 1
    )  # fmt: skip
    scatter = np.sqrt(squares[cells] / degrees)
    root = np.linalg.cholesky(np.linalg.inv(gram))[cells]
    t = np.stack([_student(u[:, 1], degrees), _student(u[:, 2], degrees)], axis=1)
    drawn = beta[cells] + scatter[:, None] * np.einsum("dij,dj->di", root, t)
    return LossMap(
        shares[cells, 0] * a.min(), shares[cells, 1] * b.min(), drawn[:, 0], drawn[:, 1],
        scatter, centre[cells], degrees, len(a),
    )  # fmt: skip


def _pairs(first: ScoreTable, second: ScoreTable) -> Array:
    """Losses (n, 2) of the runs in both tables."""
    by_name: list[dict[str, float]] = []
    for table in (first, second):
        found: dict[str, float] = {}
        for row in table.rows:
            if row.value <= 0.0:
                raise UserError(f"run {row.run}, {table.metric}: {row.value:g}; expected a "
                                f"loss above 0")  # fmt: skip
            if row.run in found:
                raise UserError(f"run {row.run} occurs twice; give runs different names")
            found[row.run] = row.value
        by_name.append(found)
    pairs = np.array([(value, by_name[1][run]) for run, value in by_name[0].items()
                      if run in by_name[1]])  # fmt: skip
    if len(pairs) < MIN_RUNS or len(np.unique(pairs[:, 0])) < MIN_RUNS:
        raise UserError(
            f"{len(pairs)} runs with different losses have both {first.metric} and "
            f"{second.metric}; expected at least {MIN_RUNS}"
        )
    return pairs


def _scatter(x: Array, y: Array) -> float:
    """Residual sd of a straight line, not quite 0."""
    line = np.polyfit(x, y, 1)
    return float(np.sqrt(np.sum((y - np.polyval(line, x)) ** 2) / (len(x) - 2))) + 1e-6


def _student(u: Array, degrees: int) -> Array:
    """Quantiles of Student's t at u (n,)."""
    # Imported here: few need it, and it takes longer than the rest of the room.
    special = importlib.import_module("scipy.special")
    return np.asarray(special.stdtrit(float(degrees), np.clip(u, 1e-3, 1 - 1e-3)))
