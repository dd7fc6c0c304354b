"""GROMACS topologies: what OpenMM's reader leaves out is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm import app, unit

from latentmd.systems.protocol import MoleculeError
from latentmd.systems.readers.topologies import read_coordinates, read_gromacs

# OpenMM's reader leaves its files open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
TOP = Path(__file__).parents[1] / "own_force_field" / "ala.top"


def test_a_topology_without_restraints_has_no_notes() -> None:
    file, notes = read_gromacs(TOP, None)
    assert file.topology.getNumAtoms() == 22 and not notes and not file.skipped


def test_restraints_in_an_included_file_count(tmp_path: Path) -> None:
    path = tmp_path / "a.top"
    (tmp_path / "posre.itp").write_text("[ position_restraints ]\n1 1 1000 1000 1000\n")
    text = TOP.read_text()
    path.write_text(text.replace("[ system ]", '#ifdef POSRES\n#include "posre.itp"\n#endif\n[ system ]', 1))
    _, notes = read_gromacs(path, None)
    assert notes == ["restraints under #ifdef POSRES are off"]
    path.write_text("#define POSRES\n" + path.read_text())
    with pytest.raises(MoleculeError, match=r"holds \[ position_restraints \]"):
        read_gromacs(path, None)


def test_restraints_of_rigid_water_are_named_where_openmm_takes_the_flexible_one(tmp_path: Path) -> None:
    path = tmp_path / "a.top"
    part = "#ifdef FLEXIBLE\n#else\n[ position_restraints ]\n1 1 1000 1000 1000\n#endif\n[ system ]"
    path.write_text(TOP.read_text().replace("[ system ]", part, 1))
    assert read_gromacs(path, None)[1] == ["restraints under the #else of #ifdef FLEXIBLE are off"]


def test_an_empty_section_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.top"
    path.write_text(TOP.read_text().replace("[ system ]", "[ position_restraints ]\n; none\n[ system ]", 1))
    assert not read_gromacs(path, None)[0].skipped


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
