"""Force fields and what they cannot describe, water boxes, and the solvent a force field brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.systems.errors import MoleculeError
from latentmd.systems.parametrise import (
    implicit_solvent,
    load_force_field,
    parametrise,
    refuse_unknown,
    solvated,
    with_native_obc2,
)
from latentmd.systems.protocol import Protocol

PATH = Path("made.pdb")
PROTEIN = "amber14/protein.ff14SB.xml"


def test_an_unreadable_force_field_is_named() -> None:
    with pytest.raises(MoleculeError, match=r"force field none\.xml cannot be read"):
        load_force_field(Protocol("vacuum", ("none.xml",)))


def test_the_system_has_the_protocols_constraints_and_masses(alanine: Any) -> None:
    protocol = Protocol(hydrogen_mass=2.5)
    system = parametrise(alanine.topology, load_force_field(protocol), protocol, PATH)
    hydrogens = [atom.index for atom in alanine.topology.atoms() if atom.element.symbol == "H"]
    assert system.getNumConstraints() == len(hydrogens)
    assert {round(system.getParticleMass(i)._value, 6) for i in hydrogens} == {2.5}
    assert implicit_solvent(system) and any(isinstance(f, openmm.GBSAOBCForce) for f in system.getForces())


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        (Protocol("implicit", (PROTEIN,)), "has no implicit solvent; add --force-field implicit/obc2.xml"),
        (Protocol("vacuum", (PROTEIN, "implicit/obc2.xml")), "brings implicit solvent; use --solvent implicit"),
    ],
)
def test_solvent_and_force_field_must_fit(alanine: Any, protocol: Protocol, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        parametrise(alanine.topology, load_force_field(protocol), protocol, PATH)


def test_unknown_residues_are_named(alanine: Any, residues: Any) -> None:
    protocol = Protocol("vacuum")
    force_field = load_force_field(protocol)
    refuse_unknown(alanine.topology, [], force_field, protocol, PATH)
    topology = app.Topology()
    foreign = topology.addResidue("LIG", topology.addChain())
    topology.addAtom("C1", app.element.carbon, foreign)
    (residue,) = residues("ALA")
    residue.found = residue.name = "LIG"
    with pytest.raises(MoleculeError, match=r"LIG \(A:1\)"):
        refuse_unknown(topology, [residue], force_field, protocol, PATH)


def test_water_is_added_around_a_bare_solute(alanine: Any) -> None:
    force_field = load_force_field(Protocol("explicit"))
    topology, positions, notes = solvated(alanine.topology, alanine.positions, force_field)
    waters = sum(residue.name == "HOH" for residue in topology.residues())
    assert waters > 200 and len(positions) == topology.getNumAtoms() == 22 + 3 * waters
    assert topology.getPeriodicBoxVectors() is not None
    assert str(waters) in notes[0]


def test_water_without_a_cell_is_refused(alanine: Any) -> None:
    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    topology.addAtom("O", app.element.oxygen, residue)
    with pytest.raises(MoleculeError, match="add a CRYST1 record, or remove the water"):
        solvated(topology, None, load_force_field(Protocol("explicit")))


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
