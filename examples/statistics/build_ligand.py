"""A small molecule for OpenMM: PDB with CONECT records and a force-field XML with a template of its own.

    pip install rdkit
    python examples/statistics/build_ligand.py "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O" IBP --out examples/statistics/ibuprofen

writes ibuprofen.pdb and ibuprofen.xml. The force field is class I with the parameters of MMFF94 (Halgren, J. Comput.
Chem. 17, 490, 1996, as RDKit gives them): its force constants without the anharmonic and cross terms, its charges, its
van der Waals minima in Lennard-Jones form, 1-4 interactions scaled as in Amber, and planar centres held by impropers.
Good enough to try a workflow on; for research, parametrise with openmmforcefields and pass that XML.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

from rdkit import Chem
from rdkit.Chem import AllChem

KCAL = 4.184
BOND = 143.9325 * KCAL * 100  # md/Å to kJ/mol/nm²
ANGLE = 143.9325 * KCAL  # md Å/rad² to kJ/mol/rad²
IMPROPER = 4.6  # kJ/mol
LJ14, COULOMB14 = 0.5, 0.8333333


def embed(smiles: str, seed: int) -> Chem.Mol:
    """The molecule with hydrogens and a minimised conformer."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=seed)
    AllChem.MMFFOptimizeMolecule(molecule, maxIters=2000)
    return molecule


def force_field(molecule: Chem.Mol, residue: str, names: list[str]) -> ET.Element:
    """The XML; every atom has a type of its own, named as the atom."""
    mmff = AllChem.MMFFGetMoleculeProperties(molecule)
    root = ET.Element("ForceField")
    types, residues = ET.SubElement(root, "AtomTypes"), ET.SubElement(root, "Residues")
    template = ET.SubElement(residues, "Residue", name=residue)
    typed = [f"{residue}-{name}" for name in names]
    for atom, name, kind in zip(molecule.GetAtoms(), names, typed, strict=True):
        ET.SubElement(types, "Type", {"name": kind, "class": kind, "element": atom.GetSymbol(),
                                      "mass": f"{atom.GetMass():.4f}"})  # fmt: skip
        charge = mmff.GetMMFFPartialCharge(atom.GetIdx())
        ET.SubElement(template, "Atom", name=name, type=kind, charge=f"{charge:.5f}")
    bonds, angles = ET.SubElement(root, "HarmonicBondForce"), ET.SubElement(root, "HarmonicAngleForce")
    torsions = ET.SubElement(root, "PeriodicTorsionForce")
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        ET.SubElement(template, "Bond", atomName1=names[i], atomName2=names[j])
        _, k, r = mmff.GetMMFFBondStretchParams(molecule, i, j)
        _add(bonds, "Bond", typed, (i, j), length=r / 10, k=BOND * k)
    for atom in molecule.GetAtoms():
        j, around = atom.GetIdx(), [n.GetIdx() for n in atom.GetNeighbors()]
        for i, k in combinations(around, 2):
            _, ka, theta = mmff.GetMMFFAngleBendParams(molecule, i, j, k)
            _add(angles, "Angle", typed, (i, j, k), angle=theta * 3.14159265358979 / 180, k=ANGLE * ka)
        if len(around) == 3 and atom.GetHybridization() == Chem.HybridizationType.SP2:
            _add(torsions, "Improper", typed, (j, *around), periodicity1=2, phase1=3.14159265358979, k1=IMPROPER)
    for bond in molecule.GetBonds():
        _torsions(molecule, mmff, parent=torsions, typed=typed, a=bond.GetBeginAtom(), b=bond.GetEndAtom())
    nonbonded = ET.SubElement(root, "NonbondedForce", coulomb14scale=str(COULOMB14), lj14scale=str(LJ14))
    ET.SubElement(nonbonded, "UseAttributeFromResidue", name="charge")
    for i, kind in enumerate(typed):
        radius, epsilon = mmff.GetMMFFVdWParams(i, i)[:2]
        _add(nonbonded, "Atom", typed, (i,), sigma=radius / 10 / 2 ** (1 / 6), epsilon=epsilon * KCAL)
        nonbonded[-1].attrib = {"type": kind, **{k: v for k, v in nonbonded[-1].attrib.items() if k != "type1"}}
    return root


def _torsions(molecule: Chem.Mol, mmff: object, parent: ET.Element, typed: list[str], a: object, b: object) -> None:
    """MMFF torsions E = (V1 (1 + cos x) + V2 (1 - cos 2x) + V3 (1 + cos 3x)) / 2 about one bond."""
    for i in (n.GetIdx() for n in a.GetNeighbors() if n.GetIdx() != b.GetIdx()):
        for m in (n.GetIdx() for n in b.GetNeighbors() if n.GetIdx() != a.GetIdx()):
            found = mmff.GetMMFFTorsionParams(molecule, i, a.GetIdx(), b.GetIdx(), m) if i != m else None
            if not found:
                continue
            values = {}
            for n, v in enumerate(found[1:], start=1):
                phase = 3.14159265358979 if n == 2 else 0.0
                values |= {f"periodicity{n}": n, f"phase{n}": phase, f"k{n}": v * KCAL / 2}
            _add(parent, "Proper", typed, (i, a.GetIdx(), b.GetIdx(), m), **values)


def _add(parent: ET.Element, tag: str, typed: list[str], atoms: tuple[int, ...], **values: float) -> None:
    attributes = {f"type{n}": typed[i] for n, i in enumerate(atoms, start=1)}
    ET.SubElement(parent, tag, attributes | {k: f"{v:.8g}" for k, v in values.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("smiles")
    parser.add_argument("residue", help="name of three letters, not one that a force field knows")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    mol = embed(options.smiles, options.seed)
    counts: dict[str, int] = {}
    labels = []
    for atom in mol.GetAtoms():
        counts[atom.GetSymbol()] = counts.get(atom.GetSymbol(), 0) + 1
        labels.append(f"{atom.GetSymbol()}{counts[atom.GetSymbol()]}")
        info = Chem.AtomPDBResidueInfo(f" {labels[-1]:<3}", residueName=options.residue, residueNumber=1)
        info.SetIsHeteroAtom(True)
        info.SetChainId("A")
        atom.SetMonomerInfo(info)
    options.out.with_suffix(".pdb").write_text(Chem.MolToPDBBlock(mol, flavor=4), encoding="utf-8")
    tree = ET.ElementTree(force_field(mol, options.residue, labels))
    ET.indent(tree)
    tree.write(options.out.with_suffix(".xml"), encoding="utf-8")
