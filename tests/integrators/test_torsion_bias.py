"""A static bias: the energy that was meant, right populations after weighing, and no bias where nothing is high."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.integrators import TorsionBias
from latentmd.integrators.torsion_bias import bias_energy, evenness
from latentmd.integrators.torsion_blocks import TorsionBlock, TorsionTable, backbone_blocks
from latentmd.molecule.checks import torsions
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled
from latentmd.units import thermal_energy

KELVIN = 300.0
QUAD = np.array([[0, 1, 2, 3]])
KT = thermal_energy(KELVIN)
BARRIER = 12.0  # kT of two wells at +-90 degrees, the one of which is higher by 2.5 kT


def _well_energy(angle: np.ndarray) -> np.ndarray:
    return KT * (BARRIER / 2 * (1 + np.cos(2 * angle)) + 1.25 * np.sin(angle))


def _toy(bias: TorsionTable | None) -> tuple[app.Simulation, TorsionBias | None]:
    """Four particles with a double well of the torsion, whose density is exp(-V/kT) alone."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("TOY", topology.addChain())
    for i in range(4):
        system.addParticle(12.0)
        topology.addAtom(f"C{i}", app.element.carbon, residue)
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i in range(3):
        bond.addBond(i, i + 1, 0.15, 1e4)
    for i in range(2):
        angle.addAngle(i, i + 1, i + 2, 1.9, 400.0)
    energy = f"{KT}*({BARRIER / 2}*(1 + cos(2*theta)) + 1.25*sin(theta))"
    twist = openmm.CustomTorsionForce(energy)
    twist.addTorsion(0, 1, 2, 3)
    for force in (bond, angle, twist):
        system.addForce(force)
    made = None if bias is None else TorsionBias(system, [TorsionBlock("toy", QUAD, bias)], KELVIN, above=1.0, most=15)
    integrator = openmm.LangevinMiddleIntegrator(KELVIN, 5, 0.004)
    integrator.setRandomNumberSeed(3)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(np.array([[0, 0.14, 0], [0, 0, 0], [0.15, 0, 0], [0.15, 0.01, 0.14]]))
    return simulation, made


def _wrong_density() -> np.ndarray:
    """A density whose wells are as deep as they are, and whose populations are the other way round."""
    middle = -np.pi + 2 * np.pi * (np.arange(36) + 0.5) / 36
    return np.exp(-_well_energy(-middle) / KT)


def test_a_wrong_bias_gives_the_right_population_after_weighing() -> None:
    simulation, bias = _toy(TorsionTable(_wrong_density()))
    assert bias is not None
    right, weights = [], []
    for _ in range(6000):
        simulation.step(25)
        state = simulation.context.getState(positions=True)
        right.append(torsions(state.getPositions(asNumpy=True)._value[None], QUAD)[0, 0] > 0)
        weights.append(np.exp(bias.log_weight(simulation.context)))
    angle = np.linspace(-np.pi, np.pi, 20001)
    exact = np.exp(-_well_energy(angle) / KT)
    share = exact[angle > 0].sum() / exact.sum()
    inside, weight = np.array(right), np.array(weights)
    parts = [(w * i).sum() / w.sum() for w, i in zip(np.split(weight, 20), np.split(inside, 20), strict=True)]
    assert np.count_nonzero(np.diff(inside)) > 100  # a barrier of 12 kT, which MD does not cross
    found, error = (weight * inside).sum() / weight.sum(), np.std(parts, ddof=1) / np.sqrt(20)
    assert abs(found - share) < 3 * error < 0.15, (found, share, error)
    assert abs(inside.mean() - share) > 3 * error  # without the weights it is wrong


def test_without_bias_the_barrier_is_not_crossed() -> None:
    simulation, _ = _toy(None)
    simulation.step(50_000)
    state = simulation.context.getState(positions=True)
    start = torsions(np.array([[[0, 0.14, 0], [0, 0, 0], [0.15, 0, 0], [0.15, 0.01, 0.14]]]), QUAD)[0, 0]
    assert np.sign(torsions(state.getPositions(asNumpy=True)._value[None], QUAD)[0, 0]) == np.sign(start)


def _single(table: TorsionTable, quads: np.ndarray) -> list[TorsionBlock]:
    return [TorsionBlock("psi", quads[1:], TorsionTable(table.weights.sum(axis=0)))]


def _pair(table: TorsionTable, quads: np.ndarray) -> list[TorsionBlock]:
    return [TorsionBlock("both", quads, table)]


@pytest.mark.parametrize("blocks", [_single, _pair])
def test_the_energy_is_that_of_the_cells(blocks: Callable[[TorsionTable, np.ndarray], list[TorsionBlock]]) -> None:
    molecule = build(bundled("alanine_dipeptide"), Protocol(temperature=KELVIN))
    quads = backbone_blocks(molecule.topology)[0].quads
    middle = -np.pi + 2 * np.pi * (np.arange(36) + 0.5) / 36
    phi, psi = np.meshgrid(middle, middle, indexing="ij")
    table = TorsionTable(np.exp(3 * np.cos(phi - 0.9) + 2 * np.cos(psi + 1.4) + np.cos(phi - psi)))
    (block,) = blocks(table, quads)
    bias = TorsionBias(molecule.system, [block], KELVIN, above=1.0, most=20.0)
    simulation = app.Simulation(
        molecule.topology, molecule.system, molecule.langevin(1), openmm.Platform.getPlatformByName("Reference")
    )
    simulation.context.setPositions(molecule.positions)
    expected, found = [], []
    for _ in range(40):
        simulation.step(25)
        places = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
        cell = np.floor((torsions(places[None], block.quads)[0] + np.pi) / (2 * np.pi) * 36).astype(int) % 36
        expected.append(bias_energy(block.table.weights, 1.0, 20.0)[tuple(cell)])
        found.append(bias.log_weight(simulation.context))
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(found, expected, atol=0.5)  # half a cell away and splines


def test_evenness_is_what_weights_have() -> None:
    density, rng = np.exp(-np.linspace(0, 8, 50)), np.random.default_rng(0)
    biased = density * np.exp(-bias_energy(density, 2.0))
    drawn = rng.choice(50, size=200_000, p=biased / biased.sum())
    weights = np.exp(bias_energy(density, 2.0))[drawn]
    assert evenness(density, 2.0) == pytest.approx(weights.sum() ** 2 / (weights**2).sum() / len(weights), rel=0.01)
    assert evenness(density, 9.0) == pytest.approx(1.0) and evenness(density, 0.0) < evenness(density, 2.0)


@pytest.mark.parametrize(("count", "most"), [(0, 8.0), (1, 0.0)])
def test_no_block_and_no_depth_are_refused(count: int, most: float) -> None:
    block = TorsionBlock("toy", QUAD, TorsionTable.uniform(1))
    with pytest.raises(ValueError, match=f"{count} blocks and a depth of {most:g} kT; expected"):
        TorsionBias(openmm.System(), [block] * count, KELVIN, most=most)
