from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.errors import UserError
from foresight.forecast import predict_curve
from foresight.forecast.curve import GRID, collapse, later_weights, smooth


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


def test_a_floor_makes_a_trend_that_is_followed() -> None:
    """Losses above a floor do not collapse by their finals alone: the trend takes what is left."""
    t = np.linspace(0.001, 1, 1000)

    def run(size: float) -> np.ndarray:
        return np.asarray(1.5 + size**-0.1 + size**-0.3 * t**-0.3)

    curves = [(t, run(3.0**k)) for k in range(6)]
    finals = [float(smooth(*curve)[-1]) for curve in curves]
    truth = smooth(t, run(3.0**7))
    end = float(truth[-1])
    curve = predict_curve(curves, finals, (end, 0.99 * end, 1.01 * end))
    error = np.abs(np.log(np.array(curve.loss) / truth))
    ratios = np.log([smooth(*curve) / end for curve, end in zip(curves, finals, strict=True)])
    mean_error = np.abs(np.log(end) + later_weights(6) @ ratios - np.log(truth))
    assert error.max() < 0.35 * mean_error.max(), (error.max(), mean_error.max())
    assert np.all(np.array(curve.low) <= truth) and np.all(truth <= np.array(curve.high))


@given(
    st.lists(st.floats(0.5, 3.0), min_size=2, max_size=9),
    st.floats(0.3, 3.0),
    st.floats(-2.0, 2.0),
    st.floats(-2.0, 2.0),
)
def test_collapse_is_exact_for_any_linear_trend(
    finals: list[float], target: float, intercept: float, slope: float
) -> None:
    x = np.array(finals)
    found = collapse(intercept + slope * x[:, None] * np.ones(3), x, target)
    assert found.weights.sum() == pytest.approx(1.0)
    if len(finals) >= 3 and np.ptp(x) > 0.1:
        np.testing.assert_allclose(
            found.weights @ (intercept + slope * x), intercept + slope * target, atol=1e-6
        )
        np.testing.assert_allclose(found.residuals, 0.0, atol=1e-9)
    else:
        assert found.freedom == max(len(finals) - 1, 1) or np.ptp(x) > 0
