"""Two molecules held together by a spring, as PDB file and OpenMM System, which `latentmd md` simulates.

    python examples/inputs/pair.py chignolin.pdb adenosine --between "TRP9 CZ2" "ADN1 C8" --out pair
    latentmd md pair.pdb --system pair.xml --walkers 16 --time 2ns --save-every 10ps --out md

The second molecule is another PDB file, or the nucleoside adenosine, built by RDKit. It is put where nothing of the
first is near. The spring, 0.5 k (r - 0.45 nm)² with k = 20 kJ/mol/nm² between two named atoms, stands among the bonds
of the System. ff14SB, OL3 and OBC2.
"""

from __future__ import annotations

import argparse
from io import StringIO
from pathlib import Path

import numpy as np
import openmm as mm
from openmm import app, unit

from latentmd.systems.parametrise import with_native_obc2

ADENOSINE = "Nc1ncnc2n(cnc12)[C@@H]1O[C@H](CO)[C@@H](O)[C@H]1O"
NAMES = "N6 C6 N1 C2 N3 C4 N9 C8 N7 C5 C1' O4' C4' C5' O5' C3' O3' C2' O2'".split()
LENGTH, STIFFNESS = 0.45, 20.0  # nm, kJ/mol/nm²
NEAREST = 0.35  # nm, of two atoms at the start


def adenosine() -> app.PDBFile:
    """Adenosine with a structure of RDKit's; heavy atoms have their names of the Protein Data Bank."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(ADENOSINE))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    for index, atom in enumerate(molecule.GetAtoms()):
        name = NAMES[index] if index < len(NAMES) else f"H{index}"
        atom.SetMonomerInfo(Chem.AtomPDBResidueInfo(f" {name:<3}", residueName="ADN", residueNumber=1, chainId="B"))
    return app.PDBFile(StringIO(Chem.MolToPDBBlock(molecule)))


def atom_named(topology: app.Topology, text: str) -> int:
    """Index of the atom named as "TRP9 CZ2"; SystemExit where there is none."""
    residue, _, name = text.partition(" ")
    for atom in topology.atoms():
        if (f"{atom.residue.name}{atom.residue.id}", atom.name) == (residue, name):
            return int(atom.index)
    raise SystemExit(f"no atom {text!r}; expected a residue with its number and an atom, such as 'TRP9 CZ2'")


def beside(first: np.ndarray, second: np.ndarray, ends: tuple[int, int]) -> np.ndarray:
    """`second` (atoms, 3) in nm, moved out from the middle of `first` through `ends` until no two atoms are near."""
    out = first[ends[0]] - first.mean(axis=0)
    out /= np.linalg.norm(out)
    for distance in np.arange(LENGTH, 5.0, 0.05):
        moved = second - second[ends[1]] + first[ends[0]] + distance * out
        if np.linalg.norm(moved[:, None] - first, axis=-1).min() > NEAREST:
            break
    return np.asarray(moved)


def main() -> None:
    """Write PDB file and System."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="PDB file")
    parser.add_argument("second", help="PDB file, or adenosine")
    parser.add_argument("--between", nargs=2, required=True, metavar="ATOM", help="ends of the spring")
    parser.add_argument("--out", default="pair", help="stem of the files")
    options = parser.parse_args()
    first = app.PDBFile(options.first)
    second = adenosine() if options.second == "adenosine" else app.PDBFile(options.second)
    ends = atom_named(first.topology, options.between[0]), atom_named(second.topology, options.between[1])
    one, other = (np.asarray(pdb.positions.value_in_unit(unit.nanometer)) for pdb in (first, second))
    both = app.Modeller(first.topology, first.positions)
    both.add(second.topology, beside(one, other, ends) * unit.nanometer)
    field = app.ForceField("amber14-all.xml", "implicit/obc2.xml")
    system = with_native_obc2(field.createSystem(both.topology, constraints=app.HBonds, hydrogenMass=3 * unit.amu))
    bonds = next(force for force in system.getForces() if isinstance(force, mm.HarmonicBondForce))
    bonds.addBond(ends[0], len(one) + ends[1], LENGTH, STIFFNESS)
    with Path(f"{options.out}.pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(both.topology, both.positions, file, keepIds=True)
    Path(f"{options.out}.xml").write_text(mm.XmlSerializer.serialize(system), encoding="utf-8")
    print(f"{options.out}.pdb, {options.out}.xml: {system.getNumParticles()} atoms")


if __name__ == "__main__":
    main()
