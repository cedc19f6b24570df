"""The best size for a budget: coverage on clouds of known optimum, public tables, refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from foresight.forecast import Row, answer, frontier, read_table, recommend

EXPONENT = 0.55
TARGET = 1e21


def optimum(compute: float) -> float:
    return float(2e9 * (compute / 1e20) ** EXPONENT)


def cloud(
    seed: int, *, factors: tuple[float, float] = (0.3, 3.0), noise: float = 0.003
) -> list[Row]:
    """Seven budgets of nine sizes: parabolas about `optimum`, sizes missing it by some 30 %."""
    rng = np.random.default_rng(seed)
    rows = []
    for compute in np.geomspace(1e17, 1e20, 7):
        centre = optimum(float(compute)) * math.exp(0.3 * rng.standard_normal())
        for factor in np.geomspace(*factors, 9):
            n = centre * float(factor)
            off = math.log(n / optimum(float(compute)))
            loss = 1.7 + 2 * (compute / 1e17) ** -0.15
            loss *= math.exp(0.03 * off**2 + noise * rng.standard_normal())
            rows.append(Row(f"{compute:.1e}/{n:.2e}", compute, loss, n, compute / (6 * n)))
    return rows


def test_intervals_cover_the_optimum() -> None:
    """100 clouds: 95 +- 6.5 of 100 (three standard deviations) cover, for size and exponent."""
    sizes, exponents = 0, 0
    for seed in range(100):
        rows = cloud(seed)
        found = recommend(frontier(rows), rows, TARGET)
        assert found is not None and found.params_interval95 and found.exponent_interval95
        low, high = found.params_interval95
        sizes += low <= optimum(TARGET) <= high
        below, above = found.exponent_interval95
        exponents += below <= EXPONENT <= above
        assert found.basis == "isoflop" and found.flags == ("extrapolated",)
        assert 6 * found.params * found.tokens == pytest.approx(TARGET)
    print(f"covered: size {sizes}/100, exponent {exponents}/100")
    assert min(sizes, exponents) >= 88


def test_a_wrong_rule_is_not_covered() -> None:
    """The control: an optimum with another exponent lies outside."""
    rows = cloud(0)
    found = recommend(frontier(rows), rows, TARGET)
    assert found is not None and found.exponent_interval95
    assert not found.exponent_interval95[0] <= EXPONENT + 0.1 <= found.exponent_interval95[1]


def test_inside_the_range_nothing_is_extrapolated() -> None:
    rows = cloud(1)
    found = recommend(frontier(rows), rows, 3e18)
    assert found is not None and found.flags == ()


def test_optima_at_an_edge_are_left_out() -> None:
    """Sizes all too small at the two smallest budgets: the parabolas of the others speak."""
    large = [row for row in cloud(2) if row.compute_flops > 3.2e17]
    small = [row for row in cloud(2, factors=(0.05, 0.2)) if row.compute_flops < 3.2e17]
    rows = large + small
    points = frontier(rows)
    assert points[0].compute_flops > 3.2e17
    found, alone = (recommend(frontier(some), some, TARGET) for some in (rows, large))
    assert found is not None and found == alone and found.optima == len(points)


def test_a_ladder_continues_its_rule_without_an_interval() -> None:
    rows = [Row(f"{c:.0e}", c, 5 * c**-0.05, 0.1 * c**0.5) for c in (1e17, 1e18, 1e19, 1e20)]
    found = recommend(frontier(rows), rows, 1e21)
    assert found is not None and found.basis == "ladder"
    assert found.params == pytest.approx(0.1 * 1e21**0.5)
    assert found.params_interval95 is None and found.exponent_interval95 is None


def test_without_sizes_or_with_one_size_nothing_is_recommended() -> None:
    computes = (1e17, 1e18, 1e19, 1e20)
    unknown = [Row(f"{c:.0e}", c, 5 * c**-0.05) for c in computes]
    assert recommend(frontier(unknown), unknown, 1e21) is None
    one = [Row(f"{c:.0e}", c, 5 * c**-0.05, 1e8) for c in computes]
    assert recommend(frontier(one), one, 1e21) is None
    few = [row for row in cloud(3) if row.compute_flops > 2e19]
    assert recommend(frontier(few), few, 1e21) is None


@pytest.mark.parametrize(
    ("file", "loss", "low", "high"),
    [
        # Hoffmann et al. 2022, table 2: 0.46 to 0.50.
        ("chinchilla_epoch/runs.csv", "loss", 0.42, 0.58),
        ("isoflops/marin_raw_isoflop-dclm.csv", "eval/paloma/macro_loss", 0.3, 0.5),
        ("isoflops/misfitting.csv", "loss", 0.42, 0.58),
    ],
)
def test_public_clouds(shared_data: Path, file: str, loss: str, low: float, high: float) -> None:
    table = read_table(shared_data / "scaling" / file, {"loss": loss})
    found = recommend(frontier(table.fitted), table.fitted, 1e22)
    assert found is not None and found.exponent_interval95
    print(f"{file}: N ~ C^{found.exponent:.3f} {found.exponent_interval95}, {found.optima} optima")
    assert low < found.exponent < high
    assert found.exponent_interval95[1] - found.exponent_interval95[0] < 0.12


def test_it_is_in_the_answer(tmp_path: Path) -> None:
    rows = cloud(4)
    lines = [f"{row.compute_flops:.6e},{row.params:.6e},{row.loss:.6f}" for row in rows]
    (tmp_path / "runs.csv").write_text("C,N,loss\n" + "\n".join(lines) + "\n")
    found = answer(read_table(tmp_path / "runs.csv"), [TARGET])
    recommended = found.to_json()["at"][0]["recommended"]
    assert recommended["params"] == pytest.approx(optimum(TARGET), rel=0.2)
    low, high = recommended["params_interval95"]
    assert low < recommended["params"] < high
