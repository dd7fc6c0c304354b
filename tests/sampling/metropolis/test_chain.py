"""Metropolis chains of a molecule sample exp(-U / kT) exactly, with and without constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from scipy.stats import kstest

from latentmd.analysis.statistics import effective_samples
from latentmd.sampling.contracts import BurstError
from latentmd.sampling.metropolis.chain import Segment, run_segment, velocity_verlet
from latentmd.sampling.metropolis.moves import TorsionMove, acyclic_torsions
from latentmd.systems.builder import Molecule, Protocol
from latentmd.units import thermal_energy

BARRIER, TILT = 30.0, 3.0  # kJ/mol: no Hamiltonian move crosses
START = np.array([[0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.15, -0.06, 0.08]])
BONDS = np.array([(0, 1), (1, 2), (2, 3)])
QUADS = np.array([[0, 1, 2, 3]])


def _butane(constrained: bool) -> Molecule:
    """Four beads: bonds, angles, and one torsion with the potential `_potential`, which nothing else depends on."""
    system = openmm.System()
    for mass in (12.0, 14.0, 14.0, 12.0):
        system.addParticle(mass)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i, j in BONDS.tolist():
        length = float(np.linalg.norm(START[i] - START[j]))
        if constrained:
            system.addConstraint(i, j, length)
        else:
            bonds.addBond(i, j, length, 2e5)
    for i in (0, 1):
        angles.addAngle(i, i + 1, i + 2, 1.9, 400.0)
    torsion = openmm.CustomTorsionForce(f"{BARRIER} * cos(theta)^2 + {TILT} * sin(theta)")
    torsion.addTorsion(0, 1, 2, 3)
    for force in (bonds, angles, torsion):
        system.addForce(force)
    return _molecule(system, START)


def _molecule(system: openmm.System, positions: np.ndarray) -> Molecule:
    return Molecule(openmm.app.Topology(), system, positions, Protocol(temperature=300.0, timestep=0.002))


def _potential(theta: np.ndarray) -> np.ndarray:
    return BARRIER * np.cos(theta) ** 2 + TILT * np.sin(theta)


def _move(centres: list[float]) -> TorsionMove:
    quads, sides = acyclic_torsions(QUADS, BONDS, 4)
    return TorsionMove(quads, sides, np.array(centres)[:, None], 0.4)


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("centres", [[1.5, -1.5], [1.5, 1.5, 1.5, -0.7]])
def test_the_torsion_has_its_exact_distribution(constrained: bool, centres: list[float]) -> None:
    """By Kolmogorov and Smirnov, whether the proposals are good or put most of their weight on the rarer basin."""
    piece = run_segment(Segment(_butane(constrained), _move(centres), START, 2000, 1))
    theta = np.array([_move(centres).angles(x)[0] for x in piece.positions])
    series = [np.cos(theta)], [np.sin(theta)]
    stride = int(np.ceil(2 * len(theta) / min(effective_samples(s) for s in series)))
    grid = np.linspace(-np.pi, np.pi, 20001)
    weights = np.exp(-_potential(grid) / thermal_energy(300.0))
    cdf = np.cumsum(weights) / weights.sum()
    kept = theta[::stride]
    assert len(kept) > 100
    assert kstest(kept, lambda t: np.interp(t, grid, cdf)).pvalue > 0.001
    assert 1800 < piece.accepted[0] <= 2000 and 400 < piece.accepted[1] < 20_000


def test_energies_are_those_of_the_positions_and_constraints_hold() -> None:
    piece = run_segment(Segment(_butane(True), _move([1.5, -1.5]), START, 50, 3))
    context = _butane(True).context(velocity_verlet(0.001), "Reference")
    for positions, energy in zip(piece.positions[::10], piece.energies[::10], strict=True):
        context.setPositions(positions)
        assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(energy, abs=1e-9)
        lengths = np.linalg.norm(positions[BONDS[:, 0]] - positions[BONDS[:, 1]], axis=1)
        np.testing.assert_allclose(lengths, np.linalg.norm(START[BONDS[:, 0]] - START[BONDS[:, 1]], axis=1), rtol=1e-7)


def test_a_segment_follows_from_its_arguments() -> None:
    one, two, other = (run_segment(Segment(_butane(False), _move([1.5, -1.5]), START, 20, seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.positions, two.positions)
    assert np.abs(one.positions - other.positions).max() > 1e-3


def test_velocity_verlet_is_reversible() -> None:
    molecule = _butane(True)
    context = molecule.context(integrator := velocity_verlet(0.001), "Reference")
    context.applyConstraints(1e-10)
    context.setVelocitiesToTemperature(300.0, 2)
    before = context.getState(positions=True, velocities=True)
    integrator.step(50)
    there = context.getState(velocities=True).getVelocities(asNumpy=True)
    context.setVelocities(-there)
    integrator.step(50)
    after = context.getState(positions=True).getPositions(asNumpy=True)._value
    np.testing.assert_allclose(after, before.getPositions(asNumpy=True)._value, atol=1e-6)


def test_a_start_without_a_finite_energy_is_refused() -> None:
    broken: Any = np.full((4, 3), np.nan)
    with pytest.raises(BurstError):
        run_segment(Segment(_butane(False), _move([1.5]), broken, 2, 0))


def test_two_coupled_torsions_have_their_exact_distribution() -> None:
    """Turning one bond moves the atoms of the next; marginals by quadrature, proposals that know of no coupling."""
    system, start = _butane(False).system, np.vstack([START, [0.28, -0.08, 0.12]])
    system.addParticle(12.0)
    bonds, angles = system.getForce(0), system.getForce(1)
    bonds.addBond(3, 4, float(np.linalg.norm(start[3] - start[4])), 2e5)
    angles.addAngle(2, 3, 4, 1.9, 400.0)
    system.removeForce(2)
    both = openmm.CustomCompoundBondForce(
        5, "8*cos(a)^2 + 6*sin(b) + 4*cos(a-b); a=dihedral(p1,p2,p3,p4); b=dihedral(p2,p3,p4,p5)"
    )
    both.addBond([0, 1, 2, 3, 4])
    system.addForce(both)
    chain = np.vstack([BONDS, [3, 4]])
    quads, sides = acyclic_torsions(np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), chain, 5)
    move = TorsionMove(quads, sides, np.array([[1.5, -1.5], [-1.5, -1.5]]), 1.0)
    piece = run_segment(Segment(_molecule(system, start), move, start, 1500, 4))
    theta = np.array([move.angles(x) for x in piece.positions])
    grid = np.linspace(-np.pi, np.pi, 1001)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    energy = 8 * np.cos(a) ** 2 + 6 * np.sin(b) + 4 * np.cos(a - b)
    weights = np.exp(-energy / thermal_energy(300.0))
    for axis in (0, 1):
        stride = int(np.ceil(2 * len(theta) / effective_samples([np.sin(theta[:, axis])])))
        marginal = np.cumsum(weights.sum(axis=1 - axis))
        cdf = marginal / marginal[-1]
        assert kstest(theta[::stride, axis], lambda t, c=cdf: np.interp(t, grid, c)).pvalue > 0.001
