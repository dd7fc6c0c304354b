"""Relaxation of many structures: only strained ones are minimised, and no further than MD's energies."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmd.sampling.paths.relax import relax


def _frames(alanine: Any) -> Any:
    rest = np.asarray(alanine.positions._value, dtype=np.float64)
    rng = np.random.default_rng(0)
    return np.stack([rest, rest + rng.normal(scale=0.02, size=rest.shape)])


def test_a_strained_structure_comes_down_to_the_limit_and_others_stay(alanine: Any) -> None:
    frames = _frames(alanine)
    rest = relax(alanine, frames[:1], None).energies[0]
    limits = (float(rest) + 40.0, float(rest) + 60.0)
    found = relax(alanine, frames, limits)
    assert found.minimised.tolist() == [False, True]
    assert found.energies[1] <= limits[1]
    assert np.abs(found.positions[0] - frames[0]).max() < 1e-4  # moved onto the constraints only


def test_without_limits_forces_decide(alanine: Any) -> None:
    found = relax(alanine, _frames(alanine), None)
    assert found.minimised.tolist() == [False, True]
    assert found.energies[1] < found.energies[0] + 200


def test_constraints_hold_afterwards(alanine: Any) -> None:
    found = relax(alanine, _frames(alanine), None)
    for k in range(alanine.system.getNumConstraints()):
        i, j, length = alanine.system.getConstraintParameters(k)
        distances = np.linalg.norm(found.positions[:, i] - found.positions[:, j], axis=1)
        assert np.abs(distances - length._value).max() < 1e-5
