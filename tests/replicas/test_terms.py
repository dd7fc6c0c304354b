"""Parameters read from a System: their energy is OpenMM's, and what the engine cannot do is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.replicas.terms import COULOMB, UnsupportedError, read_terms, tables


def _bonded(terms: Any, x: Any) -> float:
    """Energy of bonds, angles and torsions of positions [atoms, 3], by their textbook formulas."""

    def vectors(atoms: Any, i: int, j: int) -> Any:
        return x[atoms[:, j]] - x[atoms[:, i]]

    def angle(a: Any, b: Any) -> Any:
        return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))

    length = np.linalg.norm(vectors(terms.bonds, 0, 1), axis=-1)
    energy = 0.5 * (terms.bond[:, 1] * (length - terms.bond[:, 0]) ** 2).sum()
    theta = angle(vectors(terms.angles, 1, 0), vectors(terms.angles, 1, 2))
    energy += 0.5 * (terms.angle[:, 1] * (theta - terms.angle[:, 0]) ** 2).sum()
    a, b, c = (vectors(terms.torsions, i, i + 1) for i in range(3))
    first, second = np.cross(a, b), np.cross(b, c)
    phi = np.arctan2((a * second).sum(-1) * np.linalg.norm(b, axis=-1), (first * second).sum(-1))
    phase, k = terms.torsion.T
    return float(energy + (k * (1 + np.cos(terms.torsions[:, 4] * phi - phase))).sum())


def test_the_terms_have_the_energy_of_the_system(alanine: Any) -> None:
    terms, x = read_terms(alanine.system), np.asarray(alanine.positions._value)
    system = openmm.System()
    for mass in terms.mass:
        system.addParticle(mass)
    for force in alanine.system.getForces():
        if type(force).__name__ in ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce"):
            system.addForce(openmm.XmlSerializer.clone(force))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    expected = context.getState(energy=True).getPotentialEnergy()._value
    assert _bonded(terms, x) == pytest.approx(expected, rel=1e-6)


def test_charges_and_constraints_are_those_of_the_system(alanine: Any) -> None:
    terms = read_terms(alanine.system)
    assert terms.atoms == 22 and abs(terms.nonbonded[:, 0].sum()) < 1e-6
    assert len(terms.constraints) == alanine.system.getNumConstraints() == 12
    assert terms.born is not None and terms.born.shape == (22, 3)
    assert pytest.approx(138.935, abs=1e-3) == COULOMB


def _system() -> openmm.System:
    system = openmm.System()
    for _ in range(2):
        system.addParticle(12.0)
    return system


def test_what_the_engine_cannot_do_is_named() -> None:
    system = _system()
    system.addForce(openmm.CustomBondForce("r"))
    with pytest.raises(UnsupportedError, match="CustomBondForce"):
        read_terms(system)
    system = _system()
    for _ in range(2):
        system.addForce(openmm.HarmonicBondForce())
    with pytest.raises(UnsupportedError, match="a second one"):
        read_terms(system)
    system = _system()
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    system.addForce(force)
    with pytest.raises(UnsupportedError, match="with a cutoff"):
        read_terms(system)
    massless = _system()
    massless.addParticle(0.0)
    with pytest.raises(UnsupportedError, match="particles without mass"):
        read_terms(massless)


def test_terms_without_forces_are_empty() -> None:
    terms = read_terms(_system())
    assert terms.bonds.shape == (0, 2) and terms.torsions.shape == (0, 5) and terms.born is None


def test_a_system_without_nonbonded_force_has_no_charges() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    assert not read_terms(system).nonbonded.any()


def test_every_constraint_is_in_one_cluster(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    assert sum(tables(terms)["cluster"][:, 1] >> 8) == len(terms.constraints)


def test_the_mask_holds_the_exceptions(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    bits = np.unpackbits(tables(terms)["mask"].view(np.uint8), axis=1, bitorder="little")
    assert bits.sum() == terms.atoms + 2 * len(terms.exceptions)
    assert (bits == np.pad(bits[:, : terms.atoms].T, ((0, 0), (0, 256 - terms.atoms)))).all()


def test_constraints_that_are_no_stars_are_refused(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    ring = replace(terms, constraints=np.array([[0, 1], [1, 2], [2, 0]]), distance=np.full(3, 0.1))
    with pytest.raises(ValueError, match="rings, chains or stars"):
        tables(ring)


def test_large_molecules_are_refused(peptides: list[Any]) -> None:
    terms = read_terms(peptides[0].system)
    with pytest.raises(ValueError, match="at most 256"):
        tables(replace(terms, mass=np.ones(300)))
