"""Representation metrics against known ranks, processes and fits."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.evaluation import representation


def _ornstein_uhlenbeck(rhos, length, rng):
    x = np.empty((length, len(rhos)))
    x[0] = rng.normal(size=len(rhos))
    noise = rng.normal(size=x.shape) * np.sqrt(1 - np.square(rhos))
    for t in range(1, length):
        x[t] = rhos * x[t - 1] + noise[t]
    return x


@pytest.fixture(scope="module")
def processes():
    rng = np.random.default_rng(0)
    return [_ornstein_uhlenbeck(np.array([0.95, 0.6, 0.0]), 40_000, rng) for _ in range(2)]


def test_rank_of_known_spectra():
    rng = np.random.default_rng(1)
    assert representation.rank_me(rng.normal(size=(200_000, 8))) == pytest.approx(8, abs=0.01)
    line = rng.normal(size=(1000, 1)) * np.ones((1, 8))
    assert representation.rank_me(line) == pytest.approx(1, abs=1e-3)
    assert representation.rank_me(np.ones((10, 3))) == 0.0


def test_axis_deviations():
    x = np.random.default_rng(2).normal(size=(100_000, 2)) * [0.1, 3.0]
    np.testing.assert_allclose(representation.axis_deviations(x), [0.1, 1.55], rtol=0.02)


def test_vamp2_of_an_ornstein_uhlenbeck_process(processes):
    """Squared correlations of the axes at the lag, plus one; unchanged by any linear mixing."""
    exact = 1 + 0.95**20 + 0.6**20
    mixing = np.random.default_rng(3).normal(size=(3, 3))
    plain = representation.vamp2_score(processes, 10)
    assert plain == pytest.approx(exact, abs=0.03)
    assert representation.vamp2_score([p @ mixing for p in processes], 10) == pytest.approx(plain, abs=1e-9)


def test_vamp2_agrees_with_deeptime(processes):
    from deeptime.decomposition import VAMP

    model = VAMP(lagtime=10, epsilon=1e-12).fit_from_timeseries(processes).fetch_model()
    assert representation.vamp2_score(processes, 10) == pytest.approx(model.score(2), abs=1e-6)


def test_tica_and_vampnet_find_the_slow_axes(processes):
    exact = 1 + 0.95**20
    assert representation.tica_scores(processes[:1], processes[1:], 10, 1) == pytest.approx(exact, abs=0.04)
    score = representation.vampnet_scores(processes[:1], processes[1:], 10, 1, seconds=0.0, seed=0)
    assert 1.2 < score < exact + 0.1


def test_linear_probe():
    rng = np.random.default_rng(4)
    x, noise = rng.normal(size=(4000, 5)), rng.normal(size=(4000, 1))
    y = np.concatenate([x[:, :1] * 2 + 1, x[:, 1:2] + noise, np.ones((4000, 1))], axis=1)
    score = representation.linear_probe_r2(x[:2000], y[:2000], x[2000:], y[2000:])
    assert score[0] == pytest.approx(1, abs=1e-6)
    assert score[1] == pytest.approx(0.5, abs=0.05)
    assert np.isnan(score[2])


def test_persistence_gain_of_the_exact_predictor(processes):
    x = processes[0][:, :1]
    gain = representation.persistence_gain(x[:-10], x[10:], 0.95**10 * x[:-10])
    rho = 0.95**10
    assert gain == pytest.approx(1 - (1 - rho**2) / (2 - 2 * rho), abs=0.02)
    with pytest.raises(ValueError, match="does not change"):
        representation.persistence_gain(x, x, x)
