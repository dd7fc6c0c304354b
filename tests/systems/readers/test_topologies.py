"""GROMACS topologies: what OpenMM's reader leaves out is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentmd.systems.errors import MoleculeError
from latentmd.systems.readers.topologies import read_gromacs

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
