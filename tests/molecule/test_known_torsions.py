"""Torsions that some atoms tell: the same as all atoms tell, or half a turn from a planar neighbour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openmm.app import PDBFile

from latentmd.molecule.chain import SLOTS, chain
from latentmd.molecule.known_torsions import known_torsions

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
PSI, PHI = SLOTS.index("psi"), SLOTS.index("phi")


@pytest.mark.parametrize(("name", "hidden"), [("met_enkephalin", 2), ("alanine_tetrapeptide", 2)])
def test_torsions_around_a_hidden_residue(name: str, hidden: int) -> None:
    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    x = np.array(pdb.getPositions(asNumpy=True)._value)[None]
    found = chain(pdb.topology, x[0])
    all_atoms = np.arange(x.shape[1])
    given = np.array([i for i in all_atoms if found.record.residue_index[i] != hidden])
    whole, some = known_torsions(found, all_atoms), known_torsions(found, given)
    assert np.array_equal(whole.known, found.mask) and not some.known[hidden].any()
    assert some.known[hidden - 1, PSI] and some.known[hidden + 1, PHI]
    expected, measured = whole.measure(x)[0], some.measure(x)[0]
    turn = np.abs(np.remainder(measured - expected + np.pi, 2 * np.pi) - np.pi)[some.known]
    assert turn.max() < np.radians(20) and np.median(turn) < 1e-6
    broken = x.copy()
    broken[:, found.record.residue_index == np.int64(hidden)] = np.nan
    np.testing.assert_array_equal(some.measure(broken), some.measure(x))


def test_nothing_is_known_of_nothing() -> None:
    pdb = PDBFile(str(MOLECULES / "alanine_dipeptide.pdb"))
    x = np.array(pdb.getPositions(asNumpy=True)._value)[None]
    none = known_torsions(chain(pdb.topology, x[0]), np.array([], dtype=np.int64))
    assert not none.known.any() and not none.measure(x).any()
