"""Rollouts of a model of many peptides for one: shapes, seeds, and that structures have the torsions returned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.evaluation.zero_shot import Rollouts
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.molecule.chain import Chain, chain
from latentmd.systems.bundled import bundled


@pytest.fixture(scope="module")
def file() -> PeptideFile:
    return load_peptides()


@pytest.fixture(scope="module")
def peptide() -> Chain:
    pdb = PDBFile(str(bundled("trialanine")))
    return chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))


def test_draws_are_seeded_and_have_zeros_where_there_is_no_torsion(file: PeptideFile, peptide: Chain) -> None:
    drawn = Rollouts(file.model, peptide, 1).equilibrium(1500)
    assert drawn.shape == (1500, *peptide.mask.shape) and np.all(drawn[:, ~peptide.mask] == 0)
    np.testing.assert_array_equal(drawn, Rollouts(file.model, peptide, 1).equilibrium(1500))
    assert not np.array_equal(drawn, Rollouts(file.model, peptide, 2).equilibrium(1500))


def test_a_short_lag_moves_less_than_a_long_one(file: PeptideFile, peptide: Chain) -> None:
    def moved(lag: float) -> float:
        angles = Rollouts(file.model, peptide, 3).torsions(50, 6, lag)
        assert angles.shape == (6, 50, *peptide.mask.shape)
        return float(np.abs(np.angle(np.exp(1j * np.diff(angles, axis=0))))[..., peptide.mask].mean())

    assert moved(10.0) < moved(500.0)


def test_structures_have_the_torsions_that_come_with_them(file: PeptideFile, peptide: Chain) -> None:
    rollouts = Rollouts(file.model, peptide, 4)
    angles, structures = rollouts.decoded(3, 2, 100.0)
    assert angles.shape == (2, 3, *peptide.mask.shape) and structures.shape == (6, peptide.record.n_atoms, 3)
    again = rollouts.bound.angles(torch.from_numpy(structures)).numpy()
    np.testing.assert_allclose(again.reshape(angles.shape), angles, atol=1e-5)
