"""A molecule's chemistry: the same from OpenMM and mdtraj, whatever names a program gives."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mdtraj
import pytest
from openmm import app
from pdbfixer import PDBFixer

from latentmd.molecule.chemistry import AMINO_ACIDS, ATOMIC_WEIGHTS, Chemistry, chemistry, fingerprint, residue_tokens
from latentmd.systems.peptide import backbone, pdb_block

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def from_text(text: str) -> app.Topology:
    return app.PDBFile(io.StringIO(text)).topology


def test_histidine_names_share_a_residue_type() -> None:
    lines = [line for line in PDB.read_text().splitlines() if " ALA " in line]
    for name in ("HID", "HIE", "HSD"):
        record = chemistry(mdtraj_topology_with(lines, name))
        assert set(record.residues) == {"HIS"}


def mdtraj_topology_with(lines: list[str], residue: str) -> mdtraj.Topology:
    """A topology of ALA's atoms and bonds whose residue has another name."""
    topology = from_text("\n".join([*lines, "END", ""]))
    out = mdtraj.Topology.from_openmm(topology)
    next(out.residues).name = residue
    return out


def test_missing_bonds_are_named() -> None:
    text = "\n".join(line for line in PDB.read_text().replace("ALA", "XYZ").splitlines() if "CONECT" not in line)
    with pytest.raises(ValueError, match=r"Residue XYZ2 .* XYZ2-N, XYZ2-H.*CONECT"):
        chemistry(from_text(text))


def test_openmm_and_mdtraj_give_one_record() -> None:
    ours, theirs = chemistry(from_text(PDB.read_text())), chemistry(mdtraj.load(str(PDB)).topology)
    assert ours == theirs
    assert chemistry(ours) is ours
    assert ours.n_atoms == 22 and len(ours.bonds) == 21
    assert ours.masses == tuple(ATOMIC_WEIGHTS[symbol] for symbol in ours.symbols)
    assert all(j in near for i, near in enumerate(ours.neighbours()) for j in near if i in ours.neighbours()[j])


@pytest.mark.parametrize("residue", sorted(AMINO_ACIDS))
def test_charged_ends_have_the_same_bonds_from_both(residue: str, tmp_path: Path) -> None:
    # mdtraj's template of proline has no bond of the second hydrogen at a charged end
    fixer = PDBFixer(pdbfile=io.StringIO(pdb_block(backbone([residue, "GLY", residue]))))
    fixer.findMissingResidues()
    fixer.findMissingAtoms()
    fixer.addMissingAtoms()
    fixer.addMissingHydrogens()
    file = tmp_path / "peptide.pdb"
    with file.open("w") as out:
        app.PDBFile.writeFile(fixer.topology, fixer.positions, out)
    assert chemistry(app.PDBFile(str(file)).topology) == chemistry(mdtraj.load(str(file)).topology)


def test_a_residue_is_a_token(alanine_topology: Any) -> None:
    assert residue_tokens(alanine_topology) == (0,) * 6 + (1,) * 10 + (2,) * 6


def test_tokens_are_numbered_by_appearance() -> None:
    """Residues that are interleaved, or numbered from somewhere else, keep one token each."""
    names = ("A", "B", "C", "D")
    record = Chemistry(
        symbols=4 * ("C",), names=names, residues=4 * ("UNK",), residue_index=(7, 3, 7, 3), masses=4 * (12.0,),
        bonds=((0, 2), (1, 3)), labels=names,
    )  # fmt: skip
    assert residue_tokens(record) == (0, 1, 0, 1)


def test_fingerprint_ignores_numbering_chains_and_hydrogen_names() -> None:
    text = PDB.read_text()
    renumbered = "\n".join(
        line[:21] + "Q" + f"{int(line[22:26]) + 40:4d}" + line[26:] if line.startswith(("ATOM", "HETATM")) else line
        for line in text.splitlines()
    )
    reference = fingerprint(from_text(text))
    assert fingerprint(from_text(renumbered)) == reference
    assert fingerprint(from_text(text.replace(" HB1 ALA", "1HB  ALA"))) == reference
    assert fingerprint(from_text(text.replace("NME", "NMX"))) != reference


def test_it_is_the_same_for_every_record_of_the_molecule() -> None:
    topology = from_text(PDB.read_text())
    found = fingerprint(topology)
    assert len(found) == 64 and int(found, 16) >= 0
    assert fingerprint(mdtraj.Topology.from_openmm(topology)) == fingerprint(chemistry(topology)) == found


def test_protonation_counts() -> None:
    lines = PDB.read_text().splitlines()
    bare = "\n".join(line for line in lines if " HB1 ALA" not in line and not line.startswith("CONECT"))
    assert fingerprint(from_text(bare)) != fingerprint(from_text(PDB.read_text()))
