"""The pilot: kernels come from its later sweeps, and slow torsions get more moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from openmm.app import PDBFile

from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import amide_torsions, rotatable_torsions
from latentmd.sampling.metropolis import pilot as module
from latentmd.sampling.metropolis.blocks import Torsions
from latentmd.sampling.metropolis.ladders import Piece, Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.pilot import KERNELS, block_weights, kernels, peptide_structures, scatter
from latentmd.sampling.metropolis.tempering import Counts
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.scheduler import Serial
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled


@pytest.fixture(scope="module")
def plan(alanine: Any) -> Plan:
    return Plan.of(alanine, rotatable_torsions(*topology_arrays(alanine.topology)))


def test_kernels_are_those_of_their_rung_and_the_one_above() -> None:
    rungs, ladders, sweeps = 3, 2, 9
    angles = np.full((sweeps, rungs * ladders, 1), -1.0)
    angles[3:] = np.tile([0.0, 1.0, 2.0], ladders)[None, :, None]
    piece = Piece(angles, angles, cold=angles, angles=angles, end=angles, counts=Counts(), calls=0)
    pool = kernels([piece, piece], rungs, np.random.default_rng(0))
    assert pool.shape == (rungs, KERNELS, 1)
    assert [np.unique(row).tolist() for row in pool] == [[0.0, 1.0], [1.0, 2.0], [2.0]]
    assert np.mean(pool[0] == 1.0) == pytest.approx(0.25)


def test_moves_go_to_slow_torsions_and_blocks_that_make_them_jump(plan: Plan) -> None:
    names = [block.name for block in plan.blocks]
    assert len(names) == len(set(names))
    counts = Counts()
    for block, name in zip(plan.blocks, names, strict=True):
        rate = 0.5 if block.torsions == (2,) else 0.05 if block.torsions == (1,) else 0.001
        counts.tried[name], counts.jumped[name] = 1000, int(1000 * rate)
    weights = dict(zip(names, block_weights(plan, counts), strict=True))
    assert sum(weights.values()) == pytest.approx(1.0) and min(weights.values()) > 0
    assert weights["draw 1"] > weights["draw 2"] > 3 * weights["draw 1 2"]


def test_scattered_replicas_differ_and_an_exploded_one_is_put_back(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCATTER", 0.1)
    start = np.asarray(plan.molecule.positions._value)
    ends, calls = scatter(plan, start, Deadline(), 1)
    assert ends.shape == (plan.replicas, *start.shape) and calls == plan.replicas * (50 + 200)
    assert len(np.unique(ends[:, 0, 0])) == plan.replicas
    again, _ = scatter(plan, start, Deadline(), 1)
    np.testing.assert_array_equal(ends, again)


def test_a_molecule_without_a_bond_to_turn_is_moved_by_the_ladder(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a ring without side chains has it: no block, and torsions that are only recorded."""
    monkeypatch.setattr(module, "SCATTER", 0.1)
    monkeypatch.setattr(module, "SWEEPS", (2, 3))
    ring = replace(plan, blocks=(), torsions=Torsions(plan.quads[:0], ()))
    start = np.asarray(plan.molecule.positions._value)
    choice = module.pilot(ring, start, None, seed=1, tasks=Serial(), number=1, deadline=Deadline())
    assert choice["weights"].shape == (0,)
    piece = run_stretch(Stretch(ring, choice["pool"], choice["weights"], choice["ends"][0], sweeps=3, seed=1))
    assert piece.cold.shape == (3, ring.ladders, len(plan.recorded)) and set(piece.counts.shares) == {
        "hamiltonian", "exchange",
    }  # fmt: skip
    assert any("replica exchange" in sentence for sentence in ring.not_sampled())


def test_structures_of_a_peptide_are_spread_and_trans() -> None:
    molecule = build(bundled("trialanine"))
    reference = np.asarray(molecule.positions._value)
    drawn = peptide_structures(molecule.topology, reference, seed=1)
    assert drawn is not None and drawn.shape == (KERNELS, *reference.shape) and np.isfinite(drawn).all()
    amides = amide_torsions(*topology_arrays(molecule.topology))
    assert (np.cos(torsions(drawn, amides)) < 0).mean() > 0.95
    again = peptide_structures(molecule.topology, reference, seed=1)
    np.testing.assert_array_equal(again, drawn)


def test_nothing_is_said_about_a_peptide_that_is_too_long() -> None:
    pdb = PDBFile(str(bundled("chignolin")))
    assert peptide_structures(pdb.topology, np.asarray(pdb.positions._value), seed=1) is None


def test_few_torsions_have_a_shorter_pilot(plan: Plan) -> None:
    few, many = ([0] * 5, [0] * 30)
    quads = plan.torsions.quads
    assert module.stages(replace(plan, torsions=Torsions(quads[few], ())), None) == [30, 60]
    assert module.stages(replace(plan, torsions=Torsions(quads[many], ())), None) == list(module.SWEEPS)


def test_a_guess_for_every_temperature_makes_the_pilot_shorter(plan: Plan, alanine: Any) -> None:
    """The bundled model of torsions draws each rung's, amides as they are; hot ones are wider."""
    reference = np.asarray(alanine.positions._value)
    guess = module.graph_torsions(plan, reference, seed=1)
    assert guess is not None and guess.shape[::2] == (len(plan.temperatures), len(plan.torsions.quads))
    assert guess.shape[0] * guess.shape[1] >= KERNELS
    amides = [t for t in range(guess.shape[2]) if not np.ptp(guess[..., t])]
    assert len(amides) == 2 and np.allclose(
        np.cos(guess[..., amides]), np.cos(plan.torsions.angles(reference[None])[0, amides]), atol=1e-5
    )
    assert len(module.stages(plan, guess)) == 1 and len(module.stages(plan, guess[0])) == 2
    np.testing.assert_array_equal(module.graph_torsions(plan, reference, seed=1), guess)
