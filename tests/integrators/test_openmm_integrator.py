"""LatentIntegrator inside OpenMM: what it does, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
import gc
import pickle
import pydoc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.core.noise import CounterNoise, step_key
from latentmd.integrators import LatentIntegrator, alternate
from latentmd.integrators.openmm_constraints import constraint_projector
from latentmd.model.file import BundleError, save
from latentmd.units import thermal_energy

REFERENCE = openmm.Platform.getPlatformByName("Reference")
Make = Callable[..., Any]
Snapshot = Callable[[Any], dict[str, Any]]


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_constraints_and_centre_of_mass_hold_after_every_step(
    latent_simulation: Make, snapshot: Snapshot, platform: str
) -> None:
    simulation, _ = latent_simulation(platform)
    projector = constraint_projector(simulation.system, range(22))
    masses, start = projector.masses, snapshot(simulation.context)["x"]
    for _ in range(20):
        simulation.step(1)
        now = snapshot(simulation.context)
        assert projector.residual(now["x"]) < 1e-6
        r = now["x"][projector.pairs[:, 0]] - now["x"][projector.pairs[:, 1]]
        dv = now["v"][projector.pairs[:, 0]] - now["v"][projector.pairs[:, 1]]
        assert np.max(np.abs(np.sum(r * dv, axis=1))) < 1e-5
        np.testing.assert_allclose(masses @ now["x"], masses @ start, atol=1e-5)
        np.testing.assert_allclose(masses @ now["v"], 0, atol=1e-3)
    assert np.max(np.abs(now["x"] - start)) > 0.05
    assert now["time"] == pytest.approx(1000.0) and now["steps"] == 20


def test_one_step_is_the_propagator_s_proposal(latent_simulation: Make, snapshot: Snapshot) -> None:
    simulation, latent = latent_simulation(seed=5)
    before = snapshot(simulation.context)["x"]
    simulation.step(1)
    expected = latent.provider.propagator.propose(
        before,
        50.0,
        CounterNoise(*step_key(5, 0, 0, before, {}), purpose=1 + latent.provider.draws),
        latent.provider.projector.masses,
    )
    np.testing.assert_allclose(snapshot(simulation.context)["x"], expected, atol=1e-4)  # constraints moved the rest


def test_a_run_has_the_statistics_of_the_surrogate(latent_simulation: Make, snapshot: Snapshot) -> None:
    simulation, latent = latent_simulation(seed=11)
    propagator = latent.provider.propagator
    slow = np.empty((500, 2))
    for row in slow:
        simulation.step(1)
        row[:] = propagator.encode(snapshot(simulation.context)["x"][None]).numpy()[0, 0]
    # Lag 50 ps and tau 50 ps: autocorrelation 1/e, 1000 values worth (1 - r^2)/(1 + r^2) of that; turned-down
    # structures (about 4 %) shift the moments by less than the interval.
    independent = 1000 * (1 - np.exp(-2)) / (1 + np.exp(-2))
    assert np.var(slow) == pytest.approx(0.25, rel=4 * (2 / independent) ** 0.5 + 0.04)
    correlation = np.mean(slow[1:] * slow[:-1]) / np.mean(slow**2)
    assert correlation == pytest.approx(np.exp(-1), abs=4 / independent**0.5)


def test_energies_and_forces_of_all_groups_are_those_without_it(
    latent_simulation: Make, snapshot: Snapshot, alanine: Any
) -> None:
    simulation, _ = latent_simulation()
    plain = openmm.Context(alanine.system, openmm.VerletIntegrator(0.001), REFERENCE)
    for _ in range(3):
        now = snapshot(simulation.context)
        plain.setPositions(now["x"])
        expected = snapshot(plain)
        assert now["energy"] == pytest.approx(expected["energy"], abs=1e-9)
        np.testing.assert_allclose(now["f"], expected["f"], atol=1e-9)
        assert now["parameters"]["latentmd_mode"] == 0
        simulation.step(1)


def test_minimisation_and_md_never_ask_the_model(latent_simulation: Make, alanine: Any) -> None:
    simulation, latent = latent_simulation(cycle=(50, 1))
    calls = []
    latent.provider.propagator.propose = lambda *a, **k: calls.append(a)
    simulation.minimizeEnergy(maxIterations=20)
    simulation.context.setVelocitiesToTemperature(350, 2)
    simulation.step(50)
    assert calls == [] and latent.provider.steps == 0


def test_velocities_follow_the_maxwell_boltzmann_distribution(latent_simulation: Make, alanine: Any) -> None:
    simulation, _ = latent_simulation()
    masses = np.array([simulation.system.getParticleMass(i)._value for i in range(22)])
    heavy = np.array([mass > 4 for mass in masses])
    samples = 1000
    kinetic = np.empty((samples, 22))
    for i in range(samples):
        simulation.step(1)
        v = simulation.context.getState(velocities=True).getVelocities(asNumpy=True)._value
        kinetic[i] = 0.5 * masses * np.sum(v * v, axis=1)
    kT = thermal_energy(350)
    freedom = 3 * 22 - simulation.system.getNumConstraints() - 3
    error = (2 / freedom / samples) ** 0.5
    assert 2 * kinetic.sum(1).mean() / freedom == pytest.approx(kT, rel=4 * error)
    # Redrawn velocities are independent from step to step, so the variance is that of a gamma distribution.
    assert kinetic.sum(1).var() == pytest.approx(freedom / 2 * kT**2, rel=4 * (3 / samples) ** 0.5)
    # An atom without constraints keeps its three degrees of freedom, less its share of the centre of mass.
    free = [i for i in range(22) if heavy[i] and not any(i in pair for pair in constraint_pairs(simulation.system))]
    share = 1 - masses[free] / masses.sum()
    np.testing.assert_allclose(kinetic[:, free].mean(0), 1.5 * kT * share, rtol=5 * (2 / 3 / samples) ** 0.5)


def constraint_pairs(system: openmm.System) -> list[tuple[int, int]]:
    return [tuple(system.getConstraintParameters(i)[:2]) for i in range(system.getNumConstraints())]


def test_checkpoint_replay_is_bit_equal(latent_simulation: Make, snapshot: Snapshot, tmp_path: Path) -> None:
    simulation, _ = latent_simulation(cycle=(7, 2), seed=3)
    simulation.step(25)
    simulation.saveCheckpoint(str(tmp_path / "run.chk"))
    simulation.step(30)
    expected = snapshot(simulation.context)
    simulation.loadCheckpoint(str(tmp_path / "run.chk"))
    assert simulation.currentStep == 25
    simulation.step(30)
    again = snapshot(simulation.context)
    for name in ("x", "v", "f"):
        np.testing.assert_array_equal(again[name], expected[name])
    assert again["time"] == expected["time"] and again["parameters"] == expected["parameters"]


def test_a_saved_state_continues_in_a_new_context(latent_simulation: Make, snapshot: Snapshot, tmp_path: Path) -> None:
    simulation, _ = latent_simulation(seed=3)
    simulation.step(4)
    simulation.saveState(str(tmp_path / "run.xml"))
    simulation.step(3)
    other, _ = latent_simulation(seed=3)
    other.loadState(str(tmp_path / "run.xml"))
    other.step(3)
    np.testing.assert_allclose(snapshot(other.context)["x"], snapshot(simulation.context)["x"], atol=1e-9)


def test_copies_and_xml_step_alike(latent_simulation: Make, alanine: Any, snapshot: Snapshot) -> None:
    simulation, latent = latent_simulation(seed=9)
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(simulation.system))
    copies = [
        copy.deepcopy(latent),
        pickle.loads(pickle.dumps(latent)),
        openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(latent)),
    ]
    assert isinstance(copies[0], LatentIntegrator) and isinstance(copies[1], LatentIntegrator)
    assert copies[1].getTemperature() == latent.getTemperature() and copies[1].getRandomNumberSeed() == 9
    simulation.step(2)
    expected = snapshot(simulation.context)["x"]
    for integrator in copies:
        context = openmm.Context(copy.deepcopy(system), integrator, REFERENCE)
        context.setPositions(alanine.positions)
        integrator.step(2)
        np.testing.assert_allclose(snapshot(context)["x"], expected, atol=1e-6)


def test_a_saved_system_insists_on_the_same_bundle(
    alanine: Any, ou_bundle: Path, ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(ou_bundle.read_bytes())
    system = copy.deepcopy(alanine.system)
    latent = LatentIntegrator(350, path, system=system, topology=alanine.topology)
    xml = openmm.XmlSerializer.serialize(system)
    assert len(xml) < 100_000  # path and hash, not the model

    def expect_refusal(message: str) -> None:
        # OpenMM crashes where unpickling raises: so loading warns, and the step is what is refused.
        with pytest.warns(UserWarning, match=message):
            loaded = openmm.XmlSerializer.deserialize(xml)
        integrator = copy.deepcopy(latent)
        context = openmm.Context(loaded, integrator, REFERENCE)
        context.setPositions(alanine.positions)
        with pytest.raises(openmm.OpenMMException, match=message):
            integrator.step(1)
        assert context.getState().getStepCount() == 0

    save(path, ou_surrogate, {**ou_manifest, "seed": 1})
    with pytest.warns(UserWarning):
        copy.deepcopy(latent)
    expect_refusal("the saved System was made with")
    path.unlink()
    expect_refusal("no such model file")


def test_getters_and_setters(latent_simulation: Make) -> None:
    _simulation, live = latent_simulation(seed=4)
    latent = copy.deepcopy(live)
    assert latent.getTemperature() / unit.kelvin == pytest.approx(350)
    latent.setTemperature(350 * unit.kelvin)
    assert latent.getStepSize() / unit.picosecond == 50
    latent.setStepSize(0.1 * unit.nanosecond)
    assert latent.getStepSize() / unit.picosecond == pytest.approx(100)
    assert latent.getRandomNumberSeed() == 4
    latent.setRandomNumberSeed(8)
    assert latent.getRandomNumberSeed() == 8
    latent.setStream(2)
    assert latent.getStream() == 2 and latent.getForceGroup() == 31
    with pytest.raises(ValueError, match="trained at 350 K"):
        latent.setTemperature(300)
    with pytest.raises(ValueError, match="its lags are 5 to 50 ps"):
        latent.setStepSize(1 * unit.femtosecond)
    with pytest.raises(ValueError, match="seed is -1"):
        latent.setRandomNumberSeed(-1)


def test_seed_and_stream_decide_the_noise(latent_simulation: Make, snapshot: Snapshot) -> None:
    def end(seed: int, stream: int) -> Any:
        simulation, latent = latent_simulation(seed=seed)
        latent.setStream(stream)
        simulation.step(2)
        return snapshot(simulation.context)["x"]

    np.testing.assert_array_equal(end(1, 0), end(1, 0))
    assert not np.allclose(end(1, 0), end(2, 0), atol=1e-3)
    assert not np.allclose(end(1, 0), end(1, 1), atol=1e-3)


def test_the_default_step_is_the_longest_lag(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    latent = LatentIntegrator(350 * unit.kelvin, ou_bundle, system=system, topology=alanine.topology)
    assert latent.getStepSize() == 50 * unit.picosecond


def test_what_the_model_does_not_cover_is_refused(alanine: Any, ou_bundle: Path) -> None:
    def make(temperature: Any = 350, step: Any = 50, **options: Any) -> None:
        system = options.pop("system", None) or copy.deepcopy(alanine.system)
        LatentIntegrator(temperature, ou_bundle, step, system=system, **{"topology": alanine.topology, **options})

    with pytest.raises(ValueError, match=r"temperature is 300 K, the model was trained at 350 K"):
        make(300 * unit.kelvin)
    with pytest.raises(ValueError, match=r"cannot make a step of 0\.004 ps"):
        make(step=0.004)
    with pytest.raises(ValueError, match="expected 'python' or 'torchforce'"):
        make(provider="c++")
    with pytest.raises(BundleError, match="no such model file"):
        LatentIntegrator(350, "nothing", system=copy.deepcopy(alanine.system), topology=alanine.topology)
    with pytest.raises(ValueError, match="covers a molecule of 22 atoms, found 21"):
        make(atoms=range(21))
    with pytest.raises(ValueError, match="different indices from 0 to 21"):
        make(atoms=[0] * 22)
    cold = copy.deepcopy(alanine.system)
    cold.addForce(openmm.AndersenThermostat(100, 1))
    with pytest.raises(ValueError, match=r"AndersenThermostat at 100 K.*removeForce"):
        make(system=cold)
    larger = copy.deepcopy(alanine.system)
    larger.addParticle(1.0)
    with pytest.raises(ValueError, match="topology has 22 atoms, the System 23"):
        make(system=larger)


def test_wrong_types_are_named(alanine: Any, ou_bundle: Path) -> None:
    system, topology = copy.deepcopy(alanine.system), alanine.topology

    def refused(message: str, temperature: Any = 350, model: Any = ou_bundle, step: Any = 50, **options: Any) -> None:
        with pytest.raises(TypeError, match=message):
            LatentIntegrator(temperature, model, step, **{"system": system, "topology": topology, **options})

    refused("system is a Topology; expected an openmm.System", system=topology, topology=system)
    refused("topology is a System", topology=system)
    refused("topology is a list", topology=[1, 2])
    refused("system is a Context", system=openmm.Context(copy.deepcopy(system), openmm.VerletIntegrator(1), REFERENCE))
    refused("model is a int", model=5)
    refused("model is a NoneType", model=None)
    refused("temperature is 'warm'; expected a number of kelvins", temperature="warm")
    refused("temperature is .*; expected", temperature=1 * unit.nanometer)
    refused("stepSize is 'long'; expected a number of picoseconds", step="long")
    for atoms in ("all", 5, [0.5] * 22, np.ones(22, dtype=bool)):
        refused(r"atoms is .*; expected indices, such as range\(22\), or None for all atoms", atoms=atoms)
    refused("seed is 'a'; expected an integer", seed="a")
    refused("seed is 1.5", seed=1.5)
    assert len(list(system.getForces())) == len(list(alanine.system.getForces())) + 1  # by the seeds, checked last
    latent = LatentIntegrator(350, ou_bundle, system=system, topology=topology)
    for call, wrong in ((latent.setStream, "b"), (latent.setTemperature, None), (latent.setStepSize, [1])):
        with pytest.raises(TypeError, match="expected"):
            call(wrong)
    with pytest.raises(ValueError, match="temperature is nan K"):
        latent.setTemperature(float("nan"))


def test_repr_and_help_are_ours(latent_simulation: Make) -> None:
    _, latent = latent_simulation(seed=4)
    assert repr(latent) == ("LatentIntegrator(350 K, step 50 ps, lags 5 to 50 ps, seed 4, stream 0, force group 31)")
    assert "22 atoms" in repr(latent.provider)
    text = pydoc.render_doc(LatentIntegrator)
    assert "Create a CustomIntegrator" not in text[: text.index("Methods inherited")]


def test_a_step_size_set_on_a_live_context_is_the_lag(latent_simulation: Make) -> None:
    for cycle in (None, (1, 1)):
        simulation, latent = latent_simulation(cycle=cycle)
        seen = []
        original = latent.provider._propose
        latent.provider._propose = lambda x, time, key, original=original, seen=seen: (
            seen.append(time),
            original(x, time, key),
        )[1]
        for size in (20.0, 10.0, 45.0):
            with pytest.raises(ValueError, match=f"setStepSize\\({size:g}, context\\)"):
                latent.setStepSize(size)
            latent.setStepSize(size, simulation.context)
            simulation.step(2 if cycle else 1)
        simulation.context.reinitialize(preserveState=True)
        simulation.step(2 if cycle else 1)
        assert seen == [20.0, 10.0, 45.0, 45.0]
        assert simulation.context.getTime()._value == pytest.approx(120 + (4 * 0.004 if cycle else 0))


def test_a_copy_with_all_variables_cleared_takes_any_value(latent_simulation: Make) -> None:
    """openmmtools' ContextCache tells integrators of one kind by such copies."""
    _, latent = latent_simulation()
    standard = copy.deepcopy(latent)
    for index in range(standard.getNumGlobalVariables()):
        standard.setGlobalVariable(index, 0.0)
    standard.setStepSize(0.0)
    standard.setTemperature(0 * unit.kelvin)
    assert standard.getStepSize()._value == 0.0


def test_contexts_leave_nothing_behind(latent_simulation: Make) -> None:
    references = []
    for _ in range(10):
        simulation, latent = latent_simulation()
        simulation.step(1)
        references.append(weakref.ref(latent.provider))
        del simulation, latent
    gc.collect()
    assert [reference() for reference in references] == [None] * 10


def test_memory_does_not_grow_with_steps(latent_simulation: Make) -> None:
    import psutil

    simulation, _ = latent_simulation()
    simulation.step(300)
    process = psutil.Process()
    before = process.memory_info().rss
    simulation.step(1500)
    assert process.memory_info().rss - before < 3e6


def test_the_force_takes_the_highest_free_group(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    system.getForce(0).setForceGroup(31)
    latent = LatentIntegrator(350, ou_bundle, system=system, topology=alanine.topology)
    assert latent.getForceGroup() == 30
    md = alanine.langevin(1)
    compound, _ = alternate(md, latent)
    assert compound.getNumIntegrators() == 3  # MD, latent, settling
    groups = md.getIntegrationForceGroups()
    assert 30 not in ({g for g in range(32) if groups >> g & 1} if isinstance(groups, int) else groups)


def test_works_on_a_system_without_constraints(alanine: Any, ou_bundle: Path) -> None:
    files = ("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
    system = app.ForceField(*files).createSystem(alanine.topology, constraints=None)
    latent = LatentIntegrator(350, ou_bundle, 50, system=system, topology=alanine.topology)
    context = openmm.Context(system, latent, REFERENCE)
    context.setPositions(alanine.positions)
    latent.step(3)
    assert np.all(np.isfinite(context.getState(positions=True).getPositions(asNumpy=True)._value))
