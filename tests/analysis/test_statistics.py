"""Distribution statistics against scipy, closed forms and known processes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from latentmd.analysis import statistics


def _ar1(rho, length, rng, runs=1):
    noise = rng.normal(size=(runs, length)) * np.sqrt(1 - rho**2)
    x = np.empty((runs, length))
    x[:, 0] = rng.normal(size=runs)
    for t in range(1, length):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    return list(x)


def test_js_distance_is_scipys():
    rng = np.random.default_rng(0)
    p, q = rng.random((50, 50)), rng.random((50, 50)) ** 4
    p[:10] = 0
    assert statistics.js_distance(p, q) == pytest.approx(jensenshannon(p.ravel(), q.ravel()), abs=1e-12)
    assert statistics.js_distance([1, 0], [0, 1]) == pytest.approx(np.sqrt(np.log(2)), abs=1e-12)
    assert statistics.js_distance([3, 1], [6, 2]) == 0.0


def test_js_distance_of_two_gaussians_matches_the_integral():
    from scipy.integrate import quad
    from scipy.stats import norm

    p, q = norm(0, 1), norm(1, 1.5)

    def integrand(x):
        m = 0.5 * (p.pdf(x) + q.pdf(x))
        return 0.5 * (p.pdf(x) * np.log(p.pdf(x) / m) + q.pdf(x) * np.log(q.pdf(x) / m))

    expected = quad(integrand, -9, 10)[0]
    rng = np.random.default_rng(0)
    a, b = p.rvs(400_000, random_state=rng), q.rvs(400_000, random_state=rng)
    got = statistics.sample_js_distance(a, b, statistics.joint_grid(a, b)) ** 2
    assert got == pytest.approx(expected, rel=0.02)


def test_grid_agrees_with_numpy_histograms():
    rng = np.random.default_rng(1)
    xy = rng.uniform(-np.pi, np.pi, (5000, 2))
    xy[0] = [np.pi, -np.pi]
    edges = np.linspace(-np.pi, np.pi, 51)
    np.testing.assert_array_equal(
        statistics.TORSION_PAIR_GRID.counts(xy), np.histogram2d(xy[:, 0], xy[:, 1], bins=[edges, edges])[0]
    )
    one = np.histogram(xy[:, 0], bins=100, range=(-np.pi, np.pi))[0]
    np.testing.assert_array_equal(statistics.TORSION_GRID.counts(xy[:, 0]), one)


def test_effective_samples_of_an_autoregressive_process():
    """AR(1) with coefficient rho has 1 + 2 sum rho^k = (1 + rho) / (1 - rho)."""
    series = _ar1(0.9, 100_000, np.random.default_rng(2), runs=2)
    assert statistics.effective_samples(series) == pytest.approx(200_000 * 0.1 / 1.9, rel=0.05)
    white = [np.random.default_rng(3).normal(size=20_000)]
    assert statistics.effective_samples(white) == pytest.approx(20_000, rel=0.05)
    assert statistics.effective_samples([np.ones(100), np.ones(50)]) == 2.0


def test_autocorrelation_matches_a_direct_sum_over_runs():
    rng = np.random.default_rng(4)
    runs = [rng.normal(size=40).cumsum(), rng.normal(size=25).cumsum()]
    mean = np.concatenate(runs).mean()
    direct = []
    for k in range(6):
        pairs = np.concatenate([(r[: len(r) - k] - mean) * (r[k:] - mean) for r in runs])
        direct.append(pairs.mean())
    np.testing.assert_allclose(statistics.autocorrelation(runs, 5), np.array(direct) / direct[0], atol=1e-12)


def test_bootstrap_interval_of_a_mean_matches_its_standard_error():
    rng = np.random.default_rng(5)
    samples = rng.normal(size=400)
    sums = np.stack([samples, np.ones(400)], axis=1)
    low, high = statistics.bootstrap_interval(sums, lambda s: s[0] / s[1], rng, resamples=4000)
    assert (high - low) / 2 == pytest.approx(1.96 * samples.std() / 20, rel=0.08)
    assert np.isnan(statistics.bootstrap_interval(sums[:1], lambda s: s[0], rng)[0])


def test_floor_of_independent_samples_is_the_analytic_one():
    rng = np.random.default_rng(6)
    bins = 50
    runs = [rng.integers(0, bins, 100_000) for _ in range(4)]
    floor = statistics.finite_sample_floor(runs, bins, 10_000, 1_000, rng, splits=8)
    assert floor.value == pytest.approx(statistics.analytic_floor(bins, 10_000, 390_000), rel=0.15)
    assert floor.effective == pytest.approx(statistics.analytic_floor(bins, 1_000, 399_000), rel=0.15)
    assert floor.independent == pytest.approx(statistics.analytic_floor(bins, 10_000, 390_000), rel=0.15)
    assert floor.frames == 10_000
    assert statistics.finite_sample_floor(runs, bins, 900_000, 1, rng).frames == 200_000


def test_floor_of_a_correlated_run_lies_above_that_of_independent_frames():
    hops = np.cumsum(np.random.default_rng(8).random(40_000) < 0.002) % 2
    floor = statistics.finite_sample_floor([hops], 2, 4000, 40, np.random.default_rng(0), splits=8)
    assert floor.value > 3 * floor.independent
    assert floor.effective > 3 * floor.independent


def test_binomial_interval_is_wilsons():
    p, n, z = 0.99, 1000, 1.959963984540054
    centre, half = (p + z**2 / 2 / n) / (1 + z**2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2) / (1 + z**2 / n)
    np.testing.assert_allclose(statistics.binomial_interval(p, n), [centre - half, centre + half], atol=1e-9)
    assert statistics.binomial_interval(1.0, 500)[1] == 1.0


def test_blocks_never_span_two_runs():
    assert statistics.split_blocks([10, 3, 4], 4) == [(0, 0, 4), (0, 4, 8), (1, 0, 3), (2, 0, 4)]


def test_missing_region_is_seen():
    rng = np.random.default_rng(7)
    reference = np.concatenate([rng.normal(0, 0.05, (1000, 2)), rng.normal(1, 0.05, (1000, 2))])
    assert not statistics.missing_region(reference[::3], reference)
    assert statistics.missing_region(reference[:1000], reference)


def test_impossible_comparisons_are_refused():
    with pytest.raises(ValueError, match="same bins"):
        statistics.js_distance(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="empty histogram"):
        statistics.js_distance(np.zeros(3), np.ones(3))
