"""LatentDynamics: statistics of a closed-form process, no force calls, constraints, files, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedPlane,
    FixSubsetCom,
    Hookean,
    MirrorForce,
    MirrorTorque,
)
from ase.io import Trajectory

from latentmd.integrators import LatentCalculator, LatentDynamics
from latentmd.model.propagator import Propagator

PS = 1000 * units.fs


@pytest.fixture
def atoms(alanine: Any) -> Atoms:
    """Alanine dipeptide at its minimum."""
    symbols = [atom.element.symbol for atom in alanine.topology.atoms()]
    return Atoms(symbols, positions=10 * np.asarray(alanine.positions._value))


def _dynamics(atoms: Atoms, model: Any, seed: int = 0, **options: Any) -> LatentDynamics:
    return LatentDynamics(atoms, 50 * PS, model, rng=np.random.default_rng(seed), **options)


def test_equal_seeds_give_equal_runs(atoms: Atoms, ou_bundle: Path) -> None:
    model = Propagator(ou_bundle)
    ends = []
    for seed in (1, 1, 2):
        copy = atoms.copy()
        _dynamics(copy, model, seed).run(3)
        ends.append(copy)
    np.testing.assert_array_equal(ends[0].positions, ends[1].positions)
    np.testing.assert_array_equal(ends[0].get_momenta(), ends[1].get_momenta())
    assert np.abs(ends[0].positions - ends[2].positions).max() > 0.1


def test_torsions_follow_the_model(atoms: Atoms, ou_bundle: Path) -> None:
    """Deviations of phi and psi: standard deviation 0.5 rad, autocorrelation exp(-50 ps / tau) = exp(-1)."""
    model = Propagator(ou_bundle)
    dynamics = _dynamics(atoms, model, 5)
    series = []
    for _ in dynamics.irun(400):
        series.append(model.encode(atoms.positions[None] / 10)[0, 0].numpy())
    z = np.array(series[1:])
    # 400 samples with correlation a = exp(-1): the variance of a mean square is (1 + a^2) / (1 - a^2) larger, 5 sigma.
    spread = 5 * np.sqrt(2 / len(z) * (1 + np.exp(-2)) / (1 - np.exp(-2)))
    np.testing.assert_allclose(np.mean(z**2, axis=0), 0.25, rtol=spread)
    correlation = np.mean(z[1:] * z[:-1], axis=0) / np.mean(z**2, axis=0)
    np.testing.assert_allclose(correlation, np.exp(-1), atol=5 / np.sqrt(len(z)))


def test_momenta_have_the_temperature(atoms: Atoms, ou_bundle: Path) -> None:
    dynamics = _dynamics(atoms, ou_bundle, 2)
    kelvin = [atoms.get_temperature() for _ in dynamics.irun(150)][1:]
    # One temperature of 66 degrees of freedom has a relative deviation of sqrt(2 / 66); five of the mean's.
    assert np.mean(kelvin) == pytest.approx(350, rel=5 * np.sqrt(2 / 66 / 150))


def test_a_calculator_is_asked_for_what_is_written(atoms: Atoms, ou_bundle: Path, tmp_path: Path) -> None:
    calls = []

    class Counting(LatentCalculator):
        def calculate(self, *arguments: Any, **options: Any) -> None:
            calls.append(1)
            super().calculate(*arguments, **options)

    atoms.calc = Counting(ou_bundle)
    _dynamics(atoms, atoms.calc.propagator).run(4)
    assert calls == []
    path = str(tmp_path / "run.traj")
    with _dynamics(atoms, atoms.calc.propagator, trajectory=path, loginterval=2) as dynamics:
        dynamics.attach(lambda: None, interval=-3)
        dynamics.run(5)
    assert len(calls) == 4  # frames 0, 2 and 4, and step 3
    with Trajectory(path) as trajectory:
        assert len(trajectory) == 3
        for frame in trajectory:
            energy, forces = frame.get_potential_energy(), frame.get_forces()
            frame.calc = LatentCalculator(ou_bundle)
            assert energy == pytest.approx(frame.get_potential_energy(), abs=1e-6)
            np.testing.assert_allclose(forces, frame.get_forces(), atol=1e-4)


def test_a_calculator_without_forces_gives_its_energy(atoms: Atoms, ou_bundle: Path, tmp_path: Path) -> None:
    class EnergyOnly(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, *arguments: Any, **options: Any) -> None:
            super().calculate(*arguments, **options)
            self.results = {"energy": 2.5}

    atoms.calc = EnergyOnly()
    with _dynamics(atoms, ou_bundle, trajectory=str(tmp_path / "run.traj")) as dynamics:
        dynamics.run(1)
    with Trajectory(str(tmp_path / "run.traj")) as trajectory:
        assert [frame.get_potential_energy() for frame in trajectory] == [2.5, 2.5]


BY_FORCES = {
    "Hookean": lambda: Hookean(a1=1, a2=18, rt=3.0, k=10.0),
    "Hookean to a point": lambda: Hookean(a1=1, a2=(0.0, 0.0, 0.0), rt=3.0, k=10.0),
    "Hookean to a plane": lambda: Hookean(a1=1, a2=(0.0, 0.0, 1.0, -3.0), k=10.0),
    "ExternalForce": lambda: ExternalForce(0, 1, 0.5),
    "MirrorForce": lambda: MirrorForce(0, 1),
    "MirrorTorque": lambda: MirrorTorque(4, 6, 8, 14),
    "of the user": lambda: type("Pull", (), {"adjust_forces": lambda *_: None, "adjust_positions": lambda *_: None})(),
    "of the user, by energy": lambda: type("Bias", (Hookean,), {})(a1=1, a2=18, rt=3.0, k=10.0),
}


@pytest.mark.parametrize("kind", BY_FORCES)
@pytest.mark.parametrize("later", [False, True])
def test_constraints_that_act_by_forces_are_refused(atoms: Atoms, ou_bundle: Path, kind: str, later: bool) -> None:
    dynamics = _dynamics(atoms, ou_bundle) if later else None
    atoms.set_constraint([FixAtoms([0]), BY_FORCES[kind]()])
    before = atoms.positions.copy()
    with pytest.raises(ValueError, match=r"the constraint \w+ acts by forces, which a latent step does not use"):
        (dynamics or _dynamics(atoms, ou_bundle)).run(1)
    np.testing.assert_array_equal(atoms.positions, before)


class _Above:
    """A constraint of the user's own: an atom stays where it is along z."""

    def adjust_positions(self, atoms: Atoms, new: Any) -> None:
        new[3, 2] = atoms.positions[3, 2]

    def adjust_momenta(self, atoms: Atoms, momenta: Any) -> None:
        momenta[3, 2] = 0.0


BY_POSITIONS = {
    "nothing fixed": lambda: FixAtoms([]),
    "FixCom": FixCom,
    "FixSubsetCom": lambda: FixSubsetCom(range(6)),
    "FixCartesian": lambda: FixCartesian([3], (False, False, True)),
    "FixedPlane": lambda: FixedPlane([3], (0, 0, 1)),
    "of the user": _Above,
}


@pytest.mark.parametrize("kind", BY_POSITIONS)
def test_constraints_on_positions_are_kept(atoms: Atoms, ou_bundle: Path, kind: str) -> None:
    atoms.set_constraint(BY_POSITIONS[kind]())
    before = atoms.copy()
    _dynamics(atoms, ou_bundle).run(3)
    assert np.abs(atoms.positions - before.positions).max() > 0.1
    if kind in ("FixCartesian", "FixedPlane", "of the user"):
        assert atoms.positions[3, 2] == pytest.approx(before.positions[3, 2], abs=1e-9)
    if kind in ("FixCom", "FixSubsetCom"):
        part = range(6) if kind == "FixSubsetCom" else range(22)
        np.testing.assert_allclose(atoms[part].get_center_of_mass(), before[part].get_center_of_mass(), atol=1e-8)


def test_a_legacy_random_state_is_seeded_alike(atoms: Atoms, ou_bundle: Path) -> None:
    ends = []
    for seed in (4, 4, 5):
        copy, rng = atoms.copy(), np.random.RandomState(seed)
        LatentDynamics(copy, 50 * PS, ou_bundle, rng=rng).run(2)
        ends.append(copy.positions)
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.abs(ends[0] - ends[2]).max() > 0.1


def test_wrong_types_are_named_and_objects_have_a_repr(atoms: Atoms, ou_bundle: Path) -> None:
    model = Propagator(ou_bundle)
    for message, call in {
        "atoms is a list": lambda: LatentDynamics([1], 50 * PS, model),
        "timestep is 'long'; expected a number": lambda: LatentDynamics(atoms, "long", model),
        "timestep is None; expected a number": lambda: LatentDynamics(atoms, None, model),
        "temperature_K is '350'": lambda: LatentDynamics(atoms, 50 * PS, model, temperature_K="350"),
        "model is a Atoms": lambda: LatentDynamics(atoms, 50 * PS, atoms),
        "rng is module": lambda: LatentDynamics(atoms, 50 * PS, model, rng=np.random),
    }.items():
        with pytest.raises(TypeError, match=message):
            call()
    dynamics = _dynamics(atoms, model)
    dynamics.run(2)
    assert repr(dynamics) == "LatentDynamics(model 'torsion-ou', 350 K, step 50 ps, 2 steps made)"


def test_trajectory_and_log_without_calculator(atoms: Atoms, ou_bundle: Path, tmp_path: Path) -> None:
    with _dynamics(
        atoms, ou_bundle, trajectory=str(tmp_path / "run.traj"), logfile=str(tmp_path / "run.log")
    ) as dynamics:
        dynamics.run(3)
        expected = dynamics.propagator.energies(atoms.positions[None] / 10)[0] / 96.48533212331
        assert dynamics.get_time() == pytest.approx(150 * PS)
    with Trajectory(str(tmp_path / "run.traj")) as trajectory:
        assert len(trajectory) == 4
        np.testing.assert_allclose(trajectory[-1].positions, atoms.positions, atol=1e-12)
        assert trajectory.description["model"] == "torsion-ou"
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert len(lines) == 5
    row = [float(word) for word in lines[-1].split()]
    assert row[0] == pytest.approx(150.0)
    assert row[2] == pytest.approx(expected, abs=2e-4)


def test_the_centre_of_mass_stays(atoms: Atoms, ou_bundle: Path) -> None:
    before = atoms.get_center_of_mass()
    _dynamics(atoms, ou_bundle).run(20)
    np.testing.assert_allclose(atoms.get_center_of_mass(), before, atol=1e-8)


def test_bond_constraints_hold(atoms: Atoms, ou_bundle: Path, alanine: Any) -> None:
    pairs = [alanine.system.getConstraintParameters(i)[:2] for i in range(alanine.system.getNumConstraints())]
    constraint = FixBondLengths(pairs)
    atoms.set_constraint(constraint)
    lengths = np.array([atoms.get_distance(a, b) for a, b in pairs])
    dynamics = _dynamics(atoms, ou_bundle)
    for _ in dynamics.irun(5):
        found = np.array([atoms.get_distance(a, b) for a, b in pairs])
        np.testing.assert_allclose(found, lengths, rtol=1e-9)
    velocities = atoms.get_velocities()
    along = [np.dot(velocities[a] - velocities[b], atoms.positions[a] - atoms.positions[b]) for a, b in pairs]
    np.testing.assert_allclose(along, 0, atol=1e-10)


def test_fixed_atoms_stay(atoms: Atoms, ou_bundle: Path) -> None:
    heavy = [i for i, symbol in enumerate(atoms.get_chemical_symbols()) if symbol != "H"]
    atoms.set_constraint(FixAtoms([heavy[0], heavy[1]]))
    before = atoms.positions.copy()
    _dynamics(atoms, ou_bundle).run(5)
    np.testing.assert_array_equal(atoms.positions[heavy[:2]], before[heavy[:2]])
    np.testing.assert_array_equal(atoms.get_momenta()[heavy[:2]], 0)
    assert np.abs(atoms.positions - before).max() > 0.1


def test_impossible_constraints_leave_the_atoms_alone(atoms: Atoms, ou_bundle: Path) -> None:
    atoms.set_constraint(FixBondLengths([(0, 1)], bondlengths=[4.0]))
    before = atoms.positions.copy()
    with pytest.raises(RuntimeError, match="constraints may leave no room"):
        _dynamics(atoms, ou_bundle).run(1)
    np.testing.assert_array_equal(atoms.positions, before)


def test_periodic_atoms_keep_their_wrapping(atoms: Atoms, ou_bundle: Path) -> None:
    open_space = atoms.copy()
    atoms.set_cell([20, 22, 24])
    atoms.set_pbc(True)
    atoms.positions -= atoms.positions.mean(axis=0)
    atoms.wrap()
    model = Propagator(ou_bundle)
    _dynamics(atoms, model, 3).run(1)
    _dynamics(open_space, model, 3).run(1)
    shape = [a.get_all_distances(mic=periodic) for a, periodic in ((atoms, True), (open_space, False))]
    near = shape[1] < 9
    np.testing.assert_allclose(shape[0][near], shape[1][near], atol=1e-3)


def test_refusals(atoms: Atoms, ou_bundle: Path) -> None:
    model = Propagator(ou_bundle)
    with pytest.raises(ValueError, match="ps"):
        LatentDynamics(atoms, 2 * units.fs, model)
    with pytest.raises(ValueError, match="trained at 350 K"):
        LatentDynamics(atoms, 50 * PS, model, temperature_K=300)
    with pytest.raises(ValueError, match="22 atoms, found 3"):
        LatentDynamics(atoms[:3], 50 * PS, model)
    with pytest.raises(TypeError, match="expected a Generator"):
        LatentDynamics(atoms, 50 * PS, model, rng=7)
