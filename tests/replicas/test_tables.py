"""Parameters out of a System, and their layout for the kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.tables import tables
from latentmd.replicas.terms import read_terms


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
