"""Atoms that a file lacks: built the same way every time, of the right hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.molecule.stereo import cis_peptides, handedness
from latentmd.systems.connections import connect
from latentmd.systems.parametrise import load_force_field, parametrise
from latentmd.systems.protocol import Protocol
from latentmd.systems.repair import add_heavy_atoms, add_hydrogens, relaxed, repeatable
from latentmd.systems.sanity import in_nm

NAMES = ("ACE", "SER", "NME")


@pytest.fixture
def complete(records: Any, residues: Any) -> Any:
    """Topology, positions, residues and whether hydrogens were added, from backbone and C-beta alone."""
    found = connect(residues(*NAMES), records(*NAMES))
    with repeatable():
        add_heavy_atoms(found, None, {})
        return found, add_hydrogens(found, None, load_force_field(Protocol("vacuum")), 7.0)


def test_generators_are_put_back() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    with repeatable():
        inside = random.random(), np.random.random()
    with repeatable():
        assert (random.random(), np.random.random()) == inside
    assert (random.random(), np.random.random()) == expected


def test_side_chain_and_hydrogens_are_built(complete: Any) -> None:
    _, (topology, positions, order, changed) = complete
    assert changed and [residue.name for residue in order] == list(NAMES)
    serine = next(r for r in topology.residues() if r.name == "SER")
    names = {atom.name for atom in serine.atoms()}
    assert {"OG", "HG", "HA", "H", "HB2", "HB3"} <= names and len(names) == 11
    assert handedness(topology, in_nm(positions)) == {1: "L"}


def test_what_is_complete_is_left_alone(complete: Any) -> None:
    found, (topology, positions, _, _) = complete
    from latentmd.systems.assemble import read_back

    read_back(topology, positions, found, {})
    *_, changed = add_hydrogens(found, None, load_force_field(Protocol("vacuum")), 7.0)
    assert not changed


def test_relaxation_keeps_hands_and_trans_bonds(complete: Any) -> None:
    _, (topology, positions, _, _) = complete
    protocol = Protocol("vacuum")
    system = parametrise(topology, load_force_field(protocol), protocol, Path("made.pdb"))
    x = in_nm(relaxed(topology, system, positions))
    assert handedness(topology, x) == {1: "L"} and cis_peptides(topology, x) == []
    np.testing.assert_array_equal(in_nm(relaxed(topology, system, positions)), x)
