"""Representation metrics against known ranks, processes and fits."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis import representation
from latentmd.evaluation.latents import VampNets, vamp_metrics


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
    assert representation.rank_me(np.ones((10, 3))) == 1.0


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
    found = representation.tica_outputs(processes[:1], processes[1:], 10, 1)
    assert representation.vamp2_score(found, 10) == pytest.approx(exact, abs=0.04)
    outputs = representation.vampnet_outputs(processes[:1], processes[1:], 10, 1, seconds=0.0, seed=0)
    assert 1.2 < representation.vamp2_score(outputs, 10) < exact + 0.1


def test_resampled_vamp2_scatters_about_the_score_and_is_paired():
    rng = np.random.default_rng(6)
    runs = [_ornstein_uhlenbeck(np.array([0.95, 0.6]), 2000, rng) + 1e4 for _ in range(8)]
    mixed = [r @ np.array([[2.0, 1.0], [0.5, -1.0]]) for r in runs]
    slow = [r[:, :1] for r in runs]
    draws = representation.vamp2_resamples([runs, mixed, slow], 5, rng)
    score = representation.vamp2_score(runs, 5)
    low, high = np.quantile(draws[:, 0], [0.025, 0.975])
    assert low < score < high and high - low < 0.2
    np.testing.assert_allclose(draws[:, 0], draws[:, 1], atol=1e-6)
    assert (draws[:, 0] > draws[:, 2]).all()


def test_vamp_rows_give_every_rival_and_the_paired_difference(processes):
    inputs = [p[:, :2] for p in processes]
    nets = VampNets(seconds=0.0, seed=0)
    rows = vamp_metrics(inputs[:1], inputs[1:], slow=inputs[1:], kind="distances", lag=10, nets=nets)
    values = {m.name: m for m in rows}
    own, net = values["VAMP-2, slow axes"], values["VAMP-2, VAMPnet on distances"]
    assert own.value == pytest.approx(1 + 0.95**20 + 0.6**20, abs=0.04) and own.low < own.value < own.high
    assert values["VAMP-2, TICA on distances"].value == pytest.approx(own.value, abs=1e-6)
    gap = values["VAMP-2, slow axes less VAMPnet"]
    assert gap.value == pytest.approx(own.value - net.value) and gap.low < gap.value < gap.high
    assert "3 seeds" in net.note and net.note.count(".") >= 3


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
