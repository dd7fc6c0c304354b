"""An OpenMM System from a file, and the structure in its order."""

from __future__ import annotations

from pathlib import Path

import openmm
import pytest

from latentmd.systems.errors import MoleculeError
from latentmd.systems.system_xml import read_system, structure_of

FILES = Path(__file__).parent / "own_force_field"


@pytest.fixture(scope="module")
def system() -> openmm.System:
    return read_system(FILES / "system.xml")


def test_a_system_and_its_structure(system: openmm.System) -> None:
    topology, positions, notes = structure_of(FILES / "ala.pdb", system)
    assert topology.getNumAtoms() == system.getNumParticles() == len(positions) == 22
    assert topology.getNumBonds() == 21 and not notes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("<html></html>", "no System in it"),
        ("<ForceField></ForceField>", "--force-field"),
        ("<System><Particles>", "cannot be read"),
        (openmm.XmlSerializer.serialize(openmm.System()), "no System with particles"),
    ],
)
def test_what_is_no_system(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "system.xml"
    path.write_text(text)
    with pytest.raises(MoleculeError, match=reason) as caught:
        read_system(path)
    assert "\n" not in str(caught.value)


def _lines() -> list[str]:
    return (FILES / "ala.pdb").read_text().splitlines()


def test_structures_of_another_molecule_or_order_are_refused(system: openmm.System, tmp_path: Path) -> None:
    path = tmp_path / "other.pdb"
    path.write_text("\n".join(line for line in _lines() if " HB1 ALA" not in line))
    with pytest.raises(MoleculeError, match="has 21 atoms, the System 22 particles"):
        structure_of(path, system)
    lines = [line for line in _lines() if line[:6] != "CONECT"]
    first, second = (next(i for i, line in enumerate(lines) if name in line) for name in (" CA  ALA", " HA  ALA"))
    lines[first], lines[second] = lines[second], lines[first]
    path.write_text("\n".join(lines))
    with pytest.raises(MoleculeError, match="another order of atoms, or another molecule"):
        structure_of(path, system)
    with pytest.raises(MoleculeError, match="no PDB or mmCIF file"):
        structure_of(FILES / "ala.gro", system)


def test_bonds_that_the_file_lacks_come_from_constraints_and_bonds(system: openmm.System, tmp_path: Path) -> None:
    path = tmp_path / "bare.pdb"
    path.write_text("\n".join(line for line in _lines() if line[:6] != "CONECT").replace("ALA", "LIG"))
    topology, _, notes = structure_of(path, system)
    assert topology.getNumBonds() == 21 and "taken from the System" in notes[0]


def _custom(system: openmm.System) -> openmm.System:
    """The same System with its bonds, and pairs two bonds apart, in a CustomBondForce."""
    made = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    custom = openmm.CustomBondForce("k*(r-r0)^2")
    custom.addPerBondParameter("k")
    custom.addPerBondParameter("r0")
    for index in reversed(range(made.getNumForces())):
        force = made.getForce(index)
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, strength = force.getBondParameters(k)
                custom.addBond(i, j, [0.5 * strength._value, length._value])
            made.removeForce(index)
        elif isinstance(force, openmm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                i, _, j, *_ = force.getAngleParameters(k)
                custom.addBond(i, j, [0.0, 0.2])
    made.addForce(custom)
    return made


@pytest.mark.parametrize("bare", [True, False])
def test_bonds_of_custom_forces_are_bonds(system: openmm.System, tmp_path: Path, bare: bool) -> None:
    path = tmp_path / "ala.pdb"
    lines = [line for line in _lines() if line[:6] != "CONECT"] if bare else _lines()
    path.write_text("\n".join(lines).replace("ALA", "LIG" if bare else "ALA"))
    topology, _, notes = structure_of(path, _custom(system))
    assert topology.getNumBonds() == 21 and bool(notes) is bare
