"""The ensemble agrees where it has data, disagrees where it has none, and survives a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.hybrid.ensemble import Ensemble, fit_ensemble


def walks(count: int, frames: int, seed: int) -> list[np.ndarray]:
    """Ornstein-Uhlenbeck processes of two axes, correlation 0.9 per frame."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        x = np.empty((frames, 2))
        x[0] = rng.standard_normal(2)
        for i in range(1, frames):
            x[i] = 0.9 * x[i - 1] + np.sqrt(1 - 0.81) * rng.standard_normal(2)
        made.append(x)
    return made


def test_members_agree_on_the_mean_where_there_are_data_and_disagree_far_away() -> None:
    ensemble = fit_ensemble(walks(40, 200, 0), 1, 1)
    near = walks(1, 500, 2)[0]
    far = near + 6.0
    assert np.abs(ensemble.predict(near).mean(axis=0) - 0.9 * near).mean() < 0.1
    assert np.quantile(ensemble.disagreement(far), 0.05) > np.quantile(ensemble.disagreement(near), 0.99)
    np.testing.assert_allclose(ensemble.residual, np.sqrt(0.19), rtol=0.1)


def test_a_file_brings_it_back(tmp_path: Path) -> None:
    ensemble = fit_ensemble(walks(5, 50, 0), 2, 1)
    ensemble.save(tmp_path / "ensemble.npz")
    again = Ensemble.load(tmp_path / "ensemble.npz")
    points = np.random.default_rng(3).standard_normal((10, 2))
    np.testing.assert_array_equal(ensemble.disagreement(points), again.disagreement(points))


def test_bursts_that_are_too_short() -> None:
    with pytest.raises(ValueError, match="no burst is longer than the lag of 50 frames"):
        fit_ensemble(walks(3, 50, 0), 50, 1)
