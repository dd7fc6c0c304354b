"""Parameters out of a System, and their layout for the kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.replicas.tables import tables
from latentmd.replicas.terms import UnsupportedError, maxwell_boltzmann, read_terms


def test_rows_of_a_second_molecule_follow_the_first(peptides: list[Any]) -> None:
    terms = [read_terms(molecule.system) for molecule in peptides]
    flat, alone = tables(terms), tables(terms[1:])
    head = flat.molecules[1]
    np.testing.assert_array_equal(flat.atom_a[head[1] : head[1] + head[0]], alone.atom_a)
    np.testing.assert_array_equal(flat.angle[head[5] : head[5] + head[4]], alone.angle)
    np.testing.assert_array_equal(flat.torsion[head[7] : head[7] + head[6]], alone.torsion)
    np.testing.assert_array_equal(flat.cluster[head[12] : head[12] + head[11]], alone.cluster)


def test_every_constraint_is_in_one_cluster(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    flat = tables([terms])
    assert sum(flat.cluster[:, 1] >> 8) == len(terms.constraints)


def test_the_mask_holds_the_exceptions(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    bits = np.unpackbits(tables([terms]).mask.view(np.uint8), axis=1, bitorder="little")
    assert bits.sum() == terms.atoms + 2 * len(terms.exceptions)
    assert (bits == np.pad(bits[:, : terms.atoms].T, ((0, 0), (0, 256 - terms.atoms)))).all()


def test_constraints_that_are_no_stars_are_refused(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    ring = replace(terms, constraints=np.array([[0, 1], [1, 2], [2, 0]]), distance=np.full(3, 0.1))
    with pytest.raises(ValueError, match="rings, chains or stars"):
        tables([ring])


def test_large_molecules_are_refused(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    with pytest.raises(ValueError, match="at most 256"):
        tables([replace(terms, mass=np.ones(300))])


def test_other_forces_are_refused_by_name(alanine_system: openmm.System) -> None:
    alanine_system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(UnsupportedError, match="CustomExternalForce"):
        read_terms(alanine_system)


def test_a_system_without_nonbonded_force_has_no_charges() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    assert not read_terms(system).nonbonded.any()


def test_velocities_have_the_temperature() -> None:
    mass = np.full(4000, 12.0)
    v = maxwell_boltzmann(mass, 300.0, np.random.default_rng(0))
    assert np.mean(mass[:, None] * v**2) / 0.00831446261815324 == pytest.approx(300.0, rel=0.05)


@pytest.fixture
def alanine_system(peptides: list[Any]) -> openmm.System:
    return openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(peptides[0].system))
