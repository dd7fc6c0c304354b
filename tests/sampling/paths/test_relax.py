"""Relaxation of many structures: only strained ones are minimised, no further than MD's energies; settling."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmd.molecule.checks import torsions
from latentmd.sampling.paths.relax import relax, settle
from latentmd.units import GAS_CONSTANT


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


def test_settling_holds_the_torsions_and_heats_the_rest(alanine: Any) -> None:
    rest = relax(alanine, _frames(alanine)[:1], None)
    frames = np.repeat(rest.positions, 64, axis=0)
    quads = np.array([[4, 6, 8, 14], [6, 8, 14, 16]])
    found, energies = settle(alanine, frames, quads, seed=1)
    turned = np.degrees(np.angle(np.exp(1j * (torsions(found, quads) - torsions(frames, quads)))))
    assert 1.0 < turned.std() < 3.0  # springs of two degrees
    # Equipartition: half a kT for each degree of freedom but those of constraints, of the whole and of the springs.
    free = 3 * 22 - alanine.system.getNumConstraints() - 6 - 2
    half = 0.5 * GAS_CONSTANT * alanine.protocol.temperature
    assert energies.mean() - rest.energies[0] > 0.6 * free * half
    again, _ = settle(alanine, frames[:5], quads, seed=1)
    assert np.array_equal(again, found[:5])  # whatever is settled beside them


def test_settling_leaves_a_frame_whose_dynamics_breaks(alanine: Any) -> None:
    frames = np.repeat(relax(alanine, _frames(alanine)[:1], None).positions, 2, axis=0)
    frames[1, 5] = frames[1, 8] + 1e-7
    found, _ = settle(alanine, frames, np.zeros((0, 4), np.int64), seed=1)
    assert np.isfinite(found).all() and np.array_equal(found[1], frames[1])
    assert not np.array_equal(found[0], frames[0])
