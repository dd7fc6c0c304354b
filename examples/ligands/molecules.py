"""Molecules to learn torsions from and to judge them by, from data that come with RDKit and OpenFF.

    python examples/ligands/molecules.py --out molecules

Writes `train.smi` (screening compounds and the NCI's, of RDKit's data) and `test.smi` (MiniDrugBank, of OpenFF's
toolkit), a SMILES and a name a line, in an order that is random once and for all. Neutral, with elements of Sage,
without rings of more than eight atoms; 15 to 50 atoms and 2 to 8 rotatable bonds to learn from, 20 to 75 atoms and 2
to 10 to judge by. No molecule to learn from has the Murcko scaffold of one to judge by, and chains without rings, which
all have the same scaffold, are split by the molecule. Undefined stereocentres get one isomer.
Needs `pip install '.[ligands]'`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openff.toolkit
from rdkit import Chem, RDConfig, RDLogger
from rdkit.Chem import EnumerateStereoisomers, rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

ELEMENTS = {"H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"}
SEED, LARGEST_RING = 2026, 8


def screening() -> Iterator[tuple[str, Chem.Mol | None]]:
    """Names and molecules of RDKit's data: compounds of the PAINS tests, and the first of the NCI's."""
    data = Path(RDConfig.RDDataDir)
    with (data / "Pains" / "test_data" / "wehi_mols.csv").open(encoding="utf-8") as file:
        for smiles, name in csv.reader(file):
            yield name.strip(), Chem.MolFromSmiles(smiles)
    for line in (data / "NCI" / "first_5K.smi").read_text(encoding="utf-8").splitlines():
        smiles, number = line.split()[:2]
        yield f"NCI-{number}", Chem.MolFromSmiles(smiles)


def drugs() -> Iterator[tuple[str, Chem.Mol | None]]:
    """Names and molecules of MiniDrugBank."""
    path = Path(openff.toolkit.__file__).parents[1] / "toolkit" / "data" / "molecules" / "MiniDrugBank.sdf"
    for mol in Chem.SDMolSupplier(str(path)):
        if mol is not None:
            Chem.AssignStereochemistryFrom3D(mol)
        yield ("" if mol is None else mol.GetProp("_Name")), mol


def fits(mol: Chem.Mol | None, atoms: tuple[int, int], rotatable: tuple[int, int]) -> bool:
    """Whether a molecule is one neutral piece of these elements and sizes."""
    if mol is None or len(Chem.GetMolFrags(mol)) != 1 or Chem.GetFormalCharge(mol):
        return False
    if any(atom.GetSymbol() not in ELEMENTS or atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return False
    if any(len(ring) > LARGEST_RING for ring in mol.GetRingInfo().AtomRings()):
        return False
    count, turning = Chem.AddHs(mol).GetNumAtoms(), rdMolDescriptors.CalcNumRotatableBonds(mol)
    return atoms[0] <= count <= atoms[1] and rotatable[0] <= turning <= rotatable[1]


def one_isomer(mol: Chem.Mol) -> str:
    """SMILES with every stereocentre defined: the molecule's own, or the first isomer by spelling."""
    options = EnumerateStereoisomers.StereoEnumerationOptions(maxIsomers=8, rand=SEED)
    return min(Chem.MolToSmiles(one) for one in EnumerateStereoisomers.EnumerateStereoisomers(mol, options=options))


def scaffold(smiles: str) -> str:
    """Murcko scaffold without stereochemistry; the molecule itself where it has no ring."""
    found = MurckoScaffold.MurckoScaffoldSmiles(smiles, includeChirality=False)
    return found or Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


def chosen(
    found: Iterator[tuple[str, Chem.Mol | None]], atoms: tuple[int, int], rotatable: tuple[int, int]
) -> dict[str, str]:
    """Names of the molecules that fit, by SMILES, each once."""
    kept: dict[str, str] = {}
    for name, mol in found:
        if fits(mol, atoms, rotatable):
            kept.setdefault(one_isomer(Chem.MolFromSmiles(Chem.MolToSmiles(mol))), name.replace(" ", "-"))
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("molecules"))
    out = parser.parse_args().out
    RDLogger.DisableLog("rdApp.*")
    test = chosen(drugs(), (20, 75), (2, 10))
    seen = {scaffold(smiles) for smiles in test}
    train = {s: n for s, n in chosen(screening(), (15, 50), (2, 8)).items() if scaffold(s) not in seen}
    out.mkdir(parents=True, exist_ok=True)
    for which, molecules in (("train", train), ("test", test)):
        order = np.random.default_rng(SEED).permutation(len(molecules))
        lines = [f"{smiles} {name}" for smiles, name in molecules.items()]
        (out / f"{which}.smi").write_text("".join(f"{lines[i]}\n" for i in order), encoding="utf-8")
        print(f"{which}: {len(molecules)} molecules, {len({scaffold(s) for s in molecules})} scaffolds")
