"""Copies in one OpenMM System against the molecule alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from merged import MergedReplicas, energy_shift, merged_system

from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

CUTOFF = 3.0  # nm


@pytest.fixture(scope="module")
def peptides() -> list[Any]:
    """Two bundled molecules, of 22 and of 75 atoms, parametrised."""
    return [build(bundled(name)) for name in ("alanine_dipeptide", "met_enkephalin")]


def _integrator() -> openmm.Integrator:
    integrator = openmm.LangevinMiddleIntegrator(350.0, 1.0, 0.002)
    integrator.setRandomNumberSeed(1)
    return integrator


def _require_cuda() -> None:
    try:
        system = openmm.System()
        system.addParticle(1.0)
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CUDA"))
    except openmm.OpenMMException as error:
        pytest.skip(f"OpenMM has no CUDA device: {error}")


@pytest.mark.parametrize("platform", ["Reference", "CPU", pytest.param("CUDA", marks=pytest.mark.gpu)])
def test_forces_and_energy_are_those_of_single_copies(peptides: list[Any], platform: str) -> None:
    if platform == "CUDA":
        _require_cuda()
    molecule, rng = peptides[0], np.random.default_rng(0)
    start = np.array(molecule.positions._value)
    copies = start + rng.normal(scale=0.003, size=(5, *start.shape))
    single = openmm.Context(
        molecule.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    energy, forces = 0.0, []
    for x in copies:
        single.setPositions(x)
        state = single.getState(getEnergy=True, getForces=True)
        energy += state.getPotentialEnergy()._value
        forces.append(state.getForces(asNumpy=True)._value)
    merged = MergedReplicas(molecule.system, 5, integrator=_integrator(), cutoff=CUTOFF, platform=platform)
    merged.set_positions(copies)
    found = merged.context.getState(getEnergy=True).getPotentialEnergy()._value
    tolerance = 5e-2 if platform == "CUDA" else 5e-3
    assert found - 5 * energy_shift(molecule.system, CUTOFF) == pytest.approx(energy, abs=tolerance)
    rms = 1e-4 if platform == "CUDA" else 1e-5  # OpenMM's CUDA platform is in single precision by default
    assert np.sqrt(np.mean((merged.forces() - forces) ** 2)) < rms * np.sqrt(np.mean(np.square(forces)))


def test_copies_run_and_come_back_to_their_places(peptides: list[Any]) -> None:
    molecule = peptides[0]
    start = np.repeat(np.array(molecule.positions._value)[None], 3, axis=0)
    merged = MergedReplicas(molecule.system, 3, integrator=_integrator(), cutoff=CUTOFF, platform="CPU")
    merged.set_positions(start)
    merged.step(20)
    x = merged.positions()
    assert np.isfinite(x).all()
    assert np.abs(x[0] - x[1]).max() > 1e-4
    np.testing.assert_allclose(x.mean(axis=1), 0.0, atol=1e-6)


def test_a_molecule_beyond_the_cutoff_is_refused(peptides: list[Any]) -> None:
    molecule = peptides[0]
    merged = MergedReplicas(molecule.system, 1, integrator=_integrator(), cutoff=0.5, platform="Reference")
    with pytest.raises(ValueError, match="choose a larger one"):
        merged.set_positions(np.array(molecule.positions._value)[None])


def test_other_forces_are_refused_by_name() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(ValueError, match="CustomExternalForce"):
        merged_system(system, 2, CUTOFF)
