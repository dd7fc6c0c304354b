"""The native OBC2 force in place of the custom one: the same energies and forces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.systems.implicit import implicit_solvent, with_native_obc2

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def _system(solvent: str) -> tuple[Any, openmm.System]:
    pdb = app.PDBFile(str(ALANINE))
    force_field = app.ForceField("amber14/protein.ff14SB.xml", *([solvent] if solvent else []))
    return pdb, force_field.createSystem(pdb.topology)


def _state(system: openmm.System, positions: Any) -> Any:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(energy=True, forces=True)


def test_the_native_force_has_the_same_energies_and_forces() -> None:
    pdb, system = _system("implicit/obc2.xml")
    expected = _state(system, pdb.positions)
    native = with_native_obc2(system)
    kinds = {type(force).__name__ for force in native.getForces()}
    assert "GBSAOBCForce" in kinds and "CustomGBForce" not in kinds
    found = _state(native, pdb.positions)
    assert found.getPotentialEnergy()._value == pytest.approx(expected.getPotentialEnergy()._value, abs=1e-3)
    np.testing.assert_allclose(found.getForces(asNumpy=True)._value, expected.getForces(asNumpy=True)._value, atol=0.05)


def test_another_model_is_left_alone() -> None:
    _, system = _system("implicit/gbn2.xml")
    kinds = {type(force).__name__ for force in with_native_obc2(system).getForces()}
    assert "CustomGBForce" in kinds and "GBSAOBCForce" not in kinds


def test_implicit_solvent_is_seen() -> None:
    assert implicit_solvent(_system("implicit/obc2.xml")[1])
    assert not implicit_solvent(_system("")[1])
