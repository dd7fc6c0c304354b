"""A peptide moved by a model beside water with virtual sites and a frozen ion, in a periodic box with a barostat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.integrators import LatentIntegrator, LatentReporter, alternate
from latentmd.integrators.openmm_constraints import constraint_projector

Snapshot = Callable[[Any], dict[str, Any]]
BOX = 2.6
WATERS = 8


def _water_and_ion() -> tuple[app.Topology, Any]:
    topology = app.Topology()
    positions = []
    chain = topology.addChain()
    for i in range(WATERS):
        corner = np.array([0.2 + 1.2 * (i & 1), 0.2 + 1.2 * (i >> 1 & 1), 0.2 + 1.2 * (i >> 2)])
        residue = topology.addResidue("HOH", chain)
        oxygen = topology.addAtom("O", app.element.oxygen, residue)
        hydrogens = [topology.addAtom(name, app.element.hydrogen, residue) for name in ("H1", "H2")]
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
        positions += list(corner + np.array([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]]))
    topology.addAtom("NA", app.element.sodium, topology.addResidue("NA", chain))
    positions.append(np.array([2.2, 2.2, 0.8]))
    return topology, positions


@pytest.fixture(scope="module")
def solvated(alanine: Any) -> Any:
    """(topology, positions, make_system); the waters come first, so the peptide's atoms do not start at 0."""
    topology, positions = _water_and_ion()
    modeller = app.Modeller(topology, positions * unit.nanometer)
    centre = np.asarray(alanine.positions._value)
    modeller.add(alanine.topology, (centre - centre.mean(0) + 0.9) * unit.nanometer)
    force_field = app.ForceField("amber14/protein.ff14SB.xml", "amber14/tip4pew.xml")
    modeller.addExtraParticles(force_field)
    modeller.topology.setPeriodicBoxVectors(np.eye(3) * BOX * unit.nanometer)

    def make_system() -> openmm.System:
        system = force_field.createSystem(
            modeller.topology, nonbondedMethod=app.CutoffPeriodic, nonbondedCutoff=0.9, constraints=app.HBonds
        )
        ion = next(atom.index for atom in modeller.topology.atoms() if atom.name == "NA")
        system.setParticleMass(ion, 0.0)
        return system

    return modeller.topology, modeller.positions, make_system


def _peptide(topology: app.Topology) -> list[int]:
    return [atom.index for atom in topology.atoms() if atom.residue.name in ("ACE", "ALA", "NME")]


def test_only_the_peptide_moves(solvated: Any, ou_bundle: Path, snapshot: Snapshot) -> None:
    topology, positions, make_system = solvated
    system, atoms = make_system(), _peptide(topology)
    latent = LatentIntegrator(350, ou_bundle, 50, system=system, topology=topology, atoms=atoms)
    context = openmm.Context(system, latent, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.computeVirtualSites()
    context.setVelocitiesToTemperature(350, 1)
    others = np.setdiff1d(np.arange(system.getNumParticles()), atoms)
    projector = constraint_projector(system, atoms)
    before = snapshot(context)
    for _ in range(5):
        latent.step(1)
        after = snapshot(context)
        np.testing.assert_array_equal(after["x"][others], before["x"][others])
        assert projector.residual(after["x"][atoms]) < 1e-6
        moved = projector.masses @ (after["x"][atoms] - before["x"][atoms])
        np.testing.assert_allclose(moved, 0, atol=1e-5)
    assert np.max(np.abs(after["x"][atoms] - before["x"][atoms])) > 0.02
    # CMMotionRemover takes the whole System's momentum, so other velocities change by one common amount at most.
    heavy = [i for i in others if system.getParticleMass(int(i))._value > 0]
    drift = after["v"][heavy] - before["v"][heavy]
    np.testing.assert_allclose(drift, np.broadcast_to(drift[0], drift.shape), atol=1e-9)
    assert not np.allclose(after["v"][atoms], before["v"][atoms], atol=1e-2)


def test_a_peptide_across_the_faces_of_the_box_moves_alike(solvated: Any, ou_bundle: Path, snapshot: Snapshot) -> None:
    topology, positions, make_system = solvated
    atoms = _peptide(topology)
    ends = []
    for broken in (False, True):
        system = make_system()
        latent = LatentIntegrator(350, ou_bundle, 50, system=system, topology=topology, atoms=atoms, seed=1)
        context = openmm.Context(system, latent, openmm.Platform.getPlatformByName("Reference"))
        x = np.array(positions.value_in_unit(unit.nanometer))
        if broken:
            x[atoms[::2], 0] += BOX
            x[atoms[::3], 2] -= 2 * BOX
        context.setPositions(x)
        context.computeVirtualSites()
        start = snapshot(context)["x"][atoms]
        latent.step(1)
        ends.append(snapshot(context)["x"][atoms] - start)
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-5)


def test_alternation_with_a_barostat(solvated: Any, ou_bundle: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    topology, positions, make_system = solvated
    system, atoms = make_system(), _peptide(topology)
    system.addForce(openmm.MonteCarloBarostat(1.0, 350, 5))
    latent = LatentIntegrator(350, ou_bundle, 50, system=system, topology=topology, atoms=atoms)
    md = openmm.LangevinMiddleIntegrator(350, 5.0, 0.002)
    compound, schedule = alternate(md, latent, (20, 1))
    simulation = app.Simulation(topology, system, compound, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(positions)
    simulation.context.computeVirtualSites()
    simulation.minimizeEnergy(maxIterations=50)
    simulation.context.setVelocitiesToTemperature(350, 1)
    simulation.reporters += [schedule, LatentReporter(tmp_path / "log.csv", 1, latent, schedule)]
    volume = simulation.context.getState().getPeriodicBoxVolume()
    simulation.step(63)
    state = simulation.context.getState(positions=True, energy=True)
    assert state.getPeriodicBoxVolume() != volume
    assert np.isfinite(state.getPotentialEnergy()._value)
    assert latent.provider.steps == 3
    ion = next(atom.index for atom in topology.atoms() if atom.name == "NA")
    assert np.all(np.isfinite(snapshot(simulation.context)["x"]))
    assert system.getParticleMass(ion)._value == 0
    assert not any(line.endswith("bonds") for line in (tmp_path / "log.csv").read_text().splitlines()[1:])


def test_the_whole_system_is_not_the_molecule(solvated: Any, ou_bundle: Path) -> None:
    topology, _, make_system = solvated
    with pytest.raises(ValueError, match="name the molecule's atoms with atoms="):
        LatentIntegrator(350, ou_bundle, 50, system=make_system(), topology=topology)
    system, atoms = make_system(), _peptide(topology)
    system.setParticleMass(atoms[4], 0.0)
    system.removeConstraint(0)
    with pytest.raises(ValueError, match="has mass 0"):
        LatentIntegrator(350, ou_bundle, 50, system=system, topology=topology, atoms=atoms)


MEMBRANE = openmm.MonteCarloMembraneBarostat
BAROSTATS = {
    "isotropic": openmm.MonteCarloBarostat(1.0, 300),
    "anisotropic": openmm.MonteCarloAnisotropicBarostat((1, 1, 1), 300),
    "membrane": MEMBRANE(1, 0, 300, MEMBRANE.XYIsotropic, MEMBRANE.ZFree),
    "flexible": openmm.MonteCarloFlexibleBarostat(1.0, 300),
}


@pytest.mark.parametrize("kind", BAROSTATS)
def test_a_barostat_at_another_temperature_is_refused_whenever_it_came(
    solvated: Any, ou_bundle: Path, kind: str
) -> None:
    topology, positions, make_system = solvated
    system = make_system()
    latent = LatentIntegrator(350, ou_bundle, 50, system=system, topology=topology, atoms=_peptide(topology))
    system.addForce(openmm.XmlSerializer.clone(BAROSTATS[kind]))
    context = openmm.Context(system, latent, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.computeVirtualSites()
    with pytest.raises(openmm.OpenMMException, match="the barostat is at 300 K, the model at 350 K"):
        latent.step(1)
    for name in context.getParameters():
        if name.endswith("MonteCarloTemperature"):
            context.setParameter(name, 350)
    latent.step(1)
    assert context.getStepCount() == 1
