"""Distances and times of unseen peptides: zero for the reference itself, closed forms for simple processes."""

from __future__ import annotations

import numpy as np
import pytest
from measures import (
    Unseen,
    decorrelation_times,
    distribution_scores,
    run_columns,
    slowest_timescale,
    table_frames,
    unseen,
)
from openmm.app import PDBFile

from latentmd.arrays import Doubles
from latentmd.evaluation.residue_table import ResidueTable
from latentmd.molecule.chain import SLOTS, Chain, chain
from latentmd.systems.bundled import bundled

INTERVAL, STAY = 50.0, 0.9  # ps between frames, and the probability to stay in a well in that time


@pytest.fixture(scope="module")
def peptide() -> Chain:
    pdb = PDBFile(str(bundled("alanine_dipeptide")))
    return chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))


def _jumps(seed: int, runs: int, frames: int) -> Doubles:
    """Torsions near -1 or 1 radian that change sides with probability 1 - STAY, all together."""
    rng = np.random.default_rng(seed)
    side = np.cumprod(np.where(rng.random((runs, frames)) < STAY, 1, -1), axis=1)
    return np.asarray(side[..., None, None] + 0.1 * rng.standard_normal((runs, frames, 3, len(SLOTS))))


@pytest.fixture(scope="module")
def reference(peptide: Chain) -> Unseen:
    known = {(int(t), int(s)) for t, s in zip(*np.nonzero(peptide.mask), strict=True)}
    return unseen(peptide, _jumps(0, 4, 2000), INTERVAL, temperature=350.0, known=known)


def test_scored_are_the_torsions_that_are_known(peptide: Chain, reference: Unseen) -> None:
    assert [SLOTS[s] for _, s in reference.columns] == ["phi", "psi"]
    assert reference.frames.shape == (8000, 2) and len(reference.runs) == 4


def test_the_reference_is_at_distance_zero_from_itself(reference: Unseen) -> None:
    found = distribution_scores(reference, reference.runs)
    assert all(value == pytest.approx(0.0, abs=1e-6) for value in found.values())
    assert {"torsions", "ramachandran", "tica0", "states", "free energy"} <= set(found)


def test_runs_that_stay_on_one_side_are_half_as_far_as_can_be(reference: Unseen) -> None:
    found = distribution_scores(reference, [np.abs(reference.frames)])
    # JS of (1, 0) to (1/2, 1/2): ln 2 - (3/4) ln(3/4)... in closed form below.
    p, q = np.array([1.0, 1e-300]), np.array([0.5, 0.5])
    m = (p + q) / 2
    expected = np.sqrt(0.5 * np.sum(p * np.log(p / m)) + 0.5 * np.sum(q * np.log(q / m)))
    assert found["torsions"] == pytest.approx(expected, abs=0.03)


def test_timescales_of_a_two_state_process(reference: Unseen) -> None:
    # The eigenvalue of a step is 2 STAY - 1, so that the time constant is -INTERVAL / ln(2 STAY - 1).
    expected = -INTERVAL / np.log(2 * STAY - 1)
    assert slowest_timescale(reference, reference.runs, INTERVAL) == pytest.approx(expected, rel=0.15)
    times = decorrelation_times(reference.runs, INTERVAL, 3000.0)
    assert times == pytest.approx([expected, expected], rel=0.25)


def test_frames_of_the_table_are_drawn_from_its_histograms(peptide: Chain, reference: Unseen) -> None:
    table = ResidueTable.empty()
    angles = np.zeros((100, *peptide.mask.shape))
    angles[:50, 1, SLOTS.index("phi")] = 1.0
    table.add(peptide, angles)
    drawn = table_frames(table, reference, 4000, seed=0)
    assert drawn.shape == (4000, 2)
    near = np.abs(drawn[:, 0] - 1.0) < 0.07
    assert near.mean() == pytest.approx(0.5, abs=0.04) and (np.abs(drawn[~near, 0]) < 0.07).all()
    assert (np.abs(drawn[:, 1]) < 0.07).all()


def test_rollouts_become_runs_of_the_scored_torsions(reference: Unseen) -> None:
    angles = np.random.default_rng(1).random((7, 5, 3, len(SLOTS)))
    runs = run_columns(reference, angles)
    assert len(runs) == 5 and runs[0].shape == (7, 2)
    token, slot = reference.columns[1]
    np.testing.assert_array_equal(runs[3][:, 1], angles[:, 3, token, slot])
