"""Force fields and what they cannot describe, water boxes, and the solvent a force field brings."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.systems.builder import build
from latentmd.systems.dynamics import MdSettings, run_md
from latentmd.systems.parametrise import (
    barostat_fault,
    box_vectors,
    implicit_solvent,
    load_force_field,
    parametrise,
    refuse_unknown,
    solvated,
    temperature_fault,
    thermostat_fault,
    with_native_obc2,
)
from latentmd.systems.protocol import InputOptions, MoleculeError, Protocol
from latentmd.systems.sanity import in_nm

PATH = Path("made.pdb")
PROTEIN = "amber14/protein.ff14SB.xml"


def test_an_unreadable_force_field_is_named() -> None:
    with pytest.raises(MoleculeError, match=r"force field none\.xml cannot be read"):
        load_force_field(Protocol("vacuum", ("none.xml",)))


def test_the_system_has_the_protocols_constraints_and_masses(alanine: Any) -> None:
    protocol = Protocol(hydrogen_mass=2.5)
    system = parametrise(alanine.topology, load_force_field(protocol), protocol)
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
        parametrise(alanine.topology, load_force_field(protocol), protocol)


def test_unknown_residues_are_named(alanine: Any, residues: Any) -> None:
    protocol = Protocol("vacuum")
    force_field = load_force_field(protocol)
    refuse_unknown(alanine.topology, [], force_field, protocol)
    topology = app.Topology()
    foreign = topology.addResidue("LIG", topology.addChain())
    topology.addAtom("C1", app.element.carbon, foreign)
    (residue,) = residues("ALA")
    residue.found = residue.name = "LIG"
    with pytest.raises(MoleculeError, match=r"LIG \(A:1\)"):
        refuse_unknown(topology, [residue], force_field, protocol)


def test_water_is_added_around_a_bare_solute(alanine: Any) -> None:
    force_field = load_force_field(Protocol("explicit"))
    topology, positions, notes = solvated(alanine.topology, alanine.positions, force_field)
    waters = sum(residue.name == "HOH" for residue in topology.residues())
    assert waters > 200 and len(positions) == topology.getNumAtoms() == 22 + 3 * waters
    assert topology.getPeriodicBoxVectors() is not None
    assert str(waters) in notes[0]


@pytest.mark.parametrize(("box", "share"), [("cube", 1.0), ("dodecahedron", np.sqrt(0.5))])
def test_a_box_has_room_for_padding_and_cutoff(alanine: Any, box: Any, share: float) -> None:
    solute = in_nm(alanine.positions)
    vectors = box_vectors(solute, InputOptions(box=box))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(vectors[0, 0])  # images are equally far
    assert np.linalg.det(vectors) == pytest.approx(share * vectors[0, 0] ** 3)
    assert vectors[2, 2] >= 2.08  # twice the cutoff, when the box has shrunk
    assert vectors[0, 0] >= np.ptp(solute, axis=0).max() + 2.0 - 0.1
    wide = box_vectors(solute, InputOptions(box=box, padding=1.5))
    assert wide[0, 0] == pytest.approx(box_vectors(solute, InputOptions(box=box, padding=1.4))[0, 0] + 0.2)
    with pytest.raises(MoleculeError, match=rf"--padding 0.2 makes a {box} of .* nm, too small for the cutoff"):
        box_vectors(solute, InputOptions(box=box, padding=0.2))


def test_salt_and_another_water_model(alanine: Any) -> None:
    inputs = InputOptions(water="opc", salt=0.5, box="cube", padding=0.7)
    force_field = load_force_field(Protocol("explicit", inputs=inputs))
    topology, _, notes = solvated(alanine.topology, alanine.positions, force_field, inputs)
    names = [residue.name for residue in topology.residues()]
    assert names.count("NA") == names.count("CL") > 0 and notes[0].startswith("solvent: ")
    water = next(residue for residue in topology.residues() if residue.name == "HOH")
    assert len(list(water.atoms())) == 4


def test_water_of_the_file_takes_no_box(alanine: Any) -> None:
    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    topology.addAtom("O", app.element.oxygen, residue)
    topology.setPeriodicBoxVectors(3 * np.eye(3))
    with pytest.raises(MoleculeError, match="brings its water; leave out --box, --padding and --salt"):
        solvated(topology, None, load_force_field(Protocol("explicit")), InputOptions(salt=0.1))


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


BAROSTATS = {
    "MonteCarloBarostat": lambda kelvin: openmm.MonteCarloBarostat(1, kelvin),
    "MonteCarloAnisotropicBarostat": lambda kelvin: openmm.MonteCarloAnisotropicBarostat((1, 1, 1), kelvin),
    "MonteCarloFlexibleBarostat": lambda kelvin: openmm.MonteCarloFlexibleBarostat(1, kelvin),
    "MonteCarloMembraneBarostat": lambda kelvin: openmm.MonteCarloMembraneBarostat(
        1, 0, kelvin, openmm.MonteCarloMembraneBarostat.XYIsotropic, openmm.MonteCarloMembraneBarostat.ZFree
    ),
}


def _holding(*forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    system.addParticle(1.0)
    nonbonded = openmm.NonbondedForce()
    nonbonded.addParticle(0.0, 0.1, 0.0)
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    system.setDefaultPeriodicBoxVectors((3, 0, 0), (0, 3, 0), (0, 0, 3))
    for force in (nonbonded, *forces):
        system.addForce(force)
    return system


def test_nothing_is_wrong_with_other_forces() -> None:
    system = _holding(openmm.CMMotionRemover(), openmm.CustomExternalForce("x"))
    assert thermostat_fault(system) == barostat_fault(system) == temperature_fault({"k": 300.0}, 350.0) == ""


def test_a_thermostat_is_named_with_its_index() -> None:
    fault = thermostat_fault(_holding(openmm.AndersenThermostat(100 * unit.kelvin, 1)))
    assert "force 1, AndersenThermostat at 100 K" in fault and "removeForce(1)" in fault


@pytest.mark.parametrize("name", BAROSTATS)
def test_every_barostat_is_named(name: str) -> None:
    system = _holding(BAROSTATS[name](300))
    assert f"force 1, {name}" in barostat_fault(system) and thermostat_fault(system) == ""


@pytest.mark.parametrize("force", [*BAROSTATS, "AndersenThermostat"])
def test_no_run_takes_a_system_that_has_one(alanine: Any, tmp_path: Path, force: str) -> None:
    """From a file and from Python alike: run_md loses a box when it restarts the Context."""
    system = copy.deepcopy(alanine.system)
    system.addForce(BAROSTATS[force](350) if force in BAROSTATS else openmm.AndersenThermostat(100, 1))
    with pytest.raises(ValueError, match=f"{force}.*remove it with"):
        next(run_md(replace(alanine, system=system), MdSettings(1, 1.0, seed=0)))
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(tmp_path / "structure.pdb", "w") as file:
        app.PDBFile.writeFile(alanine.topology, alanine.positions, file)
    inputs = InputOptions(system=str(tmp_path / "system.xml"))
    with pytest.raises(MoleculeError, match=f"system.xml: the System has a .*{force}"):
        build(tmp_path / "structure.pdb", Protocol(inputs=inputs))


@pytest.mark.parametrize("name", BAROSTATS)
def test_the_temperature_of_a_barostat_is_read_from_the_context(name: str) -> None:
    context = openmm.Context(
        _holding(BAROSTATS[name](300)), openmm.VerletIntegrator(1), openmm.Platform.getPlatformByName("Reference")
    )
    parameters: Any = dict(context.getParameters())
    assert temperature_fault(parameters, 300.0) == ""
    assert temperature_fault(parameters, 350.0).startswith("the barostat is at 300 K, the model at 350 K")
