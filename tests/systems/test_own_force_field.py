"""Molecules with their own force field: the same energies as its program's, and one sentence for what does not fit."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.replicas.choice import unsupported
from latentmd.systems.builder import InputOptions, Molecule, MoleculeError, Protocol, build
from latentmd.systems.own_force_field import (
    SYSTEM_FILE,
    identity,
    inputs_beside,
    is_own,
    read_system,
    refuse_force_field,
    structure_of,
    write_system,
)

FILES = Path(__file__).parent / "own_force_field"
OTHERS: dict[str, dict[str, Any]] = {
    "ala.prmtop": {"positions": str(FILES / "ala.rst7")},
    "ala.top": {"positions": str(FILES / "ala.gro")},
    "ala.psf": {
        "positions": str(FILES / "ala.crd"),
        "parameters": (str(FILES / "ala.prm"), str(FILES / "ala.rtf")),
    },
    "ala.pdb": {"system": str(FILES / "system.xml")},
}
PARMED_CHARMM = 323.487695  # kJ/mol, of ala.psf by ParmEd 4.3.1: `python tests/systems/own_force_field/make.py`


def own(name: str, solvent: Any = "implicit", **changes: Any) -> Molecule:
    return build(FILES / name, Protocol(solvent, inputs=InputOptions(**{**OTHERS[name], **changes})))


def energy(molecule: Molecule, positions: Any) -> float:
    context = molecule.context(molecule.langevin(1), "Reference")
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy()._value)


@pytest.mark.parametrize(
    ("name", "solvent"),
    [("ala.prmtop", "implicit"), ("ala.prmtop", "vacuum"), ("ala.top", "vacuum"), ("ala.pdb", "implicit")],
)
def test_energies_are_those_of_the_force_field_that_the_files_were_made_of(name: str, solvent: Any) -> None:
    known = build(FILES / "ala.pdb", Protocol(solvent))
    molecule = own(name, solvent)
    assert energy(molecule, known.positions) == pytest.approx(energy(known, known.positions), abs=2e-4)
    assert not unsupported(molecule.system)
    assert not molecule.added
    assert molecule.own_force_field[0].endswith(("ala.prmtop", "ala.top", "system.xml"))


def test_a_charmm_psf_has_the_energy_that_another_program_finds() -> None:
    molecule = own("ala.psf", "vacuum")
    assert energy(molecule, molecule.positions) == pytest.approx(PARMED_CHARMM, abs=1e-3)
    assert not unsupported(own("ala.psf").system)


def test_coordinates_come_from_any_file_that_has_them() -> None:
    reference = own("ala.prmtop").positions.value_in_unit(unit.nanometer)
    for name, rounding in (("ala.crd", 1e-9), ("ala.pdb", 1e-9), ("ala.gro", 6e-4)):
        found = own("ala.prmtop", positions=str(FILES / name)).positions.value_in_unit(unit.nanometer)
        np.testing.assert_allclose(np.array(found), np.array(reference), atol=rounding)


def test_hydrogens_are_constrained_and_heavy() -> None:
    molecule = own("ala.prmtop")
    assert molecule.system.getNumConstraints() == 12
    masses = [molecule.system.getParticleMass(atom.index)._value for atom in molecule.topology.atoms()]
    assert min(masses) == pytest.approx(3.0)


def test_a_force_field_has_one_identity_however_it_comes(tmp_path: Path) -> None:
    molecule = own("ala.prmtop")
    assert is_own(molecule.protocol.force_field)
    assert molecule.protocol.force_field == (identity(molecule.system),)
    write_system(molecule, tmp_path)
    shutil.copy(FILES / "ala.pdb", tmp_path / "topology.pdb")
    inputs = inputs_beside(tmp_path / "topology.pdb")
    assert inputs.system == str(tmp_path / SYSTEM_FILE)
    again = build(tmp_path / "topology.pdb", Protocol(inputs=inputs))
    assert again.protocol.force_field == molecule.protocol.force_field


def test_bonds_that_a_pdb_file_leaves_out_come_from_the_system(tmp_path: Path) -> None:
    text = (FILES / "ala.pdb").read_text()
    bare = tmp_path / "bare.pdb"
    bare.write_text("\n".join(line for line in text.replace("ACE", "LIG").splitlines() if line[:6] != "CONECT"))
    molecule = build(bare, Protocol(inputs=InputOptions(system=str(FILES / "system.xml"))))
    assert molecule.topology.getNumBonds() == 21
    assert any("bonds that the file does not state" in note for note in molecule.notes)


def _prmtop_cut(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "cut.prmtop"
    path.write_text((FILES / "ala.prmtop").read_text()[:6000])
    return path, OTHERS["ala.prmtop"]


def _fewer_positions(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "few.gro"
    lines = (FILES / "ala.gro").read_text().splitlines()
    path.write_text("\n".join([lines[0], " 21", *lines[2:-2], lines[-1]]) + "\n")
    return FILES / "ala.top", {"positions": str(path)}


def _other_order(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "order.gro"
    lines = (FILES / "ala.gro").read_text().splitlines()
    lines[6], lines[7] = lines[7], lines[6]
    path.write_text("\n".join(lines) + "\n")
    return FILES / "ala.top", {"positions": str(path)}


def _missing_include(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "topol.top"
    path.write_text('#include "amber99sb-ildn.ff/forcefield.itp"\n[ system ]\nx\n[ molecules ]\nProtein 1\n')
    return path, OTHERS["ala.top"]


def _light_hydrogens(folder: Path) -> tuple[Path, dict[str, Any]]:
    pdb = app.PDBFile(str(FILES / "ala.pdb"))
    field = app.ForceField("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
    path = folder / "light.xml"
    path.write_text(openmm.XmlSerializer.serialize(field.createSystem(pdb.topology)))
    return FILES / "ala.pdb", {"system": str(path)}


def _no_radii(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "radii.prmtop"
    head, rest = (FILES / "ala.prmtop").read_text().split("%FLAG RADII", 1)
    body, flag, tail = rest.partition("%FLAG")
    kind, numbers = body.split("\n", 2)[1:]
    zeros = re.sub(r"\d\.\d+E[+-]\d+", "0.00000000E+00", numbers)
    path.write_text(f"{head}%FLAG RADII\n{kind}\n{zeros}{flag}{tail}")
    return path, OTHERS["ala.prmtop"]


def _restrained(folder: Path, before: str = "", after: str = "", section: str = "position_restraints") -> Path:
    path = folder / "restrained.top"
    text = f"{before}\n[ {section} ]\n; atom type\n 1 1 1000 1000 1000\n{after}\n[ system ]"
    path.write_text((FILES / "ala.top").read_text().replace("[ system ]", text, 1))
    return path


def _restraints(folder: Path) -> tuple[Path, dict[str, Any]]:
    return _restrained(folder), OTHERS["ala.top"]


def _other_molecule(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "order.pdb"
    lines = (FILES / "ala.pdb").read_text().splitlines()
    lines[5], lines[6] = lines[6], lines[5]
    path.write_text("\n".join(line for line in lines if line[:6] != "CONECT"))
    return path, OTHERS["ala.pdb"]


def _force_field(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "ff.xml"
    path.write_text("<ForceField>\n</ForceField>\n")
    return FILES / "ala.pdb", {"system": str(path)}


WRONG = {
    "no positions": (lambda _: (FILES / "ala.prmtop", {}), "implicit", "has no coordinates; add --positions"),
    "no parameters": (
        lambda _: (FILES / "ala.psf", {"positions": str(FILES / "ala.crd")}), "implicit",
        "a psf file has no parameters",
    ),
    "positions of nothing": (
        lambda _: (FILES / "ala.prmtop", {"positions": str(FILES / "make.py")}), "implicit", "holds no coordinates",
    ),
    "positions that are not there": (
        lambda _: (FILES / "ala.prmtop", {"positions": "nowhere.rst7"}), "implicit", "nowhere.rst7: no such file",
    ),
    "options about structures": (
        lambda _: (FILES / "ala.prmtop", {**OTHERS["ala.prmtop"], "ph": 4.0}), "implicit", "--ph has no meaning",
    ),
    "positions of a structure": (
        lambda _: (FILES / "ala.pdb", {"positions": str(FILES / "ala.gro")}), "implicit", "has coordinates",
    ),
    "gromacs in implicit solvent": (lambda _: (FILES / "ala.top", OTHERS["ala.top"]), "implicit", "--solvent vacuum"),
    "another solvent": (lambda _: (FILES / "ala.pdb", OTHERS["ala.pdb"]), "vacuum", "add --solvent implicit"),
    "no box": (lambda _: (FILES / "ala.prmtop", OTHERS["ala.prmtop"]), "explicit", "no periodic box"),
    "damaged prmtop": (_prmtop_cut, "implicit", "cannot be read as an Amber prmtop"),
    "fewer positions": (_fewer_positions, "vacuum", "has 21 atoms"),
    "other order": (_other_order, "vacuum", "not in the order of"),
    "missing include": (_missing_include, "vacuum", "set GMXDATA"),
    "time step": (_light_hydrogens, "implicit", "--timestep 1fs"),
    "no radii": (_no_radii, "implicit", "22 of 22 atoms have no radius for implicit solvent"),
    "restraints": (_restraints, "vacuum", "holds [ position_restraints ], which OpenMM does not read"),
    "other molecule": (_other_molecule, "implicit", "another order of atoms, or another molecule"),
    "a force field as system": (_force_field, "implicit", "goes with --force-field"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    make, solvent, message = WRONG[case]
    path, inputs = make(tmp_path)
    with pytest.raises(MoleculeError) as raised:
        build(path, Protocol(solvent, inputs=InputOptions(**inputs)))  # type: ignore[arg-type]
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_time_step_that_the_system_allows_is_taken(tmp_path: Path) -> None:
    path, inputs = _light_hydrogens(tmp_path)
    protocol = replace(Protocol(inputs=InputOptions(**inputs)), timestep=0.001)
    assert build(path, protocol).own_force_field


def test_a_system_in_a_box_of_water(tmp_path: Path) -> None:
    pdb = app.PDBFile(str(FILES / "ala.pdb"))
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(field, boxSize=openmm.Vec3(2.2, 2.2, 2.2))
    system = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=1 * unit.nanometer, constraints=app.HBonds,
        hydrogenMass=3 * unit.amu,
    )  # fmt: skip
    (tmp_path / "box.xml").write_text(openmm.XmlSerializer.serialize(system))
    text = io.StringIO()
    app.PDBFile.writeFile(modeller.topology, modeller.positions, text)
    (tmp_path / "box.pdb").write_text(text.getvalue())
    inputs = InputOptions(system=str(tmp_path / "box.xml"))
    molecule = build(tmp_path / "box.pdb", Protocol("explicit", inputs=inputs))
    assert molecule.box() is not None
    assert unsupported(molecule.system)
    with pytest.raises(MoleculeError, match="add --solvent explicit"):
        build(tmp_path / "box.pdb", Protocol("implicit", inputs=inputs))


@pytest.mark.parametrize("kept", ["distance_restraints", "dihedral_restraints", "intermolecular_interactions"])
def test_sections_that_openmm_passes_over_are_refused(kept: str, tmp_path: Path) -> None:
    path = _restrained(tmp_path, section=kept)
    with pytest.raises(MoleculeError, match=rf"\[ {kept} \], which OpenMM does not read"):
        build(path, Protocol("vacuum", inputs=InputOptions(**OTHERS["ala.top"])))


def test_restraints_that_are_switched_off_are_said(tmp_path: Path) -> None:
    path = _restrained(tmp_path, "#ifdef POSRES", "#endif")
    molecule = build(path, Protocol("vacuum", inputs=InputOptions(**OTHERS["ala.top"])))
    assert "restraints under #ifdef POSRES are off" in molecule.notes


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


def test_a_spring_longer_than_bonds_is_none(system: openmm.System, tmp_path: Path) -> None:
    made = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    next(f for f in made.getForces() if isinstance(f, openmm.HarmonicBondForce)).addBond(0, 21, 0.45, 20.0)
    (tmp_path / "ala.pdb").write_text("\n".join(_lines()))
    assert structure_of(tmp_path / "ala.pdb", made)[0].getNumBonds() == 21


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


def test_a_force_field_beside_the_molecules_own_is_refused() -> None:
    with pytest.raises(ValueError, match="brings its own force field"):
        refuse_force_field(FILES / "ala.prmtop", InputOptions(positions=str(FILES / "ala.rst7")))
    refuse_force_field(FILES / "ala.pdb", InputOptions())
