"""Coordinates for a topology that has none, from every format that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm import app, unit

from latentmd.systems.errors import MoleculeError
from latentmd.systems.readers.coordinates import read_coordinates

FILES = Path(__file__).parents[1] / "own_force_field"
CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(
    ("name", "named", "rounding"),
    [("ala.rst7", False, 1e-6), ("ala.crd", True, 1e-6), ("ala.gro", True, 6e-4), ("ala.pdb", True, 1e-6)],
)
def test_formats_agree_on_the_same_structure(name: str, named: bool, rounding: float) -> None:
    expected = np.array(app.PDBFile(str(FILES / "ala.pdb")).getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    found = read_coordinates(FILES / name)
    np.testing.assert_allclose(found.positions, expected, atol=rounding)
    assert bool(found.atoms) == named
    if named:
        assert [atom.name for atom in found.atoms[:5]] == ["CH3", "H1", "H2", "H3", "C"]


def test_mmcif_and_content_over_name(tmp_path: Path) -> None:
    path = tmp_path / "ala.rst7"
    path.write_bytes((CASES / "ala.cif").read_bytes())
    assert read_coordinates(path).positions.shape == (22, 3)


def test_the_box_of_a_gro_file_is_read_and_none_is_none(tmp_path: Path) -> None:
    box = read_coordinates(CASES / "ala.gro").box
    assert np.allclose(np.array(box.value_in_unit(unit.nanometer)), 3 * np.eye(3))
    assert read_coordinates(FILES / "ala.rst7").box is None
    path = tmp_path / "zero.gro"
    lines = (CASES / "ala.gro").read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "   0.00000   0.00000   0.00000"]) + "\n")
    assert read_coordinates(path).box is None


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("prose.rst7", "three\nlines of\nprose\n", "holds no coordinates that can be read"),
        ("cut.rst7", "title\n    22\n   1.0   2.0   3.0\n", "cannot be read"),
        ("nan.crd", "* t\n*\n1\n    1    1 ALA  CA       nan   0.00000   0.00000 A    1      0.00000\n", "not finite"),
        ("empty.gro", "", "empty"),
    ],
)
def test_what_is_no_coordinates_is_refused_in_one_sentence(name: str, text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MoleculeError, match=reason) as caught:
        read_coordinates(path)
    assert "\n" not in str(caught.value)
