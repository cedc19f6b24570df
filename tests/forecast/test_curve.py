from __future__ import annotations

import numpy as np
import pytest

from foresight.errors import UserError
from foresight.forecast import predict_curve
from foresight.forecast.curve import GRID, smooth


def shape(t: np.ndarray) -> np.ndarray:
    return np.asarray(1 + 0.9 * np.exp(-5 * t))


def test_collapsed_curves_give_the_target_curve() -> None:
    t = np.linspace(0.001, 1, 1000)
    finals = [4.0, 3.5, 3.2]
    curves = [(t, final * shape(t)) for final in finals]
    ends = [float(smooth(*curve)[-1]) for curve in curves]
    target = smooth(t, 2.9 * shape(t))
    point = float(target[-1])
    curve = predict_curve(curves, ends, (point, 0.97 * point, 1.04 * point))
    np.testing.assert_allclose(curve.loss, target, rtol=1e-9)
    # Perfect collapse: the band is the final loss's interval everywhere.
    np.testing.assert_allclose(np.array(curve.low) / curve.loss, 0.97, rtol=1e-9)
    np.testing.assert_allclose(np.array(curve.high) / curve.loss, 1.04, rtol=1e-9)
    assert curve.fractions == tuple(GRID)


def test_imperfect_collapse_widens_the_band_early() -> None:
    t = np.linspace(0.001, 1, 200)
    curves = [(t, 3.0 * (1 + k * np.exp(-5 * t))) for k in (0.7, 0.9, 1.1)]
    curve = predict_curve(curves, [3.0] * 3, (2.5, 2.45, 2.55))
    width = np.log(np.array(curve.high) / curve.low)
    assert width[0] > 3 * width[-1]


def test_sparse_logs_are_interpolated_and_one_curve_is_refused() -> None:
    sparse = smooth(np.array([0.5, 1.0]), np.array([4.0, 3.0]))
    assert sparse[0] == 4.0 and sparse[-1] == 3.0 and sparse[14] == pytest.approx(3.5)
    with pytest.raises(UserError, match="at least 2"):
        predict_curve([(GRID, GRID + 1)], [2.0], (2.0, 1.9, 2.1))
