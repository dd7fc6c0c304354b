"""Torsion jumps: right populations from wrong proposals, planted faults are seen, nothing else of a run is touched."""

from __future__ import annotations

from typing import Any

import mdtraj
import numpy as np
import openmm
import pytest
from lengths import bennett
from openmm import app, unit
from solvated import solvated

from latentmd.integrators import torsion_jumps
from latentmd.integrators.leapfrog import turn_round
from latentmd.integrators.torsion_blocks import TorsionBlock, TorsionTable, backbone_blocks
from latentmd.integrators.torsion_jumps import TorsionJumps
from latentmd.molecule.checks import torsions
from latentmd.systems.bundled import bundled
from latentmd.units import GAS_CONSTANT

TEMPERATURE = 300.0
QUAD = np.array([[0, 1, 2, 3]])
# Two wells: a narrow one at 0 and a broad one at a half-turn, kJ/mol; unlike, so that ways to and fro are unlike.
ENERGY = "-14*exp(16*(cos(theta)-1)) - 10*exp(2*(cos(theta-3.141592653589793)-1))"


def _toy() -> tuple[openmm.System, app.Topology, np.ndarray]:
    """Four particles in a chain; bonds and angles are harmonic, so that the torsion's density is exp(-V/kT) alone."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("TOY", topology.addChain())
    for i in range(4):
        system.addParticle(12.0)
        topology.addAtom(f"C{i}", app.element.carbon, residue)
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i in range(3):
        bond.addBond(i, i + 1, 0.15, 1e4)
    for i in range(2):
        angle.addAngle(i, i + 1, i + 2, 1.9, 200.0)
    twist = openmm.CustomTorsionForce(ENERGY)
    twist.addTorsion(0, 1, 2, 3)
    for force in (bond, angle, twist):
        system.addForce(force)
    positions = np.array([[0, 0.14, 0], [0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0.01]])
    return system, topology, positions


def _share() -> float:
    """Exact probability of |torsion| < pi/2."""
    angle = np.linspace(-np.pi, np.pi, 20001)
    energy = -14 * np.exp(16 * (np.cos(angle) - 1)) - 10 * np.exp(2 * (np.cos(angle - np.pi) - 1))
    weight = np.exp(-energy / (GAS_CONSTANT * TEMPERATURE))
    return float(weight[np.abs(angle) < np.pi / 2].sum() / weight.sum())


def _simulation(
    system: openmm.System, topology: app.Topology, positions: Any, step: float = 0.004, platform: str = "Reference"
) -> app.Simulation:
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5, step)
    integrator.setRandomNumberSeed(3)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName(platform))
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 4)
    return simulation


def _run(jumps: int, seed: int = 1, length: float = 1.0) -> tuple[float, float, TorsionJumps]:
    """Share of |torsion| < pi/2 after jumps with proposals that favour the wrong well, its standard error, the move."""
    system, topology, positions = _toy()
    middle = -np.pi + 2 * np.pi * (np.arange(24) + 0.5) / 24
    table = TorsionTable(np.where(np.abs(middle) < np.pi / 2, 4.0, 1.0), least=2)
    move = TorsionJumps(system, [TorsionBlock("toy", QUAD, table)], length=length, seed=seed)
    simulation = _simulation(system, topology, positions)
    inside = []
    for _ in range(jumps):
        move.jump(simulation)
        simulation.step(20)
        state = simulation.context.getState(positions=True)
        inside.append(abs(torsions(state.getPositions(asNumpy=True)._value[None], QUAD)[0, 0]) < np.pi / 2)
    blocks = np.array(inside[: jumps // 20 * 20]).reshape(20, -1).mean(axis=1)
    return float(np.mean(inside)), float(blocks.std(ddof=1) / np.sqrt(20)), move


@pytest.fixture(scope="module")
def toy_run() -> tuple[float, float, TorsionJumps]:
    return _run(2000)


def test_wrong_proposals_give_the_right_populations(toy_run: tuple[float, float, TorsionJumps]) -> None:
    share, error, move = toy_run
    assert move.accepted["toy"] > 100
    assert abs(share - _share()) < 3 * error, (share, error, _share())


def _hurried(runs: int) -> np.ndarray:
    """A schedule that is fast at its beginning and slow at its end, on the way back, too."""
    return np.linspace(0.0, 1.0, runs + 2) ** (1 / 3)


@pytest.mark.parametrize(
    ("where", "name", "fault"), [(TorsionTable, "log_density", lambda *_: 0.0), (torsion_jumps, "_shares", _hurried)]
)
def test_planted_faults_are_seen(monkeypatch: pytest.MonkeyPatch, where: object, name: str, fault: Any) -> None:
    """Proposals without their ratio, and a schedule that reads otherwise backwards."""
    monkeypatch.setattr(where, name, fault)
    share, error, _ = _run(2000)
    assert abs(share - _share()) > 4 * error, (share, error, _share())


@pytest.mark.parametrize("runs", [1, 2, 125])
def test_the_schedule_reads_the_same_backwards(runs: int) -> None:
    shares = torsion_jumps._shares(runs)
    assert len(shares) == runs + 2 and (shares[0], shares[-1]) == (0.0, 1.0)
    np.testing.assert_allclose(shares + shares[::-1], 1.0)


def test_steering_without_noise_runs_backwards_and_gives_its_work_back() -> None:
    """Time-reversible as a whole, moves of the centre included: else kinetic energy comes in that no work counts."""
    system, topology, positions = _toy()
    move = TorsionJumps(system, [TorsionBlock("toy", QUAD, TorsionTable.uniform(1))], length=0.4)
    simulation = _simulation(system, topology, positions)
    simulation.step(500)
    simulation.integrator.setFriction(0.0)
    start = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    centre, turn = torsions(start[None], QUAD)[0] + 0.1, np.array([2.0])
    there = move._steer(simulation.context, move.blocks[0], centre, turn)
    reached = simulation.context.getState(positions=True, velocities=True, forces=True)
    turn_round(simulation.context, reached)
    back = move._steer(simulation.context, move.blocks[0], centre + turn, -turn)
    end = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    assert np.abs(reached.getPositions(asNumpy=True)._value - start).max() > 0.05
    np.testing.assert_allclose(end, start, atol=1e-6)
    assert there + back == pytest.approx(0.0, abs=1e-3) and abs(there) > 1


def _restrained_free_energy(centre: np.ndarray, stiffness: float) -> np.ndarray:
    """-ln of the integral of exp(-(V + U_r) / kT) over the torsion with the centre at each of these, in kT."""
    kt = GAS_CONSTANT * TEMPERATURE
    angle = np.linspace(-np.pi, np.pi, 20001)
    energy = -14 * np.exp(16 * (np.cos(angle) - 1)) - 10 * np.exp(2 * (np.cos(angle - np.pi) - 1))
    restrained = energy - stiffness * np.cos(angle - centre[:, None])
    return -np.log(np.exp(-(restrained - restrained.min()) / kt).sum(axis=1)) + restrained.min() / kt


@pytest.mark.parametrize(("length", "step"), [(0.5, 0.004), (1.5, 0.004), (0.5, 0.002)])
def test_works_there_and_back_give_the_free_energy_whatever_the_length(length: float, step: float) -> None:
    """Crooks: the works of both ways cross at the free energy; Bennett's ratio finds it, at 2 fs as at 4 fs."""
    system, topology, positions = _toy()
    move = TorsionJumps(system, [TorsionBlock("toy", QUAD, TorsionTable.uniform(1))], length=length)
    simulation, kt = _simulation(system, topology, positions, step), GAS_CONSTANT * TEMPERATURE
    context, ends, turn = simulation.context, np.array([0.4, 2.4]), np.array([2.0])
    works: list[list[float]] = [[], []]
    move._steer(context, move.blocks[0], ends[:1] - 0.1, np.array([0.1]))  # the restraints now stand at the first end
    for _ in range(200):
        for way, begin, by in ((0, ends[:1], turn), (1, ends[1:], -turn)):
            context.setParameter("latentmd_jump_stiffness", move.stiffness)
            simulation.step(round(0.8 / step))
            works[way].append(move._steer(context, move.blocks[0], begin, by) / kt)
    there, back = (np.array(one) for one in works)
    free = bennett(there, back)
    drawn = np.random.default_rng(0).integers(200, size=(2, 100, 200))
    error = float(np.std([bennett(there[a], back[b]) for a, b in zip(*drawn, strict=True)]))
    exact = float(np.diff(_restrained_free_energy(ends, move.stiffness))[0])
    assert abs(free - exact) < 3 * error < 0.9, (free, exact, error)
    assert there.mean() > exact > -back.mean()  # some is dissipated on both ways


def test_a_jump_costs_no_time_and_leaves_no_force() -> None:
    system, topology, positions = _toy()
    move = TorsionJumps(system, [TorsionBlock("toy", QUAD, TorsionTable.uniform(1))], length=1.0)
    simulation = _simulation(system, topology, positions)
    simulation.step(5)
    made = [move.jump(simulation) for _ in range(5)]
    assert simulation.currentStep == 5
    assert simulation.context.getTime().value_in_unit(unit.picosecond) == pytest.approx(0.02)
    assert move.steps == 5 * 250
    assert simulation.context.getParameter("latentmd_jump_stiffness") == 0
    for jump in made:  # the restraints of 5 degrees bring the torsion where the centre is sent
        assert abs(np.angle(np.exp(1j * (jump.end[0] - jump.target[0])))) < np.deg2rad(25)


def test_a_restart_repeats_the_jumps() -> None:
    kept = []
    for _ in range(2):
        system, topology, positions = _toy()
        move = TorsionJumps(system, [TorsionBlock("toy", QUAD, TorsionTable.uniform(1))], length=0.4, every=50, seed=7)
        simulation = _simulation(system, topology, positions)
        simulation.reporters.append(move)
        if not kept:
            simulation.step(120)
            checkpoint, state = simulation.context.createCheckpoint(), move.state()
        else:
            simulation.context.loadCheckpoint(checkpoint)
            move.set_state(state)
        simulation.step(200)
        assert (move.number, move.tried) == (6, {"toy": 6})
        kept.append(simulation.context.getState(positions=True).getPositions(asNumpy=True)._value)
    np.testing.assert_array_equal(*kept)


@pytest.mark.parametrize("error", [openmm.OpenMMException("Particle coordinate is NaN"), KeyboardInterrupt()])
def test_what_goes_wrong_on_the_way_leaves_the_start(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    system, topology, positions = _toy()
    move = TorsionJumps(system, [TorsionBlock("toy", QUAD, TorsionTable.uniform(1))])
    simulation = _simulation(system, topology, positions)
    simulation.step(3)
    before = simulation.context.getState(positions=True)
    step, done = openmm.LangevinMiddleIntegrator.step, []

    def failing(self: openmm.LangevinMiddleIntegrator, steps: int) -> None:
        done.append(steps)
        if len(done) == 4:
            raise error
        step(self, steps)

    with monkeypatch.context() as patch:
        patch.setattr(openmm.LangevinMiddleIntegrator, "step", failing)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                move.jump(simulation)
        else:
            jump = move.jump(simulation)
            assert not jump.accepted and jump.work == np.inf
    after = simulation.context.getState(positions=True)
    np.testing.assert_array_equal(before.getPositions(asNumpy=True)._value, after.getPositions(asNumpy=True)._value)
    assert simulation.currentStep == 3 and simulation.context.getParameter("latentmd_jump_stiffness") == 0
    simulation.step(50)


def test_velocities_turned_round_run_the_steps_before_backwards(explicit_water: app.Simulation) -> None:
    """Rigid water and constrained bonds too; drawing velocities anew would heat leapfrog's librations instead."""
    simulation, integrator = explicit_water, explicit_water.integrator
    friction, positions = integrator.getFriction(), []
    barostat = next(f for f in simulation.system.getForces() if isinstance(f, openmm.MonteCarloBarostat))
    integrator.setFriction(0.0)  # no noise: plain leapfrog
    barostat.setFrequency(0)
    for _ in range(2):
        for _ in range(2):
            positions.append(simulation.context.getState(positions=True).getPositions(asNumpy=True)._value)
            simulation.step(10)
        state = simulation.context.getState(positions=True, velocities=True, forces=True)
        turn_round(simulation.context, state)
    barostat.setFrequency(5)
    integrator.setFriction(friction)
    there, back = positions[:2], positions[3:1:-1]
    moved = np.abs(there[1] - there[0]).max()
    assert moved > 0.02
    assert np.abs(there[1] - back[0]).max() < 0.01 * moved


def test_a_box_of_water_keeps_its_size_in_a_jump(explicit_water: app.Simulation) -> None:
    simulation, move = explicit_water, explicit_water.move  # type: ignore[attr-defined]
    before = simulation.context.getState().getPeriodicBoxVolume()
    jumps = [move.jump(simulation) for _ in range(2)]
    assert simulation.context.getState().getPeriodicBoxVolume() == before
    assert all(np.isfinite(jump.work) for jump in jumps)
    barostat = next(f for f in simulation.system.getForces() if isinstance(f, openmm.MonteCarloBarostat))
    assert barostat.getFrequency() == 5
    simulation.step(50)
    assert simulation.context.getState().getPeriodicBoxVolume() != before


def test_jumps_leave_the_structure_of_water_as_it_is(explicit_water: app.Simulation) -> None:
    """O-O radial distribution and temperature in the midst of jumps against those of MD alone, from the same box."""
    simulation, move = explicit_water, explicit_water.move  # type: ignore[attr-defined]
    topology = mdtraj.Topology.from_openmm(simulation.topology)
    oxygens = topology.select("name O and water")
    pairs, found = topology.select_pairs(oxygens, oxygens), []
    for jumping in (False, True):
        frames, boxes, kinetic = [], [], []
        for _ in range(80):
            if jumping:
                move.jump(simulation)
            simulation.step(20)
            state = simulation.context.getState(positions=True, energy=True)
            frames.append(state.getPositions(asNumpy=True)._value)
            boxes.append(state.getPeriodicBoxVectors(asNumpy=True)._value)
            kinetic.append(state.getKineticEnergy()._value)
        trajectory = mdtraj.Trajectory(np.array(frames), topology)
        trajectory.unitcell_vectors = np.array(boxes)
        found.append((mdtraj.compute_rdf(trajectory, pairs, r_range=(0.2, 0.8), bin_width=0.01), np.mean(kinetic)))
    ((r, alone), cool), ((_, beside), warm) = found
    assert 2.3 < alone.max() < 3.3 and r[alone.argmax()] == pytest.approx(0.28, abs=0.01)
    np.testing.assert_allclose(beside, alone, atol=0.25)
    assert warm == pytest.approx(cool, rel=0.04)


@pytest.fixture(scope="module")
def explicit_water() -> app.Simulation:
    topology, system, positions = solvated(bundled("alanine_dipeptide"), 220, TEMPERATURE, every=5, cutoff=0.8)
    move = TorsionJumps(system, backbone_blocks(topology), length=0.2)
    simulation = _simulation(system, topology, positions, platform="CPU")
    simulation.minimizeEnergy(maxIterations=100)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE * unit.kelvin, 5)
    simulation.step(500)
    simulation.move = move
    return simulation


def test_wrong_inputs_are_named() -> None:
    system, topology, positions = _toy()
    block = TorsionBlock("toy", QUAD, TorsionTable.uniform(1))
    with pytest.raises(ValueError, match="no name twice"):
        TorsionJumps(system, [block, block])
    with pytest.raises(ValueError, match="one block at least"):
        TorsionJumps(system, [])
    with pytest.raises(ValueError, match="expected positive"):
        TorsionJumps(system, [block], length=0.0)
    with pytest.raises(TypeError, match="length is 'long'"):
        TorsionJumps(system, [block], length="long")  # type: ignore[arg-type]
    move = TorsionJumps(system, [block])
    with pytest.raises(ValueError, match="no state of torsion jumps"):
        move.set_state('{"number": 1}')
    with pytest.raises(ValueError, match="of the blocks"):
        move.set_state(move.state().replace("toy", "ALA2"))
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.002))
    simulation.context.setPositions(positions)
    with pytest.raises(ValueError, match="has a VerletIntegrator"):
        move.jump(simulation)


@pytest.mark.parametrize("begin", [0.08, 4.0])
def test_tuning_finds_a_length_between_too_short_and_too_long(begin: float) -> None:
    system, topology, positions = _toy()
    move = TorsionJumps(system, [TorsionBlock("toy", QUAD, TorsionTable.uniform(1))], length=begin, every=10, seed=2)
    simulation = _simulation(system, topology, positions)
    length, rate = move.tune(simulation, trials=25, longest=4.0)
    assert length == move.length and 0.08 < length < 4.0
    assert 0.2 <= rate <= 0.75  # the best of three stiffnesses at a length within 0.2 to 0.4
    assert move.number == 0 and simulation.context.getParameter("latentmd_jump_stiffness") == 0
    assert move.tune(simulation, stopped=lambda: True)[0] == length
