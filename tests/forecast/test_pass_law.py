"""The hierarchical binomial law against numerical integrals and simulations with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.capability import simulate
from foresight.forecast.likelihood_table import ETAS, SCATTERS, LikelihoodTable, log_power
from foresight.forecast.pass_law import PRIOR, PassPosterior, _Sampler, fit_pass_law


@pytest.fixture(scope="module")
def counts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    suite = simulate("law", 1, problems=24, models=5).counts
    return suite.passes.astype(float), suite.samples.astype(float), suite.compute


@pytest.fixture(scope="module")
def fitted(counts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> PassPosterior:
    return fit_pass_law(*counts)


@pytest.mark.parametrize("passes, samples", [(0, 20), (3, 20), (20, 20), (140, 400), (0, 0)])
@pytest.mark.parametrize("link", [0.05, 1.0])
def test_tables_are_the_integral_over_the_scatter(passes: int, samples: int, link: float) -> None:
    """Against adaptive quadrature, between the tables and on them."""
    table = LikelihoodTable(np.array([[float(passes)]]), np.array([[float(samples)]]))
    for scatter in (float(SCATTERS[2]), 0.3):
        found = table.at(scatter, math.log(link))
        assert found.shape == ETAS.shape
        d = np.linspace(-8, 8, 20_001) * scatter
        weight = stats.norm.pdf(d, 0, scatter) * (d[1] - d[0])
        for at in np.flatnonzero((ETAS > -2.5) & (ETAS < 1.2))[::7]:
            log_p = -np.exp(log_power(ETAS[at], link)[0] + d)
            logs = passes * log_p + (samples - passes) * np.log(-np.expm1(log_p))
            exact = logs.max() + math.log(np.exp(logs - logs.max()) @ weight)
            # Further down no posterior goes.
            if exact > found.max() - 6:
                assert found[at] == pytest.approx(exact, abs=0.04)


def test_the_link_runs_from_the_power_law_to_the_logistic() -> None:
    eta = np.linspace(-3, 2, 11)
    assert log_power(eta, 1e-6)[0] == pytest.approx(eta, abs=1e-5)
    assert -np.exp(log_power(eta, 1.0)[0]) == pytest.approx(np.log(1 / (1 + np.exp(eta))))
    step = 1e-6
    slope = (log_power(eta, 0.5 * math.exp(step))[0] - log_power(eta, 0.5)[0]) / step
    assert log_power(eta, 0.5)[1] == pytest.approx(slope, abs=1e-5)


def test_scores_are_the_gradient(counts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    sampler = _Sampler(*counts)
    psi, covariance, guide = sampler.mode()
    psi = psi + 0.3 * np.sqrt(np.diag(covariance))
    gradient = sampler.scores(psi, guide).sum(axis=0) + sampler.log_prior(psi)[1]
    steps = 1e-4 * np.eye(len(psi))
    numeric = [
        (sampler.log_posterior(psi + h, guide) - sampler.log_posterior(psi - h, guide)) / 2e-4
        for h in steps
    ]
    scale = np.sqrt(np.diag(covariance))  # a gradient matters in units of 1 / sd
    assert gradient * scale == pytest.approx(np.array(numeric) * scale, abs=0.05)


def test_problems_are_integrated_exactly(
    counts: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """The adaptive grid of 11 by 7 against one of 121 by 61 points, problem by problem."""
    sampler = _Sampler(*counts)
    psi, _, guide = sampler.mode()

    def evidence(points: tuple[int, int]) -> np.ndarray:
        nodes = sampler.nodes(psi, guide, points)
        logs = sampler.log_cells(psi, nodes)
        top = logs.max(axis=1)
        return np.asarray(np.log(np.exp(logs - top[:, None]).sum(axis=1)) + top + nodes.log_area)

    assert evidence((11, 7)) == pytest.approx(evidence((121, 61)), abs=0.05)


def test_zero_passes_are_information(
    counts: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """More samples without a pass push a problem's rate down, and never to zero."""
    passes, samples, compute = counts
    passes, samples = passes.copy(), samples.copy()
    passes[:2] = 0
    samples[0], samples[1] = 4, 400
    draws = fit_pass_law(passes, samples, compute).log_pass_rate(compute[-1] * 10)
    assert np.isfinite(draws).all()
    few, many = np.quantile(draws[:, :2], 0.9, axis=0)
    assert many < few - 0.5


def test_a_pair_that_was_not_run_says_nothing(
    counts: tuple[np.ndarray, np.ndarray, np.ndarray], fitted: PassPosterior
) -> None:
    """A problem without any samples is forecast from the others alone: wider than all of them."""
    passes, samples, compute = counts
    passes = np.vstack([passes, 0 * passes[:1]])
    samples = np.vstack([samples, 0 * samples[:1]])
    with_empty = fit_pass_law(passes, samples, compute)
    level = np.std(with_empty.level, axis=0)
    assert level[-1] > level[:-1].max()
    assert np.median(with_empty.exponent) == pytest.approx(np.median(fitted.exponent), abs=0.03)


def test_same_counts_same_draws(
    counts: tuple[np.ndarray, np.ndarray, np.ndarray], fitted: PassPosterior
) -> None:
    again = fit_pass_law(*counts)
    assert (again.log_pass_rate(1e23) == fitted.log_pass_rate(1e23)).all()
    assert (again.log_pass_rate(1e23) != fitted.log_pass_rate(1e23, seed=1)).any()


def test_intervals_widen_with_distance(fitted: PassPosterior) -> None:
    def spread(compute: float) -> float:
        value = np.log(-fitted.log_pass_rate(compute).mean(axis=1))
        return float(np.diff(np.quantile(value, [0.1, 0.9]))[0])

    near, middle, far = (spread(c) for c in (1e21, 1e22, 1e24))
    assert near < middle < far


def test_many_samples_and_no_deviations_find_the_truth() -> None:
    """1,000 samples and no deviations: what is left is the drift beyond the ladder, known only from
    its prior."""
    rng = np.random.default_rng(5)
    compute = 10.0 ** np.linspace(18, 22, 5)
    u = np.log(compute / compute[-1])
    level = rng.normal(0.0, 0.7, (16, 1))
    passes = rng.binomial(1000, np.exp(-np.exp(level - 0.2 * u)))
    found = fit_pass_law(passes.astype(float), np.full(passes.shape, 1000.0), compute)
    last = found.law(compute[-1]).mean(axis=1)
    assert np.median(last) == pytest.approx(-np.exp(level).mean(), rel=0.03)
    law = found.law(compute[-1] * 100).mean(axis=1)
    centre, sd = PRIOR["drift"]

    def true(drift: float) -> float:
        return float(-np.exp(level - 0.2 * (1 - drift) * math.log(100)).mean())

    assert np.median(law) == pytest.approx(true(centre), rel=0.1)
    low, high = np.quantile(law, [0.025, 0.975])
    assert low == pytest.approx(true(centre + 1.96 * sd), rel=0.15) and low < true(0.0) < high
