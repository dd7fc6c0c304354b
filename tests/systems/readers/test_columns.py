"""PDB files: fixed columns, read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.columns import read_gro, read_pdb

PATH, GRO = Path("a.pdb"), Path("a.gro")
ATOM = "ATOM      5  CA AALA B  12C     11.000 -12.500   0.125  0.50 10.00           C"


def test_columns() -> None:
    (atom,) = read_pdb(ATOM, PATH).atoms
    assert atom.key == ("B", 12, "C")
    assert (atom.name, atom.altloc, atom.residue, atom.element) == ("CA", "A", "ALA", "C")
    assert atom.position == pytest.approx((1.1, -1.25, 0.0125))
    assert (atom.occupancy, atom.serial, atom.model, atom.segment) == (0.5, 5, 1, 0)


def test_models_chains_and_bonds() -> None:
    text = "\n".join([
        "SEQRES   1 B    2  ALA GLY",
        "CRYST1   30.000   40.000   50.000  90.00  90.00  90.00 P 1           1",
        "SSBOND   1 CYS A    3    CYS A   40                          1555   1555",
        "MODEL        1", ATOM, "TER", ATOM, "ENDMDL", "MODEL        2", ATOM, "CONECT    5    6    7",
    ])  # fmt: skip
    records = read_pdb(text, PATH)
    assert [(atom.model, atom.segment) for atom in records.atoms] == [(1, 0), (1, 1), (2, 2)]
    assert records.sequences == {"B": ["ALA", "GLY"]}
    assert records.cell is not None and records.cell[:3] == pytest.approx((3, 4, 5))
    bond = records.links[0]
    assert (bond.kind, bond.first, bond.second) == ("SSBOND", (("A", 3, ""), "SG"), (("A", 40, ""), "SG"))
    assert not bond.symmetry
    assert [(link.first, link.second) for link in records.links[1:]] == [(5, 6), (5, 7)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (ATOM[:50], "50 characters long"),
        (ATOM.replace("  ", "\t", 1), "tabs between the columns"),
        (ATOM.replace("  11.000", "     nan"), "coordinates of atom B:ALA12:CA are not finite"),
        (ATOM.replace("  11.000", "      11"), "with decimals"),
        (ATOM.replace("  12C", "  x2C"), "is not the number of the residue"),
        (ATOM.replace("  0.50", "  half"), "the occupancy of B:ALA12:CA is 'half'"),
        ("MODEL        1\nMODEL        1", "MODEL 1 for the second time"),
    ],
)
def test_bad_lines_are_named(line: str, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason) as raised:
        read_pdb(line, PATH)
    assert str(raised.value).startswith("a.pdb, line ")


def test_what_follows_end_is_another_model_or_another_part() -> None:
    again = read_pdb("\n".join([ATOM, "END", ATOM, "END"]), PATH)
    assert [atom.model for atom in again.atoms] == [1, 2]
    other = read_pdb("\n".join([ATOM, "END", ATOM.replace("B  12C", "B  13C"), "END"]), PATH)
    assert [atom.model for atom in other.atoms] == [1, 1]


def test_numbers_beyond_the_columns() -> None:
    text = "\n".join([ATOM.replace("B  12C", "BA000C").replace("    5", "A0000", 1), "CONECTA0000A0001"])
    records = read_pdb(text, PATH)
    assert records.atoms[0].key[1] == 10_000
    serial = records.atoms[0].serial
    assert serial > 99_999
    assert [(link.first, link.second) for link in records.links] == [(serial, serial + 1)]


def test_segment_names_part_chains_without_a_letter() -> None:
    lines = [ATOM.replace("B  12C", "   12C").ljust(72)[:72] + name for name in ("PROA", "PROA", "PROB")]
    assert [atom.segment for atom in read_pdb("\n".join(lines), PATH).atoms] == [0, 0, 1]


CASES = Path(__file__).parents[1] / "cases"


def test_a_structure_in_nm() -> None:
    records = read_gro((CASES / "ala.gro").read_text(), GRO)
    assert len(records.atoms) == 22 and records.cell == (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)
    first, last = records.atoms[0], records.atoms[-1]
    assert (str(first), first.position, first.serial) == (":ACE1:CH3", (0.146, 0.0, 0.0), 1)
    assert str(last) == ":NME3:H3"


def test_wider_columns_of_higher_precision() -> None:
    text = "title\n1\n    1ACE    CH3    1   0.1461234   0.0000000  -1.5000000\n"
    assert read_gro(text, GRO).atoms[0].position == (0.1461234, 0.0, -1.5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("title\n3\n    1ACE    CH3    1   0.146   0.000   0.000\n", "3 atoms announced, 1 lines found"),
        ("title\n1\n    1ACE    CH3    1   0.146   x\n\n", r"a\.gro, line 3: not a readable GRO line"),
        ("title\n1\n    1ACE    CH3    1   1.0e999.0   0.000   0.000\n\n", "line 3"),
    ],
)
def test_bad_lines_of_gro_files_are_named(text: str, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        read_gro(text, GRO)


def test_every_frame_is_a_model() -> None:
    frame = "title\n1\n    1ACE    CH3    1   0.146   0.000   0.000\n   3.0 3.0 3.0\n"
    assert [atom.model for atom in read_gro(2 * frame, GRO).atoms] == [1, 2]


def test_a_triclinic_box() -> None:
    """A rhombic dodecahedron of 3 nm, as GROMACS writes it, has angles of 60, 60 and 90 degrees."""
    text = "title\n1\n    1ACE    CH3    1   0.146   0.000   0.000\n 3.0 3.0 2.12132 0 0 0 0 1.5 1.5\n"
    assert read_gro(text, GRO).cell == pytest.approx((3, 3, 3, 60, 60, 90), abs=1e-3)


def test_more_atoms_than_announced() -> None:
    line = "    1ACE    CH3    1   0.146   0.000   0.000\n"
    with pytest.raises(MoleculeError, match=r"line 4: expected the box after the 1 atoms that line 2 announces"):
        read_gro(f"title\n1\n{2 * line}", GRO)
