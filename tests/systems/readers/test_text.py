"""Text of a file whatever its compression and encoding, and its format by content."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.text import file_format, is_ligand, read_bytes, read_text

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(("name", "kind"), [("ala.gro", "gro"), ("ala.cif", "mmcif"), ("ala.pdb.gz", "pdb")])
def test_format_is_told_by_content(name: str, kind: str, tmp_path: Path) -> None:
    other = tmp_path / "misleading.xyz"
    other.write_bytes((CASES / name).read_bytes())
    assert file_format(read_text(other)) == kind
    assert file_format("three\nlines of\nprose\n") == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_encodings_and_line_ends(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    path.write_bytes("REMARK Å\r\nATOM\rEND\n".encode(encoding))
    assert read_text(path) == "REMARK Å\nATOM\nEND\n"


def test_a_zipped_file_is_unzipped_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    packed = gzip.compress(b"ATOM of something long enough to be cut" * 20)
    path.write_bytes(packed)
    assert read_bytes(path).startswith(b"ATOM of")
    path.write_bytes(packed[:-12])
    with pytest.raises(MoleculeError, match="damaged gzip file"):
        read_bytes(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\0\1\2", "not a text file"),
        (b"<!DOCTYPE html><html>", "a web page or XML"),
        (bytes(range(128, 160)), "not a text file"),
    ],
)
def test_what_is_no_text(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    path.write_bytes(content)
    with pytest.raises(MoleculeError, match=reason):
        read_text(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MoleculeError, match="no such file"):
        read_text(tmp_path / "gone.pdb")
    with pytest.raises(MoleculeError, match="not a file"):
        read_text(tmp_path)


def test_files_of_ligands_are_told_apart() -> None:
    assert is_ligand("ligand\n  program\n\n 27 27  0  0  0  0  0  0  0  0999 V2000\n")
    assert is_ligand("@<TRIPOS>MOLECULE\nligand\n")
    assert not is_ligand("ATOM      5  CA  ALA A   1\n")
