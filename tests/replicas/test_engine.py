"""The compiled engine: OpenMM's energies and forces, exact distributions, replicas that know nothing of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from scipy.stats import kstest

from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.replicas.one_by_one import OneByOne
from latentmd.replicas.terms import UnsupportedError
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled, molecules
from latentmd.units import GAS_CONSTANT

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the replica kernel was not compiled at installation")
VARIANTS = LIBRARY.variants if LIBRARY else ()


def _thermal(molecule: Any, seed: int = 1) -> np.ndarray:
    """Positions (atoms, 3) after a picosecond of MD."""
    integrator = openmm.LangevinMiddleIntegrator(350, 5, 0.002)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(molecule.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(molecule.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    context.setVelocitiesToTemperature(350, seed)
    integrator.step(300)
    return np.asarray(context.getState(positions=True).getPositions(asNumpy=True)._value)


def _openmm(system: openmm.System, positions: np.ndarray) -> tuple[float, np.ndarray]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, np.asarray(state.getForces(asNumpy=True)._value)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", molecules(), ids=lambda path: path.stem)
def test_energies_and_forces_are_openmms(path: Any, variant: str) -> None:
    solvents = ("implicit", "vacuum") if path.stem == "met_enkephalin" else ("implicit",)
    for solvent in solvents:
        molecule = build(path, Protocol(solvent=solvent))  # type: ignore[arg-type]
        x = _thermal(molecule)
        energy, forces = _openmm(molecule.system, x)
        engine = ReplicaEngine(molecule.system, np.repeat(x[None] + 0.3, 3, axis=0), variant=variant, threads=1)
        rms = np.sqrt((forces**2).mean())
        np.testing.assert_allclose(engine.energies(), energy, atol=1e-5 * len(x) + 2e-3)
        assert np.sqrt(((engine.forces()[1] - forces) ** 2).mean()) < 1e-5 * rms


@pytest.fixture(scope="module")
def dipeptide() -> Any:
    return build(bundled("alanine_dipeptide"))


def _engine(molecule: Any, replicas: int = 20, **options: Any) -> ReplicaEngine:
    x = np.asarray(molecule.positions._value)
    engine = ReplicaEngine(molecule.system, np.repeat(x[None], replicas, axis=0), **{"threads": 1, **options})
    return engine


def test_a_replica_depends_on_itself_alone(dipeptide: Any) -> None:
    """Neither on how many there are, nor on its place, nor on threads; bit for bit."""

    def run(replicas: int, numbers: list[int], threads: int) -> np.ndarray:
        engine = _engine(dipeptide, replicas, temperature=350.0, seed=7, numbers=numbers, threads=threads)
        engine.draw_velocities()
        engine.langevin(30, timestep=0.004, friction=1.0)
        return engine.positions

    whole = run(40, list(range(40)), 2)
    np.testing.assert_array_equal(run(40, list(range(40)), 1), whole)
    np.testing.assert_array_equal(run(3, [38, 5, 17], 1), whole[[38, 5, 17]])
    assert np.abs(whole[0] - whole[1]).max() > 1e-4


def test_it_goes_on_bit_for_bit(dipeptide: Any) -> None:
    one, two = _engine(dipeptide, seed=3), _engine(dipeptide, seed=3)
    one.draw_velocities()
    one.langevin(20, timestep=0.002, friction=2.0)
    state = one.state()
    one.langevin(20, timestep=0.002, friction=2.0)
    two.restore(state)
    two.langevin(20, timestep=0.002, friction=2.0)
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.velocities, two.velocities)


def test_a_broken_replica_leaves_the_others_unharmed(dipeptide: Any) -> None:
    x = np.repeat(np.asarray(dipeptide.positions._value)[None], 5, axis=0)
    good = ReplicaEngine(dipeptide.system, x, seed=1, threads=1)
    x[2] = np.nan
    engine = ReplicaEngine(dipeptide.system, x, seed=1, threads=1)
    for each in (good, engine):
        each.draw_velocities()
        each.langevin(10, timestep=0.002, friction=1.0)
    np.testing.assert_array_equal(engine.broken(), [False, False, True, False, False])
    kept = [0, 1, 3, 4]
    np.testing.assert_array_equal(engine.positions[kept], good.positions[kept])


@pytest.mark.slow
def test_temperature_and_energy_are_those_of_openmm(dipeptide: Any) -> None:
    """350 K and the mean energy of alanine dipeptide, -72.6 kJ/mol in OpenMM (Reference, 16 ns: -72.62 +- 0.09)."""
    engine = _engine(dipeptide, 64, temperature=350.0, seed=2)
    engine.minimize(100)
    engine.draw_velocities()
    engine.langevin(5000, timestep=0.004, friction=1.0)
    kinetic, potential = [], []
    for _ in range(150):
        engine.langevin(50, timestep=0.004, friction=1.0)
        kinetic.append(engine.kinetic_energies())
        potential.append(engine.energies())
    freedom = 3 * 22 - len(engine.terms.constraints) - 3  # the centre of mass is kept at rest
    temperature = 2 * np.mean(kinetic, axis=0) / (freedom * GAS_CONSTANT)
    error = temperature.std() / 8
    assert abs(temperature.mean() - 351.5) < 4 * error + 0.6  # OpenMM Reference: 351.5 +- 0.6
    energies = np.mean(potential, axis=0)
    assert abs(energies.mean() + 72.62) < 4 * np.hypot(energies.std() / 8, 0.09)


def test_energy_is_conserved_without_a_thermostat(dipeptide: Any) -> None:
    engine = _engine(dipeptide, 16, temperature=300.0, seed=5)
    engine.minimize(50)
    engine.draw_velocities()
    engine.langevin(500, timestep=0.002, friction=5.0)
    engine.draw_velocities()
    totals = []
    for _ in range(20):
        engine.verlet(500, timestep=0.0005)
        totals.append(engine.energies() + engine.kinetic_energies())
    drift = np.polyfit(np.arange(20) * 0.25, np.array(totals), 1)[0]  # kJ/mol/ps
    assert np.abs(drift).max() < 0.02
    assert np.std(totals, axis=0).max() < 0.1


def test_verlet_is_reversible_and_keeps_momentum(dipeptide: Any) -> None:
    engine = _engine(dipeptide, 4, temperature=300.0, seed=4)
    engine.minimize(20)
    engine.draw_velocities()
    start, momentum = engine.positions, np.einsum("a,rad->rd", engine.terms.mass, engine.velocities)
    engine.verlet(40, timestep=0.001)
    np.testing.assert_allclose(np.einsum("a,rad->rd", engine.terms.mass, engine.velocities), momentum, atol=1e-3)
    engine.set_velocities(-engine.velocities)
    engine.verlet(40, timestep=0.001)
    np.testing.assert_allclose(engine.positions, start, atol=2e-5)


def test_constraints_hold(dipeptide: Any) -> None:
    engine = _engine(dipeptide, 8, temperature=500.0, seed=6)
    engine.constrain()
    engine.draw_velocities()
    engine.langevin(200, timestep=0.004, friction=1.0)
    i, j = engine.terms.constraints.T
    apart = engine.positions[:, i] - engine.positions[:, j]
    np.testing.assert_allclose(np.linalg.norm(apart, axis=2) / engine.terms.distance, 1.0, atol=1e-7)


def test_minimising_goes_downhill(dipeptide: Any) -> None:
    engine = _engine(dipeptide, 3)
    rng = np.random.default_rng(0)
    engine.set_positions(engine.positions + rng.normal(0, 0.01, engine.positions.shape))
    engine.constrain()
    before = engine.energies()
    assert (engine.minimize(150) < before - 50).all()
    np.testing.assert_allclose(engine.energies(), engine.minimize(0), atol=1e-6)


def test_restraints_hold_torsions_and_leave_energies_alone(dipeptide: Any) -> None:
    quads = rotatable_torsions(*topology_arrays(dipeptide.topology))
    engine = _engine(dipeptide, 6, temperature=300.0, restraints=quads, seed=8)
    bare = engine.energies()
    targets = torsions(engine.positions, quads) + 0.4
    engine.hold(targets, 1000.0)
    np.testing.assert_array_equal(engine.energies(), bare)
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(dipeptide.system))
    one = OneByOne(system, engine.positions, restraints=quads)
    one.hold(targets, 1000.0)
    expected = one.forces()
    assert np.sqrt(((engine.forces() - expected) ** 2).mean()) < 2e-5 * np.sqrt((expected**2).mean())
    engine.minimize(200)
    engine.draw_velocities()
    engine.langevin(500, timestep=0.002, friction=10.0)
    off = np.angle(np.exp(1j * (torsions(engine.positions, quads) - targets)))
    assert np.abs(off).max() < np.deg2rad(20)


def _chain(n: int = 2, length: float = 0.15, stiffness: float = 5e4) -> openmm.System:
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    for _ in range(n):
        system.addParticle(12.0)
    bonds.addBond(0, 1, length, stiffness)
    system.addForce(bonds)
    return system


def test_hamiltonian_moves_sample_a_bond_exactly() -> None:
    """The length of a harmonic bond in three dimensions has the density r² exp(-k (r - r0)² / 2 kT)."""
    start = np.repeat(np.array([[[0.0, 0, 0], [0.15, 0, 0]]]), 64, axis=0)
    engine = ReplicaEngine(_chain(), start, temperature=300.0, seed=9, threads=1)
    rng, lengths, taken = np.random.default_rng(1), [], []
    for k in range(120):
        taken.append(engine.hamiltonian(7, timestep=0.006, rng=rng).mean())
        if k >= 20 and k % 4 == 0:
            lengths.append(np.linalg.norm(engine.positions[:, 0] - engine.positions[:, 1], axis=1))
    grid = np.linspace(0.1, 0.2, 4001)
    cdf = np.cumsum(grid**2 * np.exp(-5e4 * (grid - 0.15) ** 2 / (2 * GAS_CONSTANT * 300.0)))
    kept = np.concatenate(lengths)
    assert kstest(kept, lambda r: np.interp(r, grid, cdf / cdf[-1])).pvalue > 0.001
    assert 0.3 < np.mean(taken) < 0.999


def test_langevin_has_the_variance_of_a_bond_at_every_temperature() -> None:
    kelvin = np.repeat([150.0, 600.0], 32)
    start = np.repeat(np.array([[[0.0, 0, 0], [0.15, 0, 0]]]), 64, axis=0)
    engine = ReplicaEngine(_chain(), start, temperature=kelvin, seed=11, threads=1)
    engine.draw_velocities()
    found = []
    for _ in range(400):
        engine.langevin(100, timestep=0.002, friction=5.0)
        found.append(np.linalg.norm(engine.positions[:, 0] - engine.positions[:, 1], axis=1))
    series = np.array(found[20:])
    for rows, temperature in ((slice(0, 32), 150.0), (slice(32, 64), 600.0)):
        variance = series[:, rows].var()
        assert variance == pytest.approx(GAS_CONSTANT * temperature / 5e4, rel=0.06)


def test_another_force_is_refused_by_name(dipeptide: Any) -> None:
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(dipeptide.system))
    system.addForce(openmm.CustomExternalForce("x^2"))
    x = np.zeros((1, 22, 3))
    with pytest.raises(UnsupportedError, match=r"CustomExternalForce.*one replica at a time"):
        ReplicaEngine(system, x)
    with pytest.raises(ValueError, match=r"positions have shape \(1, 5, 3\); expected \(replicas, 22, 3\)"):
        ReplicaEngine(dipeptide.system, np.zeros((1, 5, 3)))
    with pytest.raises(ValueError, match="expected above 0"):
        ReplicaEngine(dipeptide.system, x, temperature=-1.0)
    with pytest.raises(RuntimeError, match="has no sse9; expected one of"):
        ReplicaEngine(dipeptide.system, x, variant="sse9")
    with pytest.raises(ValueError, match="expected 0 or more steps"):
        ReplicaEngine(dipeptide.system, x).langevin(-1, timestep=0.002, friction=1.0)
