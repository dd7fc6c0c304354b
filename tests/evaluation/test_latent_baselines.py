"""Baselines that roll out a latent of their own."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.evaluation.latent_baselines import tica_flow


def test_flow_on_tica_coordinates_keeps_an_ornstein_uhlenbeck_process(monkeypatch):
    monkeypatch.setattr("latentmd.evaluation.latent_baselines._BATCH", 256)

    rng = np.random.default_rng(4)
    x = np.zeros((30_000, 1))
    for t in range(1, len(x)):
        x[t] = 0.8 * x[t - 1] + 0.6 * rng.normal()
    made = tica_flow(coordinates=[x], features=[x], lag=1, interval=10.0, walkers=32, steps=200, seconds=0.0, seed=0)
    assert len(made) == 32 and made[0].shape == (200, 1)
    everything = np.concatenate([m[50:] for m in made])
    assert np.std(everything) == pytest.approx(1.0, abs=0.25)
    pairs = np.concatenate([np.stack([m[:-1, 0], m[1:, 0]]) for m in made], axis=1)
    assert np.corrcoef(pairs)[0, 1] == pytest.approx(0.8, abs=0.08)
