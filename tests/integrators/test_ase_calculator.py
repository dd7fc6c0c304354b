"""LatentCalculator: gradients, caching, batches, descriptors, stress, refusals."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.io import read

from latentmd.integrators import LatentCalculator
from latentmd.model.file import save
from latentmd.systems.bundled import bundled


@pytest.fixture(scope="session")
def untrained_bundle(
    untrained_surrogate: Any, ou_manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of the real networks in double precision, with random weights."""
    path = tmp_path_factory.mktemp("bundle") / "untrained.pt"
    surrogate = copy.deepcopy(untrained_surrogate).double()
    save(path, surrogate, {**ou_manifest, "name": "untrained", "dtype": "float64"})
    return path


@pytest.fixture
def atoms(alanine: Any) -> Atoms:
    """Alanine dipeptide a little away from its minimum."""
    symbols = [atom.element.symbol for atom in alanine.topology.atoms()]
    molecule = Atoms(symbols, positions=10 * np.asarray(alanine.positions._value))
    molecule.rattle(0.02, seed=3)
    return molecule


def _numerical(atoms: Atoms, direction: np.ndarray, step: float) -> float:
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions += sign * step * direction
        energies.append(moved.get_potential_energy())
    return (energies[0] - energies[1]) / (2 * step)


@pytest.mark.parametrize("head", ["energy", "latent_energy"])
def test_forces_are_the_gradient(atoms: Atoms, untrained_bundle: Path, head: str) -> None:
    atoms.calc = LatentCalculator(untrained_bundle, head)
    rng = np.random.default_rng(0)
    forces = atoms.get_forces()
    for _ in range(3):
        direction = rng.standard_normal(forces.shape)
        slope = _numerical(atoms, direction, 1e-4)
        assert slope == pytest.approx(-np.sum(forces * direction), rel=1e-4)


def test_one_pass_gives_everything(atoms: Atoms, ou_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms.calc = calc = LatentCalculator(ou_bundle)
    passes = []
    inner = calc._results
    monkeypatch.setattr(calc, "_results", lambda *rows: passes.append(1) or inner(*rows))
    energy = atoms.get_potential_energy()
    atoms.get_forces()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert len(passes) == 1
    propagator = calc.propagator
    kj, forces = propagator.energy_and_forces(atoms.positions[None] / 10)
    assert energy == pytest.approx(kj[0] / 96.48533212331, rel=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), forces[0] / 964.8533212331, rtol=1e-4, atol=1e-5)


def test_caching_follows_what_matters(atoms: Atoms, ou_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms.calc = calc = LatentCalculator(ou_bundle)
    passes = []
    inner = calc._results
    monkeypatch.setattr(calc, "_results", lambda *rows: passes.append(1) or inner(*rows))
    first = atoms.get_potential_energy()
    atoms.set_initial_charges(np.ones(len(atoms)))
    atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    atoms.set_velocities(np.ones((len(atoms), 3)))
    assert atoms.get_potential_energy() == first
    assert len(passes) == 1
    atoms.positions[0] += 0.05
    assert atoms.get_potential_energy() != first
    atoms.set_cell([40, 40, 40])
    atoms.get_potential_energy()
    atoms.set_pbc(True)
    atoms.get_potential_energy()
    assert len(passes) == 4
    atoms.numbers[0] = 8
    with pytest.raises(ValueError, match="it is C5H12N2O3, the molecule of the model C6H12N2O2"):
        atoms.get_potential_energy()


def test_batch_equals_single_structures(atoms: Atoms, ou_bundle: Path) -> None:
    calc = LatentCalculator(ou_bundle)
    structures = []
    for seed in range(35):  # more than one pass
        structure = atoms.copy()
        structure.rattle(0.03, seed=seed)
        structures.append(structure)
    rows = calc.compute_batch(structures)
    assert calc.compute_batch([]) == []
    for row, structure in zip(rows, structures, strict=True):
        structure.calc = calc
        assert row["energy"] == pytest.approx(structure.get_potential_energy(), rel=1e-5)
        np.testing.assert_allclose(row["forces"], structure.get_forces(), rtol=1e-3, atol=1e-4)
    with pytest.raises(PropertyNotImplementedError, match="dipole"):
        calc.compute_batch(structures, ["dipole"])


def test_stress_is_the_strain_derivative(atoms: Atoms, untrained_bundle: Path) -> None:
    atoms.calc = LatentCalculator(untrained_bundle)
    with pytest.raises(PropertyNotImplementedError, match="periodic"):
        atoms.get_stress()
    atoms.set_cell([20, 22, 24])
    atoms.set_pbc(True)
    stress = atoms.get_stress(voigt=False)
    for i, j in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * 1e-5 / 2
            strain[j, i] += sign * 1e-5 / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / 2e-5 / atoms.get_volume()
        assert slope == pytest.approx(stress[i, j], rel=1e-4, abs=1e-9)


def test_wrapped_atoms_change_nothing(atoms: Atoms, ou_bundle: Path) -> None:
    atoms.set_cell([20, 22, 24])
    atoms.set_pbc(True)
    atoms.calc = LatentCalculator(ou_bundle)
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.positions -= atoms.positions.mean(axis=0)
    atoms.wrap()
    assert np.ptp(atoms.positions[:, 2]) > 12  # torn apart by the cell
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(atoms.get_stress(), stress, rtol=1e-2, atol=1e-5)


def test_descriptors_are_the_latent_tokens(atoms: Atoms, ou_bundle: Path) -> None:
    calc = LatentCalculator(ou_bundle)
    with pytest.raises(ValueError, match="no structure yet"):
        calc.get_descriptors()
    tokens = calc.get_descriptors(atoms)
    slow = calc.propagator.encode(atoms.positions[None] / 10)[0].numpy()
    np.testing.assert_allclose(tokens[:, : slow.shape[1]], slow, atol=1e-5)
    atoms.calc = calc
    atoms.get_potential_energy()
    np.testing.assert_array_equal(calc.get_descriptors(), tokens)


def test_variance_is_the_latent_head_s(atoms: Atoms, untrained_bundle: Path) -> None:
    latent, full = LatentCalculator(untrained_bundle, "latent_energy"), LatentCalculator(untrained_bundle)
    assert latent.get_property("energy_var", atoms) > 0
    with pytest.raises(PropertyNotImplementedError):
        full.get_property("energy_var", atoms)
    assert "energy_var" not in LatentCalculator.implemented_properties


def test_pickles_as_a_path(atoms: Atoms, ou_bundle: Path) -> None:
    calc = LatentCalculator(ou_bundle)
    text = pickle.dumps(calc)
    assert len(text) < 1000
    restored = pickle.loads(text)
    assert restored.get_potential_energy(atoms) == calc.get_potential_energy(atoms)


def test_refusals(atoms: Atoms, ou_bundle: Path) -> None:
    with pytest.raises(ValueError, match="expected one of energy, latent_energy"):
        LatentCalculator(ou_bundle, head="charges")
    calc = LatentCalculator(ou_bundle)
    with pytest.raises(ValueError, match="22 atoms, found 3"):
        calc.get_potential_energy(atoms[:3])
    broken = atoms.copy()
    broken.positions[1] += 5.0
    with pytest.raises(ValueError, match=r"atoms 0 and 1 are 7\.\d+ Å apart, but ACE1-CH3 and ACE1-H1 are bonded"):
        calc.get_potential_energy(broken)
    atoms.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        calc.get_potential_energy(atoms)


def test_double_precision_has_derivatives_at_small_steps() -> None:
    single, double = LatentCalculator("alanine-dipeptide"), LatentCalculator("alanine-dipeptide", dtype="float64")
    atoms = read(bundled("alanine_dipeptide"))
    atoms.calc = double
    numerical = calculate_numerical_forces(atoms, eps=1e-6, iatoms=[3, 8])
    np.testing.assert_allclose(numerical, atoms.get_forces()[[3, 8]], atol=1e-7)
    energy = atoms.get_potential_energy()
    atoms.calc = single
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5) and single.propagator.dtype == torch.float32
    assert LatentCalculator(single.propagator, dtype="float64").propagator.module is not single.propagator.module
    assert LatentCalculator(double.propagator, dtype="float64").propagator is double.propagator
    assert pickle.loads(pickle.dumps(double)).propagator.dtype == torch.float64
    assert repr(double) == "LatentCalculator(model 'alanine-dipeptide', head 'energy', float64, cpu)"
    with pytest.raises(ValueError, match="dtype is 'half'; expected 'float32', 'float64'"):
        LatentCalculator("alanine-dipeptide", dtype="half")
    with pytest.raises(ValueError, match="device is 'tpu'; expected 'auto', 'cpu' or 'cuda'"):
        LatentCalculator("alanine-dipeptide", device="tpu")
    with pytest.raises(TypeError, match="model is a int"):
        LatentCalculator(5)
