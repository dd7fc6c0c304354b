"""The energy head as an OpenMM-ML potential; needs the extra `openmmml`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openmmml", reason="pip install 'latentmd[openmmml]'")

import openmm
from openmm import app, unit
from openmmml import MLPotential

from latentmd.model.propagator import Propagator
from latentmd.systems.builder import Protocol, build


def _state(system: openmm.System, positions: Any, **parameters: float) -> tuple[float, np.ndarray]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    for name, value in parameters.items():
        context.setParameter(name, value)
    state = context.getState(energy=True, forces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), np.array(forces)


@pytest.fixture
def positions(alanine: Any) -> np.ndarray:
    """A little away from the minimum, nm."""
    x = np.asarray(alanine.positions._value)
    return x + 0.002 * np.random.default_rng(0).standard_normal(x.shape)


def test_energy_and_forces_are_the_model_s(alanine: Any, ou_bundle: Path, positions: np.ndarray) -> None:
    system = MLPotential("latentmd", modelPath=ou_bundle).createSystem(alanine.topology)
    energy, forces = _state(system, positions)
    expected, gradient = Propagator(ou_bundle).energy_and_forces(positions[None])
    assert energy == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(forces, gradient[0], rtol=1e-4, atol=1e-2)


def test_system_survives_xml(alanine: Any, ou_bundle: Path, positions: np.ndarray) -> None:
    system = MLPotential("latentmd", modelPath=str(ou_bundle)).createSystem(alanine.topology)
    text = openmm.XmlSerializer.serialize(system)
    assert len(text) < 20_000  # a path, not the weights
    restored = openmm.XmlSerializer.deserialize(text)
    assert _state(restored, positions)[0] == _state(system, positions)[0]


def test_minimisation_lowers_the_energy(alanine: Any, ou_bundle: Path, positions: np.ndarray) -> None:
    system = MLPotential("latentmd", modelPath=ou_bundle).createSystem(alanine.topology)
    integrator = openmm.LangevinMiddleIntegrator(350, 1, 0.0005)
    simulation = app.Simulation(alanine.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(positions)
    before = simulation.context.getState(energy=True).getPotentialEnergy()
    simulation.minimizeEnergy(maxIterations=20)
    assert simulation.context.getState(energy=True).getPotentialEnergy() < before
    simulation.step(5)


def _two_molecules(alanine: Any) -> tuple[Any, Any, np.ndarray]:
    """Alanine dipeptide in vacuum with a water molecule beside it."""
    vacuum = build(Path(__file__).parents[2] / "systems/molecules/alanine_dipeptide.pdb", Protocol(solvent="vacuum"))
    modeller = app.Modeller(vacuum.topology, alanine.positions)
    water = app.Topology()
    residue = water.addResidue("HOH", water.addChain())
    atoms = [water.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2")]
    water.addBond(atoms[0], atoms[1])
    water.addBond(atoms[0], atoms[2])
    place = np.array([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]]) + 2.0
    modeller.add(water, place * unit.nanometer)
    force_field = app.ForceField("amber14/protein.ff14SB.xml", "amber14/tip3p.xml")
    system = force_field.createSystem(modeller.topology, constraints=app.HBonds)
    return modeller.topology, system, np.array(modeller.positions.value_in_unit(unit.nanometer))


def test_mixed_system_and_interpolation(alanine: Any, ou_bundle: Path) -> None:
    topology, system, x = _two_molecules(alanine)
    x[:22] += 0.002 * np.random.default_rng(1).standard_normal((22, 3))
    potential = MLPotential("latentmd", modelPath=ou_bundle)
    mixed = potential.createMixedSystem(topology, system, list(range(22)), interpolate=True)
    classical, _ = _state(copy.deepcopy(system), x)
    assert _state(mixed, x, lambda_interpolate=0.0)[0] == pytest.approx(classical, rel=1e-5)
    plain = potential.createMixedSystem(topology, system, list(range(22)))
    full, forces = _state(plain, x)
    assert _state(mixed, x, lambda_interpolate=1.0)[0] == pytest.approx(full, rel=1e-5)
    model, gradient = Propagator(ou_bundle).energy_and_forces(x[None, :22])
    assert full == pytest.approx(model[0], abs=1.0)  # the far water adds little
    np.testing.assert_allclose(forces[:22], gradient[0], atol=5.0)


def test_refusals(alanine: Any, ou_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="modelPath is missing"):
        MLPotential("latentmd")
    with pytest.raises(ValueError, match="unknown argument scale"):
        MLPotential("latentmd", modelPath=ou_bundle, scale=2)
    topology, system, _ = _two_molecules(alanine)
    potential = MLPotential("latentmd", modelPath=ou_bundle)
    with pytest.raises(ValueError, match="it has 25 atoms, the molecule of the model has 22"):
        potential.createSystem(topology)
    with pytest.raises(ValueError, match="it has 3 atoms, the molecule of the model has 22"):
        potential.createMixedSystem(topology, system, [22, 23, 24])


def test_another_file_under_the_path_is_refused(alanine: Any, ou_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(ou_bundle.read_bytes())
    text = openmm.XmlSerializer.serialize(MLPotential("latentmd", modelPath=path).createSystem(alanine.topology))
    path.write_bytes(path.read_bytes() + b" ")
    system = openmm.XmlSerializer.deserialize(text)
    with pytest.raises(openmm.OpenMMException, match="SHA-256"):
        _state(system, alanine.positions)


def test_double_precision_is_asked_for_by_openmm_ml_s_word(alanine: Any) -> None:
    potential, x = MLPotential("latentmd", modelPath="alanine-dipeptide"), np.asarray(alanine.positions._value)
    double = potential.createSystem(alanine.topology, precision="double")
    energy, forces = _state(double, x)
    expected, gradient = Propagator("alanine-dipeptide", dtype="float64").energy_and_forces(x[None])
    assert energy == pytest.approx(expected[0], abs=1e-9)
    np.testing.assert_allclose(forces, gradient[0], atol=1e-7)
    single = _state(potential.createSystem(alanine.topology, precision="single"), x)[0]
    assert 0 < abs(single - energy) < 1e-3
    with pytest.raises(ValueError, match="precision is 'half'; expected 'single', 'double'"):
        potential.createSystem(alanine.topology, precision="half")


def test_a_system_to_mix_with_has_the_model_s_charges_and_no_solvent_of_its_own(alanine: Any, ou_bundle: Path) -> None:
    topology, _, _ = _two_molecules(alanine)
    potential = MLPotential("latentmd", modelPath=ou_bundle)
    for files, reason in (
        (("amber14/protein.ff14SB.xml", "amber14/tip3p.xml", "implicit/obc2.xml"), "it would count twice"),
        (("amber14/protein.ff14SB.xml", "amber14/tip3p.xml", "implicit/gbn2.xml"), "it would count twice"),
        (("amber03.xml", "amber14/tip3p.xml"), "charge of ACE1-CH3 is -0.190264 e in the System"),
        (("amber14/protein.ff15ipq.xml", "amber14/tip3p.xml"), "charge of ACE1-CH3 is -0.0163 e in the System"),
    ):
        system = app.ForceField(*files).createSystem(topology)
        with pytest.raises(ValueError, match=reason):
            potential.createMixedSystem(topology, system, list(range(22)))
