"""A bonded model fitted to MD: it moves as the MD did, closes rings, takes atoms apart, and leaves torsions alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import Contacts, bond_angles, check_frames, structure_template, torsions
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.bonded import Bonded, bonded_system
from latentmd.replicas.choice import replica_engine, unsupported
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")


@pytest.fixture(scope="module")
def dynamics(peptides: list[Any]) -> np.ndarray:
    """Frames (frames, atoms, 3) of MD of an enkephalin, which has two aromatic rings."""
    start = np.repeat(np.asarray(peptides[1].positions._value)[None], 32, axis=0)
    engine = ReplicaEngine(peptides[1].system, start, temperature=350.0, seed=1, threads=1)
    engine.draw_velocities()
    frames = []
    for _ in range(12):
        engine.langevin(500, timestep=0.004, friction=1.0)
        frames.append(engine.positions)
    return np.concatenate(frames[2:])


def test_its_dynamics_has_the_angles_of_the_data(peptides: list[Any], dynamics: np.ndarray) -> None:
    topology = peptides[1].topology
    system = bonded_system(topology, dynamics, 350.0)
    assert not unsupported(system)
    engine = replica_engine(system, dynamics[::10], temperature=350.0, seed=2)
    engine.draw_velocities()
    frames = []
    for _ in range(20):
        engine.langevin(100, timestep=0.002, friction=10.0)
        frames.append(engine.positions)
    triples = structure_template(topology, dynamics).angles
    found, expected = bond_angles(np.concatenate(frames[5:]), triples), bond_angles(dynamics, triples)
    assert np.degrees(np.abs(found.mean(axis=0) - expected.mean(axis=0))).max() < 4
    assert 0.6 < np.median(found.std(axis=0) / expected.std(axis=0)) < 1.2


def test_strained_structures_are_mended_and_torsions_stay(peptides: list[Any], dynamics: np.ndarray) -> None:
    topology = peptides[1].topology
    names = [(atom.residue.name, atom.name) for atom in topology.atoms()]
    template = structure_template(topology, dynamics)
    strained = dynamics[::20].copy()
    strained[:, names.index(("TYR", "CZ"))] += 0.05  # nm: out of its ring
    strained[:, names.index(("PHE", "HZ"))] = strained[:, names.index(("MET", "HE1"))] + 0.03
    before = np.all(list(check_frames(strained, template).values()), axis=0)
    model = Bonded.of(topology, dynamics, 350.0)
    mended = model.settled(strained, 350.0, seeds=list(range(len(strained))))
    after = np.all(list(check_frames(mended, template).values()), axis=0)
    assert before.mean() < 0.1 and after.mean() > 0.9
    quads = rotatable_torsions(template.symbols, template.bonds)
    kept = [q for q in quads.tolist() if not {names[i][1] for i in q} & {"CZ", "HZ", "HH", "OH"}]
    turned = torsions(mended, np.array(kept)) - torsions(strained, np.array(kept))
    assert np.degrees(np.median(np.abs(np.arctan2(np.sin(turned), np.cos(turned))))) < 10


def test_the_seed_decides_and_structures_do_not_depend_on_each_other(peptides: list[Any], dynamics: np.ndarray) -> None:
    model = Bonded.of(peptides[0].topology, dynamics[:, :22] * 0 + np.asarray(peptides[0].positions._value), 350.0)
    start = np.repeat(np.asarray(peptides[0].positions._value)[None], 3, axis=0)
    first, alone = model.settled(start, 300.0, [5, 6, 5]), model.settled(start[1:2], 300.0, [6])
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1], alone[0])
    assert np.abs(first[0] - first[1]).max() > 1e-4


def test_contacts_are_as_near_as_in_the_data(peptides: list[Any], dynamics: np.ndarray) -> None:
    """What the data show passes, atoms at two thirds of their least distance do not, and settling takes them apart."""
    topology = peptides[1].topology
    model, template = Bonded.of(topology, dynamics, 350.0), structure_template(topology, dynamics)
    contacts = Contacts.seen(template.symbols, template.bonds, np.array(model.nearest))
    assert contacts.clashes(dynamics).max() == 0
    first, second, squares = contacts.pairs
    frame = dynamics[0].copy()
    vectors = frame[second] - frame[first]
    distances = np.linalg.norm(vectors, axis=1)
    pair = int(np.argmin(distances / np.sqrt(squares)))  # the pair that is nearest to its limit comes nearer
    shift = vectors[pair] * (1 - 0.7 * np.sqrt(squares[pair]) / distances[pair]) / 2
    frame[first[pair]] += shift
    frame[second[pair]] -= shift
    assert contacts.clashes(frame[None])[0] >= 1
    assert contacts.clashes(model.settled(frame[None], 350.0, seeds=[3]))[0] == 0
