"""Ladders of temperatures: what they are made of, and stretches that depend on their values alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.ladders import HOTTEST, REPLICAS, THIN, Plan, Stretch, run_stretch
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled


@pytest.fixture(scope="module")
def plan(alanine: Any) -> Plan:
    return Plan.of(alanine, rotatable_torsions(*topology_arrays(alanine.topology)))


@pytest.fixture(scope="module")
def stretch(plan: Plan, alanine: Any) -> Stretch:
    rng = np.random.default_rng(0)
    pool = rng.uniform(-np.pi, np.pi, (len(plan.temperatures), 8, len(plan.torsions.quads)))
    start = np.broadcast_to(np.asarray(alanine.positions._value), (plan.replicas, 22, 3))
    return Stretch(plan, pool, np.full(len(plan.blocks), 1 / len(plan.blocks)), start, sweeps=THIN, seed=3)


def test_a_ladder_goes_from_the_temperature_of_the_run_to_twice_that(plan: Plan, alanine: Any) -> None:
    kelvin = alanine.protocol.temperature
    assert plan.temperatures[0] == pytest.approx(kelvin) and plan.temperatures[-1] == pytest.approx(HOTTEST * kelvin)
    assert (np.diff(plan.temperatures) > 0).all() and plan.replicas <= REPLICAS


def test_it_says_what_no_move_changes() -> None:
    molecule = build(bundled("chignolin"))  # has a proline
    found = Plan.of(molecule, rotatable_torsions(*topology_arrays(molecule.topology))).not_sampled()
    assert found[-1] == "stereocentres keep their handedness"
    assert any("amides" in sentence for sentence in found)


def test_a_stretch_depends_on_its_values_alone(stretch: Stretch) -> None:
    piece, again, other = run_stretch(stretch), run_stretch(stretch), run_stretch(replace(stretch, seed=4))
    np.testing.assert_array_equal(piece.end, again.end)
    assert not np.array_equal(piece.end, other.end)
    ladders = stretch.plan.ladders
    assert piece.positions.shape == (1, ladders, 22, 3) and piece.energies.shape == (THIN, ladders)
    assert piece.angles.shape == (THIN, stretch.plan.replicas, len(stretch.plan.torsions.quads))
    assert piece.calls > 0 and sum(piece.counts.tried.values()) > 0


def test_energies_are_those_of_the_force_field(stretch: Stretch) -> None:
    piece = run_stretch(stretch)
    energies = stretch.plan.engine(np.repeat(piece.positions[0], len(stretch.plan.temperatures), axis=0), 0)
    again = energies.energies(np.repeat(piece.positions[0], len(stretch.plan.temperatures), axis=0))
    np.testing.assert_allclose(again[:: len(stretch.plan.temperatures)], piece.energies[-1], atol=0.05)
