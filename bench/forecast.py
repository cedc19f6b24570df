"""Back-test of the forecaster on public ladders beside the fits people use.

For every family of `forecast_families.py` and k = 10, 100, 1000: only runs of at most 1/k of the
largest frontier compute are shown, the loss at the largest frontier point is predicted. The
estimand is |log(predicted / observed)|; medians are over families that every method could fit.

Methods: `ours`; `least squares`: a C^-b + c on the frontier; `chinchilla`: L(N, D) =
E + A N^-alpha + B D^-beta over all shown runs, Huber loss (1e-3) on log loss, L-BFGS from a
grid of starts (Hoffmann et al. 2022, approach 3), at the target's N and D; `PyPI chinchilla`: the
package of that name with its defaults, where it is installed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import optimize

from foresight.forecast import Row, RunTable, fit
from foresight.forecast.frontier import FrontierPoint, frontier
from foresight.forecast.priors import Prior

sys.path.insert(0, str(Path(__file__).parent))
from forecast_families import Family, families, rows_of
from forecast_priors import WHERE

FACTORS = (10, 100, 1000)
HUBER = 1e-3


@dataclass(frozen=True)
class Case:
    """One family at one k; errors are signed log(predicted / observed), None: no fit."""

    family: str
    trap: str | None
    k: int
    points: int
    errors: dict[str, float | None]
    half_width_90: float | None
    inside_90: bool | None
    verdict: str


def least_squares(points: list[FrontierPoint], compute: float) -> float | None:
    """Prediction of a C^-b + c by least squares in loss, best of several starts."""
    if len(points) < 3:
        return None
    x = np.log([p.compute_flops for p in points])
    y = np.array([p.loss for p in points])
    middle = x.mean()

    def residual(theta: np.ndarray) -> np.ndarray:
        return np.exp(theta[0] - np.exp(theta[1]) * (x - middle)) + theta[2] - y

    best = None
    for b in (0.03, 0.08, 0.15, 0.3):
        for share in (0.0, 0.3, 0.6, 0.9):
            c = share * y.min()
            found = optimize.least_squares(
                residual, [math.log(y.mean() - c), math.log(b), c],
                bounds=([-np.inf, -np.inf, 0.0], [np.inf, np.inf, y.min()]),
            )  # fmt: skip
            if best is None or found.cost < best.cost:
                best = found
    a, b, c = best.x
    return float(math.exp(a - math.exp(b) * (math.log(compute) - middle)) + c)


def chinchilla(rows: list[Row], target: FrontierPoint) -> float | None:
    """Prediction of L(N, D) by the Huber fit on log loss."""
    sized = [row for row in rows if row.params and row.tokens]
    if len(sized) < 5 or not target.params or not target.tokens:
        return None
    n = np.log([row.params for row in sized])
    d = np.log([row.tokens for row in sized])
    y = np.log([row.loss for row in sized])

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        terms = np.stack(
            [theta[0] - theta[3] * n, theta[1] - theta[4] * d, np.full_like(n, theta[2])]
        )
        top = terms.max(axis=0)
        weights = np.exp(terms - top)
        total = weights.sum(axis=0)
        share = weights / total
        r = top + np.log(total) - y
        small = np.abs(r) <= HUBER
        loss = np.where(small, 0.5 * r**2, HUBER * (np.abs(r) - 0.5 * HUBER)).sum()
        slope = np.where(small, r, HUBER * np.sign(r))
        gradient = np.array([
            (slope * share[0]).sum(), (slope * share[1]).sum(), (slope * share[2]).sum(),
            -(slope * share[0] * n).sum(), -(slope * share[1] * d).sum(),
        ])  # fmt: skip
        return float(loss), gradient

    best = None
    for alpha in (0.1, 0.3, 0.6):
        for e in (-1.0, 0.0, 0.6):
            for scale in (0.0, 5.0, 10.0, 15.0):
                start = np.array([scale, scale, e, alpha, alpha])
                found = optimize.minimize(value, start, jac=True, method="L-BFGS-B")
                if best is None or found.fun < best.fun:
                    best = found
    a, b, e, alpha, beta = best.x
    return float(
        math.exp(a) * target.params**-alpha + math.exp(b) * target.tokens**-beta + math.exp(e)
    )


def pypi_chinchilla(rows: list[Row], target: FrontierPoint) -> float | None:
    """Prediction of L(N, D) by the `chinchilla` package with its own loss; None: not installed."""
    sized = [row for row in rows if row.params and row.tokens]
    if len(sized) < 5 or not target.params or not target.tokens:
        return None
    try:
        from chinchilla import Chinchilla
    except ImportError:
        return None
    grid = {
        "E": np.linspace(0.5, 2.5, 3), "a": np.linspace(1, 10, 3), "b": np.linspace(1, 10, 3),
        "alpha": np.linspace(0.1, 0.7, 3), "beta": np.linspace(0.1, 0.7, 3),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model = Chinchilla(folder, param_grid=grid, log_level=50)
        for row in sized:
            model.database.append(N=row.params, D=row.tokens, loss=row.loss)
        model.fit(parallel=False)
    predicted = float(model.predict_loss(target.params, target.tokens))
    return predicted if math.isfinite(predicted) and predicted > 0 else None


def prior_without(source: str) -> Prior:
    """The prior learned from every source but one."""
    learned = json.loads(WHERE.read_text())
    return Prior(**learned.get(source, learned[""]))


def our_table(points: list[FrontierPoint]) -> RunTable:
    return RunTable(tuple(
        Row(str(i), p.compute_flops, p.loss, sigma=p.sigma) for i, p in enumerate(points)
    ))  # fmt: skip


def back_test(family: Family, k: int) -> Case | None:
    """One case; None where fewer than three frontier points are left."""
    target = frontier(rows_of(family))[-1]
    rows = rows_of(family.below(target.compute_flops / k))
    points = frontier(rows)
    if len(points) < 3:
        return None

    def error(predicted: float | None) -> float | None:
        return None if predicted is None else math.log(predicted / target.loss)

    fitted = fit(our_table(points), prior_without(family.source))
    forecast = fitted.predict(target.compute_flops, force=True)
    assert forecast.point is not None and forecast.intervals is not None
    # Between the 80 and 95 % ends, in the quantiles of the normal: 90 % is 1.645 of 1.960.
    low, high = (forecast.point * (end / forecast.point) ** (1.645 / 1.960)
                 for end in forecast.intervals[95])  # fmt: skip
    return Case(
        family=f"{family.source} {family.name}",
        trap=family.trap,
        k=k,
        points=len(points),
        errors={
            "ours": error(forecast.point),
            "least squares": error(least_squares(points, target.compute_flops)),
            "chinchilla": error(chinchilla(rows, target)),
            "PyPI chinchilla": error(pypi_chinchilla(rows, target)),
        },
        half_width_90=math.log(high / low) / 2,
        inside_90=low <= target.loss <= high,
        verdict=forecast.verdict,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/data/scaling"))
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    wanted = parser.parse_args()
    cases = [
        case for family in families(wanted.folder) for k in FACTORS
        if (case := back_test(family, k)) is not None
    ]  # fmt: skip
    if wanted.json:
        print(json.dumps([asdict(case) for case in cases], indent=1))
        return 0
    for case in cases:
        shown = "".join(
            f"{'-' if e is None else f'{100 * e:+.2f}':>9}" for e in case.errors.values()
        )
        print(f"{case.family:44}{case.k:>6}{case.points:>4}{shown}"
              f"{100 * (case.half_width_90 or 0):>8.1f} {'in ' if case.inside_90 else 'OUT'} "
              f"{case.verdict:9} {case.trap or ''}")  # fmt: skip
    for k in FACTORS:
        clean = [case for case in cases if case.k == k and case.trap is None]
        for name in ("ours", "least squares", "chinchilla", "PyPI chinchilla"):
            errors = [abs(e) for case in clean if (e := case.errors[name]) is not None]
            if errors:
                print(f"k = {k}: {name:14} median |error| {100 * np.median(errors):.2f} % "
                      f"of {len(errors)}")  # fmt: skip
        if clean:
            inside = np.mean([bool(case.inside_90) for case in clean])
            width = np.median([case.half_width_90 or 0 for case in clean])
            print(f"k = {k}: 90 % intervals cover {100 * inside:.0f} %, median half-width "
                  f"{100 * width:.1f} %")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
