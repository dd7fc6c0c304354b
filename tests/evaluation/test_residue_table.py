"""Histograms of torsions by residue type: mirror images, distances and likelihoods in closed form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.evaluation.residue_table import (
    BINS,
    ResidueTable,
    frame_scores,
    histogram,
    js_distance,
    plane,
    scored_planes,
    scored_torsions,
)
from latentmd.molecule.chain import SLOTS, Chain, chain

ENKEPHALIN = Path(__file__).parents[2] / "systems" / "molecules" / "met_enkephalin.pdb"


@pytest.fixture(scope="module")
def peptide() -> Chain:
    from openmm.app import PDBFile

    pdb = PDBFile(str(ENKEPHALIN))
    return chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))


def _frames(peptide: Chain, count: int, seed: int) -> Any:
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (count, *peptide.mask.shape))


def test_scored_torsions_are_of_heavy_atoms_without_ends_and_omega(peptide: Chain) -> None:
    scored = scored_torsions(peptide)
    last = len(peptide.names) - 1
    assert (0, SLOTS.index("phi")) not in scored and (last, SLOTS.index("psi")) not in scored
    assert all(SLOTS[slot] != "omega" and peptide.mask[token, slot] for token, slot in scored)
    assert all(peptide.record.symbols[int(peptide.quads[token, slot, 0])] != "H" for token, slot in scored)
    planes = scored_planes(peptide)
    assert len(planes["ramachandran"]) == len(peptide.names) - 2
    assert all(b == a + 1 for (a, _), (b, _) in planes["neighbours"])


def test_distances_of_histograms() -> None:
    a, b = histogram(np.full(10, 0.1)), histogram(np.full(10, 2.0))
    assert js_distance(a, a) == 0.0 and js_distance(a, b) == pytest.approx(math.sqrt(math.log(2)))
    assert plane(np.array([0.1, 0.1]), np.array([2.0, -2.0])).sum() == 2


def test_a_table_of_one_peptide_is_near_its_frames(peptide: Chain) -> None:
    table, frames = ResidueTable.empty(), _frames(peptide, 4000, 0)
    table.add(peptide, frames)
    assert table.torsions.sum() == 4000 * peptide.mask.sum()
    scores = table.scores(peptide, _frames(peptide, 4000, 1))
    assert scores["torsions"] < 0.15 and scores["nats"] == pytest.approx(math.log(2 * np.pi), abs=0.02)


def test_an_empty_table_knows_nothing(peptide: Chain) -> None:
    nats = ResidueTable.empty().negative_log_likelihood(peptide, _frames(peptide, 100, 0))
    assert nats == pytest.approx(math.log(2 * np.pi))


def test_equal_frames_have_distance_zero(peptide: Chain) -> None:
    frames, other = _frames(peptide, 300, 0), _frames(peptide, 300, 1)
    assert set(frame_scores(peptide, frames, frames).values()) == {0.0}
    scores = frame_scores(peptide, np.zeros_like(frames), other)
    assert 0.5 < scores["torsions"] <= math.sqrt(math.log(2)) + 1e-12
    assert {"torsions", "backbone", "ramachandran", "neighbours"} <= set(scores)
    assert histogram(frames[:, 1, 0]).shape == (BINS,)


def test_an_empty_histogram_has_no_distance() -> None:
    assert math.isnan(js_distance(np.zeros(BINS), np.ones(BINS)))
    p = np.random.default_rng(0).random((50, BINS))
    assert max(js_distance(row, 3 * row) for row in p) < 1e-7  # rounding must not make it nan
