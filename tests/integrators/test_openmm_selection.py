"""Atoms that a model moves: chosen in any place of a System, refused where they are not its molecule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.integrators.openmm_selection import select, sub_topology
from latentmd.model.file import Manifest, read_manifest


@pytest.fixture(scope="module")
def manifest(ou_bundle: Path) -> Manifest:
    return read_manifest(ou_bundle)


@pytest.fixture(scope="module")
def beside_argon(alanine: Any) -> tuple[openmm.System, app.Topology]:
    """An atom of argon before the molecule."""
    system, topology = openmm.System(), app.Topology()
    topology.addAtom("AR", app.Element.getBySymbol("Ar"), topology.addResidue("AR", topology.addChain()))
    modeller = app.Modeller(topology, np.zeros((1, 3)) * openmm.unit.nanometer)
    modeller.add(alanine.topology, alanine.positions)
    system.addParticle(39.9)
    for i in range(22):
        system.addParticle(alanine.system.getParticleMass(i))
    for i in range(alanine.system.getNumConstraints()):
        a, b, length = alanine.system.getConstraintParameters(i)
        system.addConstraint(a + 1, b + 1, length)
    return system, modeller.topology


def test_a_whole_system(alanine: Any, manifest: Manifest) -> None:
    found = select(alanine.system, alanine.topology, manifest)
    assert found.atoms == tuple(range(22)) and found.n_particles == 22
    assert len(found.pairs) == alanine.system.getNumConstraints() == len(found.lengths)
    assert found.remove_momentum and not found.periodic
    x = np.asarray(alanine.positions._value)
    for (i, j), length in zip(found.pairs, found.lengths, strict=True):
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length, abs=1e-5)
    seen = {0}
    for child, parent in found.tree:
        assert parent in seen
        seen.add(child)
    assert len(seen) == 22
    assert np.ptp(x, axis=0).max() < found.reach < 5


def test_atoms_somewhere_in_a_system(beside_argon: Any, alanine: Any, manifest: Manifest) -> None:
    """Constraints and masses are numbered within the selection."""
    system, topology = beside_argon
    whole, part = select(alanine.system, alanine.topology, manifest), select(system, topology, manifest, range(1, 23))
    assert part.atoms == tuple(range(1, 23)) and part.n_particles == 23
    assert (part.pairs, part.lengths, part.masses, part.tree) == (whole.pairs, whole.lengths, whole.masses, whole.tree)
    assert not part.remove_momentum


def test_atoms_in_any_order_are_put_into_the_model_s(beside_argon: Any, manifest: Manifest) -> None:
    system, topology = beside_argon
    part = select(system, topology, manifest, range(1, 23))
    shuffled = 1 + np.random.default_rng(3).permutation(22)
    assert select(system, topology, manifest, shuffled) == part


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (None, "covers a molecule of 22 atoms, found 23; name the molecule's atoms with atoms="),
        (range(22), "does not cover AR-ACE-ALA-NME: it is Ar1C6"),
        ([1] * 22, "must hold different indices"),
        (range(2, 24), "must hold different indices from 0 to 22"),
    ],
)
def test_other_atoms_are_refused(beside_argon: Any, manifest: Manifest, atoms: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        select(*beside_argon, manifest, atoms)


def test_a_topology_of_another_system_is_refused(alanine: Any, beside_argon: Any, manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="the topology has 23 atoms, the System 22 particles"):
        select(alanine.system, beside_argon[1], manifest)


def test_the_topology_of_some_atoms_keeps_order_and_bonds(beside_argon: Any) -> None:
    part = sub_topology(beside_argon[1], range(1, 7))
    assert [residue.name for residue in part.residues()] == ["ACE"]
    assert part.getNumAtoms() == 6 and part.getNumBonds() == 5
