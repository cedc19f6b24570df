"""The frontier of ladders, isoFLOP clouds and mixed tables with a known law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foresight.forecast import Row, frontier


def loss(n: float, d: float) -> float:
    return 1.7 + 400 * n**-0.34 + 410 * d**-0.28


def best_size(compute: float) -> float:
    sizes = np.geomspace(1e5, 1e12, 20_001)
    return float(sizes[np.argmin([loss(n, compute / (6 * n)) for n in sizes])])


def cloud(noise: float = 0.0, steps: int = 9) -> list[Row]:
    rng = np.random.default_rng(0)
    rows = []
    for compute in np.geomspace(1e17, 1e20, 7):
        for factor in np.geomspace(0.3, 3.0, steps):
            n = best_size(compute) * float(factor)
            value = loss(n, compute / (6 * n)) * math.exp(noise * rng.standard_normal())
            rows.append(Row(f"{compute:.1e}-{factor:.2f}", compute, value, n, compute / (6 * n)))
    return rows


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_vertices_of_a_cloud_are_its_frontier(noise: float) -> None:
    points = frontier(cloud(noise))
    assert len(points) == 7
    for point in points:
        n = best_size(point.compute_flops)
        best = loss(n, point.compute_flops / (6 * n))
        assert point.sigma is not None
        assert abs(math.log(point.loss / best)) < 4 * point.sigma + 0.002
        assert point.params == pytest.approx(n, rel=0.5)


def test_a_ladder_is_its_own_frontier() -> None:
    rows = [Row(f"{c:.0e}-{s}", c, 5 * c**-0.05 * (1 + 0.001 * s), c**0.5, seed=s)
            for c in (1e17, 1e18, 1e19, 1e20) for s in range(3)]  # fmt: skip
    points = frontier(rows)
    assert [len(point.runs) for point in points] == [3] * 4
    assert not any(point.edge for point in points)


def test_over_trained_runs_of_the_smallest_size_are_left_out() -> None:
    """Four sizes, each at 1 to 64 times 5 tokens per parameter, as in over-training studies."""
    rows = [Row(f"{n:.0e}-{m}", 6 * n * 5 * n * m, loss(n, 5 * n * m), n, 5 * n * m)
            for n in (1e7, 8e7, 4e8, 1.4e9) for m in (1, 2, 4, 8, 16, 32, 64)]  # fmt: skip
    points = frontier(rows)
    for point in points[1:-1]:
        n = best_size(point.compute_flops)
        best = loss(n, point.compute_flops / (6 * n))
        assert point.loss / best < 1.03
    assert sum(point.params == 1e7 for point in points) == 1
    assert sum(point.params == 1.4e9 for point in points) == 1


def test_order_and_units_do_not_matter() -> None:
    rows = cloud(0.002)
    points = frontier(rows)
    assert frontier(rows[::-1]) == points
    scaled = [Row(row.run, row.compute_flops / 1e18, row.loss * 3, row.params) for row in rows]
    for one, other in zip(points, frontier(scaled), strict=True):
        assert other.loss == pytest.approx(3 * one.loss)
        assert other.compute_flops == pytest.approx(one.compute_flops / 1e18)


def test_a_run_worse_than_a_cheaper_one_is_dominated() -> None:
    rows = [Row(str(c), c, value) for c, value in ((1e17, 3.0), (1e18, 3.2), (1e19, 2.5))]
    assert [point.loss for point in frontier(rows)] == pytest.approx([3.0, 2.5])
