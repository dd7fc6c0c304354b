"""Rollouts of a surrogate as the evaluation makes them: whole frames of one walker and of all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from openmm.app import PDBFile
from peptide_rollouts import Rollouts

from latentmd.analysis.features import feature_spec
from latentmd.evaluation.rollouts import Decoding
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.molecule.chain import Chain, chain
from latentmd.molecule.checks import structure_template
from latentmd.systems.bundled import bundled


def test_sampled_frames_come_from_every_walker(ou_bundle, alanine, alanine_topology):
    from latentmd.model.propagator import Propagator

    propagator = Propagator(ou_bundle, "cpu")
    start = np.repeat(np.asarray(alanine.positions._value)[None], 4, axis=0)
    spec, template = feature_spec(alanine_topology), structure_template(alanine_topology, start[:1])
    rng, seen = np.random.Generator(np.random.Philox(2)), []
    decoding = Decoding(propagator, spec, template, rng, lambda done, total: seen.append((done, total)))
    made = decoding.generate(start, lag=10.0, steps=230)
    own = made.frames
    assert [len(run) for run in own.runs] == [230] * 4 and own.totals.frames == 920
    assert own.kept.shape == (230, 22, 3) and len(made.sampled) == 4 * 230
    kept = spec.values(own.kept)
    np.testing.assert_allclose(np.cos(kept), np.cos(own.runs[0]), atol=1e-3)
    angles = np.stack(own.runs, axis=1).reshape(-1, len(spec.names))
    np.testing.assert_allclose(np.cos(spec.values(made.sampled)), np.cos(angles), atol=1e-3)
    assert seen[0] == (0, 460) and seen[-1] == (459, 460) and seen == sorted(seen)
    again = Decoding(propagator, spec, template, np.random.Generator(np.random.Philox(2))).generate(start, 10.0, 230)
    assert own.runs[3] == pytest.approx(again.frames.runs[3])


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
