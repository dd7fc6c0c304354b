"""A peptide as residue tokens: types, torsions, and internal coordinates that do not depend on the molecule."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.arrays import Floats
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.molecule.chain import SLOTS, TYPES, ChainError, chain, known_torsions
from latentmd.molecule.checks import torsions as measure_torsions

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
Built = tuple[Any, Floats]


def _built(name: str) -> Built:
    from openmm.app import PDBFile

    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    return pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value)


@pytest.fixture(scope="module")
def enkephalin() -> Built:
    return _built("met_enkephalin")


def test_residues_places_and_handedness(enkephalin: Built) -> None:
    topology, positions = enkephalin
    found = chain(topology, positions)
    assert found.names == ("TYR", "GLY", "GLY", "PHE", "MET")
    assert found.types[:, 0].tolist() == [TYPES.index(name) for name in found.names]
    assert found.types[:, 1].tolist() == [1, 0, 0, 0, 2]
    assert found.types[:, 2].tolist() == [0, 0, 0, 0, 0]
    mirrored = chain(topology, positions * np.array([1.0, 1.0, -1.0]))
    assert mirrored.types[:, 2].tolist() == [1, 0, 0, 1, 1]
    assert mirrored.sequence == "tyr-GLY-GLY-phe-met"


def test_mirror_images_have_opposite_internal_torsions(enkephalin: Built) -> None:
    topology, positions = enkephalin
    mirror = positions * np.array([1.0, 1.0, -1.0])
    left, right = chain(topology, positions), chain(topology, mirror)
    assert left.templates == right.templates
    for token in range(len(left.names)):
        if left.names[token] == "GLY":
            continue
        values = []
        for found, x in ((left, positions), (right, mirror)):
            frame = torch.from_numpy(x).float().unsqueeze(0)
            coordinates = InternalCoordinates(list(found.record.labels), found.layout)
            vector = torch.cat(coordinates.to_internal(frame), dim=1)[0]
            torsions = torch.from_numpy(found.kinds[token] == 2)
            values.append(vector[torch.from_numpy(found.rest[token])][torsions])
        assert torch.allclose(torch.remainder(values[0] + values[1] + 1, 2 * np.pi), torch.ones(1), atol=1e-3)


def test_slots_are_the_named_torsions(enkephalin: Built) -> None:
    topology, positions = enkephalin
    found = chain(topology, positions)
    label = found.record.labels
    phi = [label[i] for i in found.quads[3, SLOTS.index("phi")]]
    assert phi == ["PHE4-C", "PHE4-CA", "PHE4-N", "GLY3-C"]
    chi3 = [label[i] for i in found.quads[4, SLOTS.index("chi3")]]
    assert chi3 == ["MET5-CE", "MET5-SD", "MET5-CG", "MET5-CB"]
    assert not found.mask[1, SLOTS.index("chi1")]
    frame = torch.from_numpy(positions).float().unsqueeze(0)
    torsions = InternalCoordinates(list(label), found.layout).to_internal(frame)[2][0]
    for token, slot in zip(*np.nonzero(found.mask), strict=True):
        measured = float(measure_torsions(positions[None], found.quads[token, slot][None])[0, 0])
        assert float(torch.remainder(torsions[found.slots[token, slot]] - measured + 1, 2 * np.pi)) == pytest.approx(
            1.0, abs=1e-3
        )


def test_every_internal_coordinate_belongs_to_one_residue(enkephalin: Built) -> None:
    topology, positions = enkephalin
    found = chain(topology, positions)
    n = found.record.n_atoms
    columns = np.concatenate([*found.rest, 2 * n - 3 + found.slots[found.mask]])
    assert sorted(columns.tolist()) == list(range(3 * n - 6))


def test_caps_are_tokens() -> None:
    found = chain(*_built("alanine_dipeptide"))
    assert found.names == ("ACE", "ALA", "NME")
    assert found.mask.sum(1).tolist() == [0, 3, 1]


def test_equal_residues_have_equal_templates_whatever_stands_beside_them(enkephalin: Built) -> None:
    tetra = chain(*_built("alanine_tetrapeptide"))
    other = chain(*_built("alanine_dipeptide"))
    assert other.templates[1] in tetra.templates
    kinds = {t: k.tolist() for t, k in zip(tetra.templates, tetra.kinds, strict=True)}
    assert kinds[other.templates[1]] == other.kinds[1].tolist()


def test_a_ligand_is_refused() -> None:
    from openmm.app import Topology, element

    topology = Topology()
    residue = topology.addResidue("LIG", topology.addChain())
    atoms = [topology.addAtom(f"C{i}", element.carbon, residue) for i in range(5)]
    for first, second in pairwise(atoms):
        topology.addBond(first, second)
    with pytest.raises(ChainError, match="LIG1 is not one of"):
        chain(topology, np.random.default_rng(0).normal(size=(5, 3)))


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
