"""A molecule's chemistry: the same from OpenMM and mdtraj, whatever names a program gives."""

from __future__ import annotations

import io
from pathlib import Path

import mdtraj
import pytest
from openmm import app

from latentmd.molecule.chemistry import ATOMIC_WEIGHTS, chemistry

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


@pytest.mark.parametrize(("name", "standard"), [("NALA", "ALA"), ("CYX", "CYS"), ("NMA", "NME"), ("ABCD", "ABCD")])
def test_residue_names_are_standardised(name: str, standard: str) -> None:
    topology = app.Topology()
    residue = topology.addResidue(name, topology.addChain())
    topology.addAtom("CA", app.Element.getBySymbol("C"), residue)
    assert chemistry(topology).residues == (standard,)


def test_heavy_water_is_water_and_dummies_have_no_element() -> None:
    topology = app.Topology()
    residue = topology.addResidue("WAT", topology.addChain())
    oxygen = topology.addAtom("O", app.Element.getBySymbol("O"), residue)
    for name, symbol in (("D1", "D"), ("M", None)):
        element = app.Element.getBySymbol(symbol) if symbol else None
        topology.addBond(oxygen, topology.addAtom(name, element, residue))
    record = chemistry(topology)
    assert record.symbols == ("O", "H", "VS") and record.residues == 3 * ("HOH",)
    assert record.masses == (15.999, 1.008, 0.0)
