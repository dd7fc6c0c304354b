"""Wells of torsions: which they are, and what is inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions, torsion_name
from latentmd.sampling.metropolis.wells import Well, wells

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


def _wells(topology: Any) -> tuple[Well, ...]:
    quads = rotatable_torsions(*topology_arrays(topology))
    return wells(topology, quads, [torsion_name(topology, quad) for quad in quads.tolist()])


def test_inside_wraps_around() -> None:
    angles = np.deg2rad(np.array([[-181.0], [-180.0], [-121.0], [-120.0], [0.0], [59.9], [60.0], [179.9]]))
    assert Well("", 0, -120.0, 60.0).inside(angles).tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert Well("", 0, 120.0, 240.0).inside(angles).tolist() == [True] * 3 + [False] * 4 + [True]


def test_three_wells_of_a_side_chain_are_the_circle() -> None:
    angles = np.random.default_rng(0).uniform(-4, 4, (500, 1))
    rows = [Well("", 0, low, low + 120.0).inside(angles) for low in (0.0, 120.0, 240.0)]
    assert np.array(rows).sum(axis=0).tolist() == [1] * 500


def test_half_a_turn_of_a_symmetric_group_changes_nothing() -> None:
    angles = np.random.default_rng(0).uniform(-4, 4, (500, 1))
    well = Well("", 0, 120.0, 180.0, 180.0)
    np.testing.assert_array_equal(well.inside(angles), well.inside(angles + np.pi))
    assert 0.2 < well.inside(angles).mean() < 0.5


def test_wells_of_alanine_dipeptide(alanine: Any) -> None:
    assert [well.name for well in _wells(alanine.topology)] == ["phi ALA2 > 0", "psi ALA2 helical"]


def test_wells_of_a_peptide_with_proline_and_side_chains() -> None:
    from openmm import app

    names = [well.name for well in _wells(app.PDBFile(str(MOLECULES / "chignolin.pdb")).topology)]
    assert len(names) == len(set(names))
    assert "omega PRO4 cis" in names and "chi1 TYR2 t" in names and "phi GLY7 > 0" in names
    assert "chi2 TYR2 60 to 120" in names and "N-CA-C-O 120 to 180" in names and "chi2 TRP9 g+" in names
    assert sum("PRO4 > 0" in name and "chi" in name for name in names) >= 2  # puckers
    assert not any(name.startswith("omega") and "PRO" not in name for name in names)
