"""Bursts of a molecule in OpenMM: repeatable, held while relaxing, and refused where they explode."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import amide_torsions, rotatable_torsions
from latentmd.sampling.contracts import BurstError
from latentmd.sampling.engine import MoleculeEngine
from latentmd.sampling.hybrid.surfaces import torsion_name
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled

LIGAND = Path(__file__).parents[2] / "examples" / "hybrid" / "ibuprofen.pdb"


@pytest.fixture(scope="module")
def engine(alanine: Any) -> MoleculeEngine:
    return MoleculeEngine.of(alanine, np.asarray(alanine.positions._value), 0.1, "Reference")


def test_rotatable_torsions_of_a_peptide_are_its_backbone(engine: MoleculeEngine, alanine: Any) -> None:
    names = [torsion_name(alanine.topology, quad) for quad in engine.quads.tolist()]
    assert names == ["CH3-C-N-CA", "phi ALA2", "psi ALA2", "CA-C-N-C"]
    fixed = {tuple(quad) for quad in engine.fixed.tolist()}
    assert fixed == {tuple(engine.quads[0].tolist()), tuple(engine.quads[3].tolist())}


def test_rotatable_torsions_of_a_ring_and_no_rotor() -> None:
    # Toluene without two of the ring's hydrogens: six ring bonds, and the methyl, a rotor, is left out.
    symbols = ["C"] * 6 + ["C", "H", "H", "H"]
    bonds = np.array([(i, (i + 1) % 6) for i in range(6)] + [(0, 6), (6, 7), (6, 8), (6, 9)])
    quads = rotatable_torsions(symbols, bonds)
    assert len(quads) == 6 and not (quads[:, 1:3] == 6).any()
    assert len(amide_torsions(symbols, bonds)) == 0


def test_a_burst_follows_from_its_arguments(engine: MoleculeEngine) -> None:
    start = np.asarray(engine.molecule.positions._value)
    first = engine.burst(start, 5, 7)
    again = pickle.loads(pickle.dumps(engine)).burst(start, 5, 7)
    other = engine.burst(start, 5, 8)
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(first.energies, again.energies)
    assert np.abs(first.positions - other.positions).max() > 1e-3
    assert first.positions.shape == (5, 22, 3) and first.positions.dtype == np.float32


def test_a_burst_begins_no_hotter_than_it_goes_on(engine: MoleculeEngine) -> None:
    """Velocities drawn for leapfrog positions would heat stiff angles by about 5 kJ/mol in the first 0.1 ps."""
    source = engine.burst(np.asarray(engine.molecule.positions._value), 900, 11)
    starts, energies = source.positions[50:], source.energies[50:]
    fine = replace(engine, interval=0.02)
    early = np.array([fine.burst(start, 5, i).energies.mean() for i, start in enumerate(starts)])
    difference = early - energies
    error = difference.std(ddof=1) / np.sqrt(len(difference) / 2)  # neighbours among the starts are correlated
    assert abs(difference.mean()) < 3 * error < 3.0


def test_relaxation_holds_the_torsions_and_lowers_the_energy(engine: MoleculeEngine) -> None:
    start = engine.burst(np.asarray(engine.molecule.positions._value), 20, 1).positions[-1]
    broken = start + 0.02 * np.random.default_rng(0).standard_normal(start.shape)
    relaxed = engine.relax(broken, 3)
    assert all(passed[0] for passed in engine.checks(relaxed.positions[None]).values())
    turned = np.arccos(np.clip(_cosines(engine, relaxed.positions, broken), -1, 1))
    assert np.rad2deg(turned).max() < 40
    # Within what thermal motion explains: its mean is kT / 2 for each of 66 - 12 - 6 degrees of freedom, 70 kJ/mol.
    lowest = float(engine.molecule.context(engine.molecule.langevin(0), "Reference").getState(energy=True)
                   .getPotentialEnergy()._value)  # fmt: skip
    assert lowest < relaxed.energy < lowest + 200


def _cosines(engine: MoleculeEngine, a: Any, b: Any) -> Any:
    first, second = engine.features(a[None])[0], engine.features(b[None])[0]
    half = len(first) // 2
    return first[:half] * second[:half] + first[half:] * second[half:]


def test_an_explosion_is_a_burst_error(engine: MoleculeEngine) -> None:
    start = np.asarray(engine.molecule.positions._value)
    with pytest.raises(BurstError, match="exploded"):
        engine.burst(np.full_like(start, np.nan), 2, 1)
    with pytest.raises(BurstError, match="exploded"):
        engine.burst(start * 0.01, 20, 1)


def test_checks_see_a_cis_amide_and_a_mirror_image(engine: MoleculeEngine) -> None:
    start = np.asarray(engine.molecule.positions._value)
    symbols, bonds = topology_arrays(engine.molecule.topology)
    _, centre, other, _ = engine.fixed[1].tolist()
    moved = _side(len(symbols), bonds.tolist(), other, centre)
    cis = start.copy()
    axis = (start[other] - start[centre]) / np.linalg.norm(start[other] - start[centre])
    arm = start[moved] - start[centre]
    cis[moved] = start[centre] + 2 * (arm @ axis)[:, None] * axis - arm  # half a turn about the bond
    assert engine.checks(start[None])["isomer"].all() and not engine.checks(cis[None])["isomer"].any()
    assert not engine.checks(start[None] * np.array([1.0, 1.0, -1.0]))["chirality"].any()


def _side(count: int, bonds: list[list[int]], first: int, barred: int) -> list[int]:
    """Atoms on the side of `first` of its bond to `barred`."""
    near: dict[int, list[int]] = {i: [] for i in range(count)}
    for i, j in bonds:
        near[i].append(j)
        near[j].append(i)
    seen, queue = {first, barred}, [first]
    while queue:
        for j in near[queue.pop()]:
            if j not in seen:
                seen.add(j)
                queue.append(j)
    return sorted(seen - {barred})


def test_an_interval_that_is_no_multiple_of_the_time_step(alanine: Any) -> None:
    with pytest.raises(ValueError, match=r"0\.0015 ps is not a multiple of the time step 0\.004 ps"):
        MoleculeEngine.of(alanine, np.asarray(alanine.positions._value), 0.0015, "Reference")


def test_a_molecule_with_a_ring_and_no_residue_template() -> None:
    protocol = Protocol("vacuum", (str(LIGAND.with_suffix(".xml")),), 300.0)
    molecule = build(LIGAND, protocol)
    reference = np.asarray(molecule.positions._value)
    engine = MoleculeEngine.of(molecule, reference, 0.1, "Reference")
    assert molecule.system.getNumParticles() == 33 and len(engine.quads) == 11
    burst = engine.burst(engine.relax(reference, 1).positions, 20, 1)
    assert all(passed.all() for passed in engine.checks(burst.positions).values())


def test_many_bursts_at_once_depend_on_their_own_seeds() -> None:
    """Neither on their number nor on their order; and their energies are those of the force field."""
    molecule = build(bundled("alanine_dipeptide"))
    start = np.asarray(molecule.positions._value)
    engine = MoleculeEngine.of(molecule, start, 0.02, "Reference")
    starts = np.repeat(start[None], 5, axis=0)
    whole = engine.bursts(starts, 4, [11, 12, 13, 14, 15])
    part = engine.bursts(starts[:2], 4, [14, 12])
    for one, other in ((whole[3], part[0]), (whole[1], part[1])):
        assert not isinstance(one, str) and not isinstance(other, str)
        np.testing.assert_array_equal(one.positions, other.positions)
        context = molecule.context(molecule.langevin(1), "Reference")
        context.setPositions(np.asarray(one.positions[2], dtype=np.float64))
        energy = context.getState(energy=True).getPotentialEnergy()._value
        assert energy == pytest.approx(one.energies[2], abs=0.05)  # positions are kept in single precision
    assert np.abs(whole[0].positions - whole[1].positions).max() > 1e-3  # type: ignore[union-attr]
    broken = starts.copy()
    broken[2] = np.nan
    found = engine.bursts(broken, 2, [1, 2, 3, 4, 5])
    assert [isinstance(burst, str) for burst in found] == [False, False, True, False, False]


def test_many_relaxations_at_once_depend_on_their_own_starts_and_seeds(engine: MoleculeEngine) -> None:
    """They hold the torsions and repair what is strained, as one by one, with the energies of thermal motion."""
    rng = np.random.default_rng(1)
    start = engine.burst(np.asarray(engine.molecule.positions._value), 20, 1).positions[-1]
    starts = start + rng.uniform(0.001, 0.02, size=(20, 1, 1)) * rng.standard_normal((20, *start.shape))
    starts[7] = np.nan
    found = engine.relaxations(starts, range(20))
    again = engine.relaxations(starts[[11, 3, 7]], [11, 3, 7])
    for one, other in ((found[11], again[0]), (found[3], again[1])):
        assert not isinstance(one, str) and not isinstance(other, str)
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.energy == other.energy
    assert found[7] == again[2] == "exploded"
    good = [relaxed for relaxed in found if not isinstance(relaxed, str)]
    assert len(good) == 19
    assert np.all(list(engine.checks(np.array([relaxed.positions for relaxed in good])).values()))
    alone = [engine.relax(x, seed).energy for seed, x in enumerate(starts) if np.isfinite(x).all()]
    energies = np.array([relaxed.energy for relaxed in good])
    error = np.sqrt((energies.var(ddof=1) + np.var(alone, ddof=1)) / 19)
    assert abs(energies.mean() - np.mean(alone)) < 3 * error < 20
    turned = np.arccos(np.clip(_cosines(engine, good[3].positions, starts[3]), -1, 1))
    assert np.rad2deg(turned).max() < 40
