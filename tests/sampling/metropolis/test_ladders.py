"""Ladders of temperatures: what they are made of, and stretches that depend on their values alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.metropolis.ladders import HOTTEST, REPLICAS, THIN, EngineEnergies, Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.wells import turns_of
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.systems.ligands import sided_bonds
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.units import GAS_CONSTANT


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


def test_energies_are_openmm_s_and_are_counted(alanine: Any) -> None:
    x = np.repeat(np.asarray(alanine.positions._value)[None], 3, axis=0)
    found = EngineEnergies(replica_engine(alanine.system, x), 0.001)
    context = alanine.context(openmm.VerletIntegrator(0.001), "Reference")
    exact = context.getState(energy=True).getPotentialEnergy()._value
    np.testing.assert_allclose(found.energies(x), exact, atol=0.02)
    assert found.calls == 3


@pytest.fixture
def spring() -> openmm.System:
    """Two particles on a spring, which the kernel and OpenMM both know."""
    system = openmm.System()
    for mass in (10.0, 12.0):
        system.addParticle(mass)
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.2, 5000.0)
    system.addForce(force)
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    for _ in range(2):
        nonbonded.addParticle(0.0, 0.1, 0.0)
    nonbonded.addException(0, 1, 0.0, 0.1, 0.0)
    system.addForce(nonbonded)
    return system


def test_hamiltonian_moves_sample_every_temperature(spring: openmm.System) -> None:
    """The density of a bond length is r² exp(-k (r - r0)² / 2 kT): its mean and variance, by quadrature."""
    kelvin = np.repeat([200.0, 800.0], 64)
    x = np.zeros((128, 2, 3))
    x[:, 1, 0] = 0.2
    chain = EngineEnergies(replica_engine(spring, x, temperature=kelvin, seed=3), 0.004, steps=12)
    energies, rng = chain.energies(x), np.random.default_rng(0)
    lengths, taken = [], []
    for sweep in range(160):
        x, energies, accepted = chain.hamiltonian(x, energies, kelvin, rng)
        if sweep >= 20:
            lengths.append(np.linalg.norm(x[:, 1] - x[:, 0], axis=1))
            taken.append(accepted)
    np.testing.assert_allclose(energies, chain.energies(x), atol=1e-3)
    assert 0.5 < np.mean(taken) <= 1.0
    r = np.linspace(0.02, 0.5, 4000)
    for rows, temperature in ((slice(0, 64), 200.0), (slice(64, 128), 800.0)):
        weight = r**2 * np.exp(-2500.0 * (r - 0.2) ** 2 / (GAS_CONSTANT * temperature))
        mean = (weight * r).sum() / weight.sum()
        spread = np.sqrt((weight * (r - mean) ** 2).sum() / weight.sum())
        found = np.array(lengths)[:, rows]
        error = found.mean(axis=0).std(ddof=1) / np.sqrt(64)
        assert abs(found.mean() - mean) < 4 * error
        assert found.std() == pytest.approx(spread, rel=0.05)


def test_an_explosion_is_rejected(spring: openmm.System) -> None:
    x = np.zeros((2, 2, 3))
    x[:, 1, 0] = 0.2
    chain = EngineEnergies(replica_engine(spring, x, temperature=300.0, seed=3), 5.0, steps=50)
    energies = chain.energies(x)
    moved, after, accepted = chain.hamiltonian(x, energies, np.full(2, 300.0), np.random.default_rng(0))
    assert not accepted.any()
    np.testing.assert_array_equal(moved, x)
    np.testing.assert_array_equal(after, energies)


def test_double_bonds_keep_their_side_and_their_neighbours_turn() -> None:
    pytest.importorskip("rdkit")
    pytest.importorskip("openff.toolkit")
    molecule = build(Path("pentenol"), Protocol("vacuum", inputs=InputOptions(smiles="C/C=C/CO")))
    plan = Plan.of(molecule, rotatable_torsions(*topology_arrays(molecule.topology)))
    positions = np.array(molecule.positions._value)
    sided = sided_bonds(molecule.ligand)
    assert sided == {(1, 2)}
    drawn = {i for block in plan.blocks if block.kind == "draw" for i in block.torsions}
    assert [tuple(sorted(plan.torsions.quads[i, 1:3].tolist())) for i in sorted(drawn)] == [(2, 3), (3, 4)]
    assert [turn.name for turn in turns_of(molecule.topology, positions, sided)] == ["C2-C3-C4-O5", "C3-C4-O5-H13"]
    assert any("double bonds stay cis or trans" in sentence for sentence in plan.not_sampled())
