from __future__ import annotations

import math

import numpy as np
import pytest

from foresight.forecast import PowerLaw, Row
from foresight.forecast.backtest import centre_and_spread
from foresight.forecast.draws import student4, student_quantile, uniform, weighted_quantiles
from foresight.forecast.law import FADING, FLOOR, FORMS, OFFSET, PURE, closed_form, shape
from foresight.forecast.posterior import fit_posterior
from foresight.forecast.priors import LEARNED
from foresight.forecast.rungs import gather

TOP = 1e12


def rows_of(law: PowerLaw, noise: np.ndarray, compute: np.ndarray) -> list[Row]:
    """noise (rungs, seeds) in log loss."""
    return [
        Row(f"{i}-{s}", float(c), float(law(float(c))) * math.exp(noise[i, s]), seed=s)
        for i, c in enumerate(compute)
        for s in range(noise.shape[1])
    ]


@pytest.mark.parametrize(
    ("form", "law"),
    [
        (FLOOR, PowerLaw(1.5 * TOP**0.2, 0.2, 1.8)),
        (PURE, PowerLaw(3.0 * TOP**0.06, 0.06)),
        (OFFSET, PowerLaw(1.5 * (2 * TOP) ** 0.15, 0.15, 1.6, 5e10)),
        (FADING, PowerLaw(1.5 * TOP**0.15, 0.15, 1.8, 0.0, TOP / 5000, 1.2)),
    ],
)
def test_noise_free_law_is_recovered(form: object, law: PowerLaw) -> None:
    compute = np.geomspace(TOP / 300, TOP, 8)
    posterior = fit_posterior(form, gather(rows_of(law, np.zeros((8, 1)), compute)))  # type: ignore[arg-type]
    # Floor and offset, or floor and excess, stand in for each other: the prior keeps some say.
    far = (0.01, 0.025) if form in (OFFSET, FADING) else (0.002, 0.004)
    for ratio, tolerance in ((1, 0.001), (10, far[0]), (100, far[1])):
        predicted = float(np.median(posterior.mean_log_loss(math.log(TOP * ratio))))
        assert predicted == pytest.approx(math.log(float(law(TOP * ratio))), abs=tolerance)
    if form is FLOOR:
        assert posterior.summary().b == pytest.approx(law.b, rel=0.05)
        assert posterior.summary().c == pytest.approx(law.c, rel=0.05)


def test_written_law_equals_fitted_coordinates() -> None:
    theta = np.array([[0.08, 0.4, 0.3, 0.05, 1.2]])
    law = closed_form(1.1, theta[0], math.log(TOP))
    for ratio in (0.01, 1.0, 50.0):
        fitted = 1.1 + shape(theta, np.array([math.log(ratio)]))[0, 0]
        assert math.log(float(law(TOP * ratio))) == pytest.approx(fitted, abs=1e-9)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """120 ladders from the prior's middle; known seed noise and jitter; target 10x beyond."""
    rng = np.random.default_rng(3)
    seeds, sigma, jitter, ratio = 3, 0.002, 0.002, 10.0
    inside: dict[int, list[bool]] = {50: [], 95: []}
    compute = np.geomspace(TOP / 100, TOP, 6)
    for _ in range(120):
        b = math.exp(rng.normal(math.log(LEARNED.exponent_median), LEARNED.exponent_sd_log))
        share = rng.beta(LEARNED.floor_alpha, LEARNED.floor_beta)
        law = PowerLaw((1 - share) * 3.0 * TOP**b, b, share * 3.0)
        scatter = jitter * rng.normal(size=(6, 1)) + sigma * rng.normal(size=(6, seeds))
        rungs = gather(rows_of(law, scatter, compute))
        x = math.log(TOP * ratio)
        draws = fit_posterior(FLOOR, rungs).log_loss(x, float(rungs.noise.variance(x)))
        truth = math.log(float(law(TOP * ratio))) + math.hypot(jitter, sigma) * rng.normal()
        for level, found in inside.items():
            low, high = np.quantile(draws, [0.5 - level / 200, 0.5 + level / 200])
            found.append(bool(low <= truth <= high))
    assert 0.90 <= np.mean(inside[95]) <= 1.0
    assert 0.38 <= np.mean(inside[50]) <= 0.68


def test_seeds_of_a_rung_are_not_independent_points() -> None:
    """Rungs that scatter 1 % while their seeds agree: more seeds must not narrow the forecast."""
    rng = np.random.default_rng(0)
    law = PowerLaw(1.5 * TOP**0.2, 0.2, 1.8)
    compute = np.geomspace(TOP / 100, TOP, 6)
    scatter = 0.01 * rng.normal(size=(6, 1))
    widths = []
    for seeds in (1, 8):
        noise = scatter + 0.0005 * rng.normal(size=(6, seeds))
        posterior = fit_posterior(FLOOR, gather(rows_of(law, noise, compute)))
        widths.append(centre_and_spread(posterior.mean_log_loss(math.log(10 * TOP)))[1])
    assert widths[1] > 0.8 * widths[0]


def test_seed_noise_is_pooled_and_shrunk() -> None:
    rng = np.random.default_rng(1)
    law = PowerLaw(3.0 * TOP**0.06, 0.06)
    compute = np.geomspace(TOP / 100, TOP, 6)
    alone = gather(rows_of(law, np.zeros((6, 1)), compute))
    assert math.sqrt(float(alone.noise.variance(0.0))) == pytest.approx(0.001)
    noisy = gather(rows_of(law, 0.01 * rng.normal(size=(6, 5)), compute))
    assert math.sqrt(float(noisy.noise.variance(noisy.x[3]))) == pytest.approx(0.01, rel=0.35)
    falling = np.geomspace(0.03, 0.001, 6)[:, None] * rng.normal(size=(6, 8))
    smooth = gather(rows_of(law, falling, compute)).noise
    assert smooth.variance(smooth.low) > 10 * smooth.variance(smooth.high)
    assert smooth.variance(math.log(1e20)) == smooth.variance(smooth.high)


def test_deterministic_draws_have_the_right_distribution() -> None:
    points = uniform(2000, 7)
    assert np.abs(points.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(points.T) - np.eye(7)).max() < 0.05
    assert np.std(student4(points[:, 0])) == pytest.approx(1.0, abs=0.1)
    assert student_quantile(0.975, 4) == pytest.approx(2.776445, abs=1e-4)
    assert student4(np.array([0.975]))[0] == pytest.approx(2.776445 / math.sqrt(2), abs=1e-5)
    values = np.arange(1001.0)
    median = weighted_quantiles(values, np.ones(1001), np.array([0.5]))[0]
    assert median == pytest.approx(500.0)


def test_weights_before_any_run_sum_to_one() -> None:
    assert sum(form.weight for form in FORMS) == pytest.approx(1.0)
