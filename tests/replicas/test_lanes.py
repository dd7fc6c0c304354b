"""The kernel's arithmetic in every instruction set of this processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the replica kernel was not compiled at installation")


@pytest.fixture(scope="module")
def chignolin() -> tuple[Any, np.ndarray, np.ndarray]:
    """System, positions (138, 3) near a minimum, and OpenMM's forces in double precision."""
    molecule = build(bundled("chignolin"))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(molecule.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
    x = np.asarray(context.getState(positions=True).getPositions(asNumpy=True)._value)
    context.setPositions(x + np.random.default_rng(0).normal(scale=0.002, size=x.shape))
    state = context.getState(positions=True, forces=True)
    return molecule.system, *(np.asarray(a._value) for a in (state.getPositions(True), state.getForces(True)))


@pytest.mark.parametrize("variant", LIBRARY.variants if LIBRARY else ())
@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_forces_of_a_large_molecule_do_not_suffer_from_its_size_or_place(
    chignolin: tuple[Any, np.ndarray, np.ndarray], variant: str, shift: float
) -> None:
    system, x, expected = chignolin
    engine = ReplicaEngine(system, (x + shift)[None], variant=variant, threads=1)
    off = np.sqrt(np.mean((engine.forces()[0] - expected) ** 2)) / np.sqrt(np.mean(expected**2))
    assert off < 4e-6


def test_bonded_forces_pull_nothing_as_a_whole(chignolin: tuple[Any, np.ndarray, np.ndarray]) -> None:
    system, x, expected = chignolin
    total = ReplicaEngine(system, x[None], threads=1).forces()[0].sum(axis=0)
    assert np.abs(total).max() < 1e-5 * np.abs(expected).sum()
