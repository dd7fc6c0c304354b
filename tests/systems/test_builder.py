"""PDB files in, parametrised molecules out, or one clear message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.systems.builder import MoleculeError, Protocol, build

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
ALANINE = MOLECULES / "alanine_dipeptide.pdb"


def energy(system: openmm.System, positions: Any) -> float:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def edited(tmp_path: Path, change: Callable[[list[str]], list[str]], source: Path = ALANINE) -> Path:
    path = tmp_path / "edited.pdb"
    path.write_text("\n".join(change(source.read_text().splitlines())) + "\n")
    return path


def forces_of(system: openmm.System) -> set[str]:
    return {type(force).__name__ for force in system.getForces()}


def test_defaults_are_the_reference_protocol() -> None:
    molecule = build(ALANINE)
    assert molecule.added == ()
    assert "GBSAOBCForce" in forces_of(molecule.system)
    assert molecule.system.getNumConstraints() == 12  # every bond to hydrogen
    hydrogens = [a.index for a in molecule.topology.atoms() if a.element.symbol == "H"]
    masses = {molecule.system.getParticleMass(i)._value for i in hydrogens}
    assert masses == {3.0}
    assert molecule.box() is None


@pytest.mark.parametrize("name", ["alanine_dipeptide", "met_enkephalin", "chignolin"])
def test_native_obc2_has_the_energy_of_the_xml(name: str) -> None:
    molecule = build(MOLECULES / f"{name}.pdb")
    field = app.ForceField("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
    custom = field.createSystem(molecule.topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    assert "CustomGBForce" in forces_of(custom)
    rng = np.random.default_rng(0)
    start = np.array(molecule.positions.value_in_unit(unit.nanometer))
    for _ in range(3):
        positions = start + rng.normal(scale=0.003, size=start.shape)
        assert energy(molecule.system, positions) == pytest.approx(energy(custom, positions), abs=1e-3, rel=1e-6)


def test_another_implicit_model_stays_as_it_is() -> None:
    molecule = build(ALANINE, Protocol(force_field=("amber14/protein.ff14SB.xml", "implicit/gbn2.xml")))
    assert "CustomGBForce" in forces_of(molecule.system)


def test_vacuum_has_no_solvent() -> None:
    molecule = build(ALANINE, Protocol(solvent="vacuum"))
    assert not forces_of(molecule.system) & {"GBSAOBCForce", "CustomGBForce"}


def test_explicit_solvent_is_added_and_reported() -> None:
    molecule = build(ALANINE, Protocol(solvent="explicit"))
    assert molecule.system.usesPeriodicBoundaryConditions()
    (note,) = molecule.added
    assert note.startswith("solvent: ") and note.endswith(" HOH")
    box = molecule.box()
    assert box is not None and box.shape == (3, 3)


def test_any_other_force_field() -> None:
    molecule = build(ALANINE, Protocol(force_field=("amber99sbildn.xml", "amber99_obc.xml")))
    assert "GBSAOBCForce" in forces_of(molecule.system)


def test_missing_hydrogens_and_heavy_atoms_are_added_and_reported(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda lines: [x for x in lines if x[76:78].strip() != "H" and x[12:16].strip() != "CB"])
    molecule = build(path)
    assert molecule.topology.getNumAtoms() == 22
    assert "A:ALA2:CB" in molecule.added
    assert sum(":H" in label for label in molecule.added) == 12


def test_one_missing_hydrogen_is_added(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda lines: [x for x in lines if not (x[12:16].strip() == "HA" and "ALA" in x)])
    assert build(path).added == ("A:ALA2:HA",)


def test_added_atoms_are_the_same_every_time(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda lines: [x for x in lines if x[76:78].strip() != "H"])
    np.random.seed(5)
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    first, second = build(path), build(path)
    a, b = (np.array(m.positions.value_in_unit(unit.nanometer)) for m in (first, second))
    assert np.allclose(a, b, atol=1e-4)
    assert np.array_equal(np.random.get_state()[1], state)  # type: ignore[arg-type]


def test_water_in_the_file_is_left_out_of_implicit_solvent_and_said_so(tmp_path: Path) -> None:
    water = "HETATM  100  O   HOH B 900      30.000  30.000  30.000  1.00  0.00           O"
    path = edited(tmp_path, lambda lines: [*[x for x in lines if not x.startswith(("END", "CONECT"))], water, "END"])
    molecule = build(path)
    assert molecule.topology.getNumAtoms() == 22
    assert molecule.notes == ("water and ions left out (1 HOH); --solvent explicit keeps them",)


@pytest.mark.parametrize("name", ["LIG", "XYZ"])
def test_unknown_residues_are_named(tmp_path: Path, name: str) -> None:
    path = edited(tmp_path, lambda lines: [x.replace("ALA", name) if x.startswith("ATOM") else x for x in lines])
    with pytest.raises(MoleculeError, match=rf"unknown residues .*{name} \(A:2\).*--force-field"):
        build(path)


@pytest.mark.parametrize(
    ("text", "reason"), [("", "is empty"), ("hello\n", "no ATOM records"), ("ATOM  nonsense\n", "not a readable PDB")]
)
def test_files_without_a_molecule(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.pdb"
    path.write_text(text)
    with pytest.raises(MoleculeError, match=reason):
        build(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MoleculeError, match="no such file"):
        build(tmp_path / "none.pdb")
    with pytest.raises(MoleculeError, match="not a file"):
        build(tmp_path)


def test_non_finite_coordinates_are_refused(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda lines: [x[:30] + "     nan" + x[38:] if " CA  ALA" in x else x for x in lines])
    with pytest.raises(MoleculeError, match="A:ALA2:CA are not finite"):
        build(path)


def test_force_field_and_solvent_must_agree() -> None:
    with pytest.raises(MoleculeError, match="has no implicit solvent"):
        build(ALANINE, Protocol(force_field=("amber14/protein.ff14SB.xml",)))
    with pytest.raises(MoleculeError, match="brings implicit solvent"):
        build(ALANINE, Protocol("vacuum", ("amber14/protein.ff14SB.xml", "implicit/obc2.xml")))
    with pytest.raises(MoleculeError, match=r"nothing\.xml cannot be read"):
        build(ALANINE, Protocol(force_field=("nothing.xml",)))


def test_molecules_survive_a_pickle() -> None:
    import pickle

    molecule = build(ALANINE)
    copy = pickle.loads(pickle.dumps(molecule))
    assert energy(copy.system, copy.positions) == pytest.approx(energy(molecule.system, molecule.positions), abs=1e-9)


def test_arguments_of_another_type_are_named() -> None:
    with pytest.raises(TypeError, match="pdb is 5; expected the path of a file"):
        build(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="protocol is 'implicit'; expected a Protocol"):
        build("a.pdb", "implicit")  # type: ignore[arg-type]
