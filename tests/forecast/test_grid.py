"""Evidence and moments of densities with a closed form, however thin the ridge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.forecast.grid import Grid, settle

BOX = np.array([[-6.0, 1.0], [-7.0, 5.0], [-3.5, 3.5]])


def integral(mean: np.ndarray, covariance: np.ndarray) -> tuple[float, np.ndarray]:
    """ln of the integral of exp(-q/2) over the settled grid, and the mean under it."""
    precision = np.linalg.inv(covariance)

    def log_density(points: np.ndarray) -> np.ndarray:
        off = points - mean
        return np.asarray(-0.5 * np.einsum("ni,ij,nj->n", off, precision, off))

    grid = settle(BOX[: len(mean)], log_density)
    points = grid.points()
    mass = np.exp(log_density(points))
    return math.log(mass.sum()) + grid.log_cell, mass @ points / mass.sum()


@settings(max_examples=60, deadline=None)
@given(
    dimensions=st.integers(1, 3),
    log_sd=st.lists(st.floats(-6.0, -1.0), min_size=3, max_size=3),
    correlation=st.floats(-0.9995, 0.9995),
)
def test_normal_density_is_integrated(
    dimensions: int, log_sd: list[float], correlation: float
) -> None:
    sd = np.exp(np.array(log_sd[:dimensions]))
    covariance = np.diag(sd**2)
    if dimensions > 1:
        covariance[0, 1] = covariance[1, 0] = correlation * sd[0] * sd[1]
    mean = np.array([-2.0, 0.4, 0.8])[:dimensions]
    found, centre = integral(mean, covariance)
    truth = 0.5 * math.log((2 * math.pi) ** dimensions * np.linalg.det(covariance))
    assert found == pytest.approx(truth, abs=0.02)
    assert np.all(np.abs(centre - mean) < 0.05 * sd)


def test_grid_along_the_axes_misses_a_thin_ridge() -> None:
    """Negative control: what the turning is for."""
    sd = np.array([0.02, 0.02])
    covariance = np.array([[1.0, 0.9999], [0.9999, 1.0]]) * np.outer(sd, sd)
    precision = np.linalg.inv(covariance)
    mean = np.array([-2.0, 0.4])
    box = np.stack([mean - 4 * sd - 0.001, mean + 4 * sd + 0.0013], axis=1)
    grid = Grid.over(box)
    off = grid.points() - mean
    mass = np.exp(-0.5 * np.einsum("ni,ij,nj->n", off, precision, off))
    truth = 0.5 * math.log((2 * math.pi) ** 2 * np.linalg.det(covariance))
    assert abs(math.log(mass.sum()) + grid.log_cell - truth) > 0.3
    assert integral(mean, covariance)[0] == pytest.approx(truth, abs=0.02)


def test_two_separate_modes_are_both_kept() -> None:
    def log_density(points: np.ndarray) -> np.ndarray:
        return np.asarray(
            np.logaddexp(
                -0.5 * ((points[:, 0] + 4) / 0.2) ** 2, -0.5 * ((points[:, 0] - 0.2) / 0.2) ** 2
            )
        )

    grid = settle(BOX[:1], log_density)
    mass = math.log(np.exp(log_density(grid.points())).sum()) + grid.log_cell
    assert mass == pytest.approx(math.log(2 * 0.2 * math.sqrt(2 * math.pi)), abs=0.02)
