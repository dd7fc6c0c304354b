"""The atoms of a molecule in any order give the same energies, forces and frames in every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app, unit

from latentmd.integrators import LatentCalculator, LatentDynamics, LatentIntegrator
from latentmd.integrators.openmm_selection import sub_topology
from latentmd.model.file import read_manifest
from latentmd.model.propagator import Propagator
from latentmd.molecule.chemistry import chemistry
from latentmd.molecule.matching import HydrogenHands

ase = pytest.importorskip("ase")

MODEL = "alanine-dipeptide"
FIELD = ("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
#: Order of tleap, openmmtools and PLUMED: a hydrogen comes before the carbon of ACE, the side chain before C.
AMBER = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 10, 11, 16, 17, 18, 19, 20, 21]
ALIASES = {(0, "H1"): "HH31", (0, "H2"): "HH32", (0, "H3"): "HH33", (2, "H1"): "HH31", (2, "H2"): "HH32",
           (2, "H3"): "HH33", (2, "C"): "CH3"}  # fmt: skip


def orders() -> list[Any]:
    """The Amber order, then random ones inside residues and of all atoms."""
    rng = np.random.default_rng(5)
    inside = np.concatenate([rng.permutation(part) for part in (range(6), range(6, 16), range(16, 22))])
    return [np.array(AMBER), inside, rng.permutation(22)]


@pytest.fixture(scope="module")
def propagator() -> Propagator:
    return Propagator(MODEL, "cpu")


@pytest.fixture(scope="module")
def frame(propagator: Propagator) -> NDArray[Any]:
    """A structure away from the model's own, nm."""
    return np.asarray(propagator.propose(propagator.molecule()[1], 100.0, np.random.default_rng(1)))


def topology_in(order: Any) -> app.Topology:
    """The molecule in an order, with Amber's names."""
    found = sub_topology(read_manifest(MODEL).molecule()[0], [int(i) for i in order])
    residues = {"ACE": 0, "ALA": 1, "NME": 2}
    for atom in found.atoms():
        atom.name = ALIASES.get((residues[atom.residue.name], atom.name), atom.name)
    return found


@pytest.mark.parametrize("order", orders(), ids=["amber", "inside residues", "random"])
def test_propagator(propagator: Propagator, frame: NDArray[Any], order: Any) -> None:
    record = chemistry(topology_in(np.arange(22))).reordered(order)  # a topology keeps the atoms of a residue together
    own = propagator.arranged(record, frame[order])
    assert own.order is not None and own.arranged(propagator.molecule()[0], frame).order is None
    energy, force = propagator.energy_and_forces(frame[None])
    found = own.energy_and_forces(frame[order][None])
    assert found[0] == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(found[1][0], force[0][order], atol=1e-2, rtol=1e-5)
    moved = propagator.propose(frame, 100.0, np.random.default_rng(2))
    np.testing.assert_allclose(own.propose(frame[order], 100.0, np.random.default_rng(2)), moved[order], atol=1e-5)
    assert all(ok.all() for ok in own.checks(moved[order][None]).values())
    slow, fast = own.encode_all(frame[order][None])
    np.testing.assert_allclose(own.reconstruct(slow, fast)[0], propagator.reconstruct(slow, fast)[0][order], atol=1e-6)


@pytest.mark.parametrize("order", orders()[:2], ids=["amber", "inside residues"])
def test_openmm(frame: NDArray[Any], order: Any) -> None:
    """Steps with equal noise from equal structures, constraints and velocities included."""

    def run(order: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        topology = topology_in(order)
        system = app.ForceField(*FIELD).createSystem(topology, constraints=app.HBonds, hydrogenMass=3 * unit.amu)
        integrator = LatentIntegrator(350, MODEL, system=system, topology=topology, seed=3, device="cpu")
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(frame[order])
        context.applyConstraints(1e-6)
        integrator.step(3)
        state = context.getState(positions=True, velocities=True)
        return state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value

    (x, v), (y, w) = run(np.arange(22)), run(order)
    np.testing.assert_allclose(y, x[order], atol=1e-3)  # SETTLE and CCMA go through constraints in their own order
    np.testing.assert_allclose(w, v[order], atol=1e-2)


def test_openmm_atoms_given_in_an_order(frame: NDArray[Any]) -> None:
    """Permutations of all atoms, as `atoms=` names them, are one and the same molecule."""
    ends = []
    for atoms in (None, AMBER, AMBER[::-1]):
        topology = topology_in(np.arange(22))
        system = app.ForceField(*FIELD).createSystem(topology, constraints=app.HBonds)
        integrator = LatentIntegrator(350, MODEL, system=system, topology=topology, atoms=atoms, seed=3, device="cpu")
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(frame)
        integrator.step(2)
        state = context.getState(positions=True, energy=True)
        assert state.getPotentialEnergy()._value < 100
        ends.append(state.getPositions(asNumpy=True)._value)
    np.testing.assert_array_equal(ends[1], ends[0])
    np.testing.assert_array_equal(ends[2], ends[0])


def test_openmm_hydrogens_of_the_other_hand_keep_their_names(propagator: Propagator, frame: NDArray[Any]) -> None:
    """Two hydrogens of a methyl exchanged: they stay so, and none changes places with another."""
    topology = topology_in(np.arange(22))
    other = np.arange(22)
    other[[14, 15]] = [15, 14]
    hands = HydrogenHands.of(*propagator.molecule())
    system = app.ForceField(*FIELD).createSystem(topology, constraints=app.HBonds)
    integrator = LatentIntegrator(350, MODEL, system=system, topology=topology, seed=3, device="cpu")
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(frame[other])
    for _ in range(3):
        integrator.step(1)
        x = context.getState(positions=True).getPositions(asNumpy=True)._value
        assert hands.order(x).tolist() == other.tolist()


def test_openmm_mirror_image_is_refused(frame: NDArray[Any]) -> None:
    topology = topology_in(np.arange(22))
    system = app.ForceField(*FIELD).createSystem(topology, constraints=app.HBonds)
    integrator = LatentIntegrator(350, MODEL, system=system, topology=topology, device="cpu")
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(frame * [1, 1, -1])
    with pytest.raises(openmm.OpenMMException, match="another stereoisomer"):
        integrator.step(1)


@pytest.mark.parametrize("order", orders()[:2], ids=["amber", "inside residues"])
def test_openmmml(propagator: Propagator, frame: NDArray[Any], order: Any) -> None:
    openmmml = pytest.importorskip("openmmml", reason="pip install 'latentmd[openmmml]'")
    topology = topology_in(order)
    system = openmmml.MLPotential("latentmd", modelPath=MODEL).createSystem(topology)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(frame[order])
    state = context.getState(energy=True, forces=True)
    energy, force = propagator.energy_and_forces(frame[None])
    assert state.getPotentialEnergy()._value == pytest.approx(energy[0], abs=1e-4)
    np.testing.assert_allclose(state.getForces(asNumpy=True)._value, force[0][order], atol=1e-2, rtol=1e-5)


def atoms_in(order: Any, frame: NDArray[Any]) -> Any:
    """ASE Atoms with the names that a PDB file gives them."""
    own = list(topology_in(np.arange(22)).atoms())
    atoms = ase.Atoms([own[i].element.symbol for i in order], 10 * frame[order])
    atoms.set_array("atomtypes", np.array([own[i].name for i in order]))
    return atoms


@pytest.mark.parametrize("order", orders(), ids=["amber", "inside residues", "random"])
def test_ase_energies(propagator: Propagator, frame: NDArray[Any], order: Any) -> None:
    calculator = LatentCalculator(propagator)
    own, other = atoms_in(np.arange(22), frame), atoms_in(order, frame)
    rows = calculator.compute_batch([own, other])
    assert rows[1]["energy"] == pytest.approx(rows[0]["energy"], abs=1e-6)
    np.testing.assert_allclose(rows[1]["forces"], rows[0]["forces"][order], atol=1e-4)
    other.calc = own.calc = calculator  # one after the other, as the positions of one run
    assert other.get_potential_energy() == pytest.approx(own.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(other.get_forces(), own.get_forces()[order], atol=1e-4)
    np.testing.assert_allclose(calculator.get_descriptors(other), calculator.get_descriptors(own), atol=1e-4)


@pytest.mark.parametrize("order", orders(), ids=["amber", "inside residues", "random"])
def test_ase_dynamics(propagator: Propagator, frame: NDArray[Any], order: Any) -> None:
    ends = []
    for rows in (np.arange(22), order):
        atoms = atoms_in(rows, frame)
        LatentDynamics(atoms, 100_000 * ase.units.fs, propagator, rng=np.random.default_rng(4)).run(1)
        ends.append(atoms.positions)
    np.testing.assert_allclose(ends[1], ends[0][order], atol=1e-4)
