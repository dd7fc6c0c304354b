"""The model of the reference on a process that hops between two states."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis.features import EvaluationError, FeatureSpec
from latentmd.analysis.reference import ReferenceModel, check_length, lag_frames

SPEC = FeatureSpec("distances", ("a", "b"), np.zeros((2, 2), dtype=np.int64), ())


def _hops(frames: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    state = np.cumsum(rng.random(frames) < 0.05) % 2
    return np.column_stack([state, rng.random(frames)]) + rng.normal(0, 0.05, (frames, 2))


def test_macrostates_are_the_two_states() -> None:
    runs = [_hops(3000, seed) for seed in range(3)]
    model = ReferenceModel(SPEC, runs, 2.0, lag=10.0, temperature=300.0, seed=0)
    assert model.lag == 5 and model.sets == 2 and model.dense is not runs
    populations = model.macrostates(model.paths)
    np.testing.assert_allclose(populations, 0.5, atol=0.06)
    state = model.membership[model.discretise(model.project(runs)[0])]
    agree = np.mean(state == (runs[0][:, 0] > 0.5))
    assert max(agree, 1 - agree) > 0.98


def test_a_reference_that_does_not_move_is_refused() -> None:
    with pytest.raises(EvaluationError, match="same structure"):
        ReferenceModel(SPEC, [np.ones((100, 2))], 1.0, lag=5.0, temperature=300.0, seed=0)


def test_lags_are_whole_numbers_of_frames() -> None:
    assert lag_frames(100.0, 2.5) == 40
    with pytest.raises(EvaluationError, match="no whole number of frames 3 ps apart"):
        lag_frames(100.0, 3.0)
    with pytest.raises(EvaluationError, match="the longest generated run holds 10 frames"):
        check_length("generated", [np.zeros((10, 1))], 5, 1.0)
