"""mmCIF files, through OpenMM's reader of the syntax."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.columns import read_gro
from latentmd.systems.readers.mmcif import read_mmcif

CASES = Path(__file__).parents[1] / "cases"
PATH = Path("a.cif")


def test_the_same_molecule_as_in_another_format() -> None:
    ours = read_mmcif((CASES / "ala.cif").read_text(), PATH)
    theirs = read_gro((CASES / "ala.gro").read_text(), PATH)
    assert len(ours.atoms) == 22
    places = {(atom.residue, atom.key[1], atom.name): atom.position for atom in theirs.atoms}
    for atom in ours.atoms:
        assert atom.position == pytest.approx(places[atom.residue, atom.key[1], atom.name], abs=6e-4)
        assert atom.element == atom.name[0]
    assert ours.links and all(link.kind == "struct_conn" and not link.symmetry for link in ours.links)


def test_authors_names_and_sequences() -> None:
    """The authors' chain X and number 11 win over the label's A and 1; the polymer's scheme gives the sequence."""
    text = (CASES / "rcsb_style.cif").read_text()
    scheme = "loop_\n_pdbx_poly_seq_scheme.pdb_strand_id\n_pdbx_poly_seq_scheme.mon_id\nX ACE\nX ALA\nX GLY\n#\n"
    records = read_mmcif(text + scheme, PATH)
    assert records.atoms[0].key == ("X", 11, "") and records.atoms[0].position == pytest.approx((0.1458, 0.0, 0.0))
    assert records.sequences == {"X": ["ACE", "ALA", "GLY"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data_x\n_cell.length_a 3\n", "no ATOM records found"),
        ("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 2.0\n", "no name of the atom"),
        ("data_x\nloop_\n1 2 3\n", "not a readable mmCIF file"),
    ],
)
def test_bad_files_are_refused(text: str, reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        read_mmcif(text, PATH)


def test_a_value_that_is_no_number_is_named() -> None:
    text = (CASES / "ala.cif").read_text()
    number = next(line.split()[10] for line in text.splitlines() if line.startswith("ATOM"))
    with pytest.raises(MoleculeError, match=r"atom 7: 'x\.yz' is not the x coordinate of A:ALA2:N; expected a number"):
        read_mmcif(text.replace(number, "x.yz", 1), PATH)
