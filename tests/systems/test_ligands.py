"""Small molecules: what is read, what is chosen, and one sentence for each kind of bad input."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("openff.toolkit")

from rdkit import Chem
from rdkit.Chem import AllChem

from latentmd.sampling.metropolis.conformers import not_sampled
from latentmd.systems.builder import build
from latentmd.systems.ligands import read_ligand, records
from latentmd.systems.protocol import InputOptions, MoleculeError, Protocol


def _block(smiles: str, solid: bool = True, hydrogens: bool = True) -> str:
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    if solid:
        AllChem.EmbedMolecule(mol, randomSeed=1)
    else:
        AllChem.Compute2DCoords(mol)
    return Chem.MolToMolBlock(mol)


def _sdf(folder: Path, *blocks: str) -> Path:
    path = folder / "ligand.sdf"
    path.write_text("".join(f"{block}$$$$\n" for block in blocks))
    return path


BAD_SMILES = {
    "not SMILES": ("xyz", "is no SMILES"),
    "wrong valence": ("C(C)(C)(C)(C)C", "no valid molecule"),
    "cannot be aromatic": ("c1cccc1", "no valid molecule"),
    "salt": ("C[C@H](N)C(=O)[O-].[Na+]", "--strip-salts"),
    "two molecules": ("CCO.CCCC", "holds 2 molecules"),
    "undefined centre": ("CC(F)(Cl)Br", "undefined stereochemistry at C2"),
    "undefined double bond": ("CC=CC", "undefined stereochemistry at C2=C3"),
    "polymer's unit": ("*CC*", "placeholders"),
    "radical": ("[CH2]C", "unpaired electrons at C1"),
    "metal": ("C[Zn]C", "holds Zn"),
    "boron": ("CB(O)O", "holds B"),
    "selenium": ("C[Se]C", "holds Se"),
    "too large": ("C" * 140, "422 atoms"),
    "empty": ("", "finds no molecule"),
    "impossible rings": ("C1[C@H]2C[C@@H]1C=C2C#CC1[C@@]23C[C@]12C3", "(RDKit|undefined|valid)"),
}


@pytest.mark.parametrize("kind", BAD_SMILES)
def test_bad_smiles_get_one_sentence(kind: str) -> None:
    smiles, expected = BAD_SMILES[kind]
    with pytest.raises(MoleculeError, match=expected) as caught:
        build(Path("ligand"), Protocol(inputs=InputOptions(smiles=smiles)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("name\n  x\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\nbroken\n$$$$\n", "finds no molecule"),
        ("@<TRIPOS>MOLECULE\nbroken\n", "finds no molecule"),
        ("a table\nof numbers\n1 2 3\n", "no ATOM records"),
    ],
)
def test_bad_files_get_one_sentence(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "ligand.sdf"
    path.write_text(text)
    with pytest.raises(MoleculeError, match=expected) as caught:
        build(path)
    assert "\n" not in str(caught.value)


def test_a_record_and_a_force_field_that_are_not_there(tmp_path: Path) -> None:
    path = _sdf(tmp_path, _block("CCO"))
    with pytest.raises(MoleculeError, match="has 1 molecules, and --model-number is 3"):
        build(path, Protocol(inputs=InputOptions(model_number=3)))
    with pytest.raises(MoleculeError, match=r"no\.xml: expected an \.offxml"):
        build(path, Protocol(force_field=("no.xml",)))


def test_a_drawing_without_hydrogens_is_completed_and_keeps_its_handedness(tmp_path: Path) -> None:
    path = _sdf(tmp_path, _block("N[C@@H](C)C(=O)O", solid=False, hydrogens=False))
    molecule = build(path)
    assert molecule.topology.getNumAtoms() == 13
    assert any("7 hydrogens added" in note for note in molecule.notes)
    made = Chem.RemoveHs(Chem.MolFromMolBlock(molecule.ligand, removeHs=False))
    assert Chem.MolToSmiles(made) == Chem.MolToSmiles(Chem.MolFromSmiles("N[C@@H](C)C(=O)O"))
    assert any("stereocentres, which stay C2 (S)" in sentence for sentence in not_sampled(molecule.ligand))


def test_a_structure_is_kept_with_its_hydrogens_heavy_and_its_energy_as_in_openff(tmp_path: Path) -> None:
    import openmm

    block = _block("OCC(=O)[O-]")
    molecule = build(_sdf(tmp_path, block), Protocol("vacuum"))
    given = Chem.MolFromMolBlock(block, removeHs=False).GetConformer().GetPositions() / 10
    found = molecule.positions.value_in_unit(openmm.unit.nanometer)
    np.testing.assert_allclose(np.array(found), given, atol=1e-6)
    masses = [molecule.system.getParticleMass(i)._value for i in range(molecule.system.getNumParticles())]
    assert [m for m, a in zip(masses, molecule.topology.atoms(), strict=True) if a.element.symbol == "H"] == [3.0] * 3
    charged = next(f for f in molecule.system.getForces() if isinstance(f, openmm.NonbondedForce))
    total = sum(charged.getParticleParameters(i)[0]._value for i in range(len(masses)))
    assert total == pytest.approx(-1, abs=1e-4)


def test_solvents() -> None:
    inputs = InputOptions(smiles="OCC(=O)[O-]")
    kinds = {}
    for field in ((), ("implicit/gbn2.xml",)):
        system = build(Path("glycolate"), Protocol(force_field=field, inputs=inputs)).system
        kinds[field] = {type(force).__name__ for force in system.getForces()}
    assert "GBSAOBCForce" in kinds[()] and "CustomGBForce" in kinds[("implicit/gbn2.xml",)]


def test_salts_are_stripped_on_request() -> None:
    mol, notes = read_ligand(Path("x"), InputOptions(smiles="CCC(=O)[O-].[Na+]", strip_salts=True))
    assert Chem.MolToSmiles(mol) == "CCC(=O)[O-]"
    assert "charge of -1" in notes[0]


def test_several_molecules_and_isomers(tmp_path: Path) -> None:
    path = _sdf(tmp_path, _block("CCO"), _block("CCCO"))
    found = records(path, InputOptions())
    assert [inputs.model_number for inputs in found.values()] == [1, 2]
    isomers = records(Path("x"), InputOptions(smiles="CC(F)C=CC"), isomers=True)
    assert len({inputs.smiles for inputs in isomers.values()}) == 4
    drawn = records(_sdf(tmp_path, _block("CC(F)Cl", solid=False)), InputOptions(), isomers=True)
    assert sorted(inputs.smiles or "" for inputs in drawn.values()) == ["C[C@@H](F)Cl", "C[C@H](F)Cl"]
    assert all(build(path, Protocol(inputs=inputs)).topology.getNumAtoms() == 8 for inputs in drawn.values())


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(MoleculeError, match=r"pip install 'latentmd\[ligands\]'"):
        build(Path("ethanol"), Protocol(inputs=InputOptions(smiles="CCO")))


def test_a_pdb_file_gets_its_bonds_from_smiles(tmp_path: Path) -> None:
    mol = Chem.MolFromMolBlock(_block("CC(=O)Nc1ccccc1"), removeHs=False)
    path = tmp_path / "ligand.pdb"
    path.write_text(Chem.MolToPDBBlock(mol))
    read, _ = read_ligand(path, InputOptions(smiles="CC(=O)Nc1ccccc1"))
    assert Chem.MolToSmiles(Chem.RemoveHs(read)) == "CC(=O)Nc1ccccc1"
    with pytest.raises(MoleculeError, match="not those of --smiles"):
        read_ligand(path, InputOptions(smiles="CCCCCCCCCC(=O)O"))


@pytest.mark.parametrize("water", ["tip3p", "opc"])
def test_a_molecule_in_water_has_its_own_energy(water: str) -> None:
    """The box without water is the molecule: same energies term by term, charges neutralised by ions."""
    inputs = InputOptions(smiles="CC(=O)Oc1ccccc1C(=O)[O-]", water=water, box="cube", padding=0.65)  # type: ignore[arg-type]
    wet = build(Path("aspirin"), Protocol("explicit", inputs=inputs))
    dry = build(Path("aspirin"), Protocol("vacuum", inputs=InputOptions(smiles=inputs.smiles)))
    atoms = dry.topology.getNumAtoms()
    names = [residue.name for residue in wet.topology.residues()]
    assert names[0] == "LIG" and names.count("NA") == 1 and names.count("HOH") > 250
    assert wet.system.usesPeriodicBoundaryConditions()
    energies = []
    for molecule in (wet, dry):
        system, kept = openmm.System(), range(atoms)
        for i in kept:
            system.addParticle(molecule.system.getParticleMass(i))
        for force in molecule.system.getForces():
            if isinstance(force, openmm.NonbondedForce):
                own = openmm.NonbondedForce()
                for i in kept:
                    own.addParticle(*force.getParticleParameters(i))
                for i in range(force.getNumExceptions()):
                    first, second, *rest = force.getExceptionParameters(i)
                    if first < atoms and second < atoms:
                        own.addException(first, second, *rest)
                system.addForce(own)
            elif not isinstance(force, openmm.CMMotionRemover):
                system.addForce(copy.deepcopy(force))
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(wet.positions[:atoms])
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
        assert [system.getParticleMass(i)._value for i in kept] == [dry.system.getParticleMass(i)._value for i in kept]
    assert energies[0] == pytest.approx(energies[1], abs=1e-4) and abs(energies[1]) > 1
    held = [molecule.system.getNumConstraints() for molecule in (wet, dry)]
    assert held[0] == held[1] + 3 * names.count("HOH")


def test_a_smiles_of_one_heavy_atom_gets_its_hydrogens() -> None:
    methane = build(Path("methane"), Protocol("vacuum", inputs=InputOptions(smiles="C")))
    assert methane.topology.getNumAtoms() == 5 and "4 hydrogens added" in methane.notes
