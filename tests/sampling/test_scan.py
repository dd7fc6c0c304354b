"""Torsion scans: energies beside OpenMM's, free energies beside histograms, files, and refusals that write nothing."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("openff.toolkit")

import mdtraj
import openmm
from rdkit import Chem

from latentmd.analysis.statistics import effective_samples
from latentmd.io.atomic import OutputError
from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.stereo import stereochemistry
from latentmd.molecule.torsions import acyclic_torsions, rotatable_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.sampling import scan as module
from latentmd.sampling.metropolis import ladders, pilot, plain_md, segments
from latentmd.sampling.metropolis import run as chains
from latentmd.sampling.metropolis.blocks import Torsions
from latentmd.sampling.scan import Scanner, scan
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.units import thermal_energy

BUTANE = InputOptions(smiles="CCCC")


def test_relaxed_profiles_are_written_and_found_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"step": 30, "relaxed_only": True, "solvent": "vacuum", "inputs": BUTANE}
    result = scan("butane", ["3-2", "1-2"], out=tmp_path / "run", **options)
    rows = list(csv.DictReader((tmp_path / "run" / "scan.csv").read_text().splitlines()))
    assert [row["bond"] for row in rows] == ["1-2"] * 12 + ["2-3"] * 12
    assert rows[-1]["torsion"] == "C1-C2-C3-C4"
    central = {int(row["degrees"]): float(row["relaxed_kcal_per_mol"]) for row in rows[12:]}
    assert central[180] == 0 and central[0] == max(central.values())
    assert central[60] == pytest.approx(central[-60], abs=0.01)
    for row in rows:
        assert float(row["relaxed_kJ_per_mol"]) == pytest.approx(4.184 * float(row["relaxed_kcal_per_mol"]), abs=1e-4)
        assert row["free_energy_kcal_per_mol"] == ""
    with Chem.SDMolSupplier(str(tmp_path / "run" / "scan.sdf"), removeHs=False) as supplier:
        mols = list(supplier)
    assert len(mols) == 24 and mols[12].GetProp("degrees") == "-150"
    turned = Chem.rdMolTransforms.GetDihedralDeg(mols[12].GetConformer(), 0, 1, 2, 3)
    assert turned == pytest.approx(-150, abs=0.1)
    assert result.status == "complete" and result.summary["frames"] == 24
    assert result.summary["highest_kJ_per_mol"]["2-3 (C1-C2-C3-C4)"]["relaxed"] == pytest.approx(4.184 * central[0])
    assert (tmp_path / "run" / "scan.png").read_bytes()[:4] == b"\x89PNG"
    before = (tmp_path / "run" / "scan.csv").read_bytes()
    with pytest.raises(OutputError, match="not empty"):
        scan("butane", ["3-2", "1-2"], out=tmp_path / "run", **options)
    scan("butane", ["3-2", "1-2"], out=tmp_path / "run", resume=True, **options)
    assert (tmp_path / "run" / "scan.csv").read_bytes() == before


def test_free_energies_come_from_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name, value in (
        (chains, "SWEEPS", 10), (segments, "SWEEPS", 10), (ladders, "DRAWN", 6), (pilot, "SWEEPS", (6, 6)),
        (pilot, "SCATTER", 0.5), (plain_md, "STARTS", 16), (plain_md, "LENGTH", 5.0), (module, "_FEWEST", 5),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr(chains, "unmet_criteria", lambda found, precision: [])
    result = scan("butane", solvent="vacuum", step=30, inputs=BUTANE, out=tmp_path / "run", processes=1, wall=600)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == result.summary and list(summary["highest_kJ_per_mol"]) == ["2-3 (C1-C2-C3-C4)"]
    assert result.status == "converged"
    rows = list(csv.DictReader((tmp_path / "run" / "scan.csv").read_text().splitlines()))
    free, errors = (
        {int(row["degrees"]): float(row[f"{name}_kJ_per_mol"] or np.nan) for row in rows}
        for name in ("free_energy", "standard_error")
    )
    assert free[180] < 3 and free[60] < 8  # barriers have too few structures here
    assert all(0 < errors[angle] < 5 for angle, value in free.items() if np.isfinite(value))
    assert abs(free[60] - free[-60]) < 4 * np.hypot(errors[60], errors[-60])  # butane is its own mirror image
    assert "standard errors apart" in (tmp_path / "run" / "chains" / "free_energy.html").read_text()
    kept = np.rad2deg(np.load(tmp_path / "run" / "chains" / "metropolised.npz")["torsions"][:, 0])
    near = np.array([(np.cos(np.deg2rad(kept - angle)) > np.cos(np.deg2rad(15))).sum() for angle in (180, 60)])
    counted, kt = np.log(near[0] / near[1]), thermal_energy(300.0)
    assert abs(free[60] - free[180] - kt * counted) < 4 * np.hypot(kt * np.sqrt((1 / near).sum()), errors[60])
    assert result.page == tmp_path / "run" / "scan.html" and "data:image/png" in result.page.read_text()
    assert result.load().n_frames == 12
    before = (tmp_path / "run" / "scan.csv").read_bytes()
    again = scan("butane", solvent="vacuum", step=30, inputs=BUTANE, out=tmp_path / "run", wall=900, resume=True)
    assert again.status == "converged" and (tmp_path / "run" / "scan.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("smiles", "bonds", "options", "reason"),
    [
        ("CCCC", ["1-3"], {}, "--bond 1-3 is no bond between atoms with other neighbours; can turn: 1-2, 2-3, 3-4"),
        ("CCCC", ["2-30"], {}, "--bond 2-30 is no bond"),
        ("CCCC", ["1-5"], {}, "--bond 1-5 is no bond between atoms with other neighbours"),
        ("CCCC", ["middle"], {}, "--bond middle is no bond"),
        ("CCC#CC", ["2-3"], {}, "--bond 2-3 is in a ring or in line with the next; can turn: 1-2$"),
        ("CC", [], {}, "free energies come from exact chains, .* none that can turn; add --relaxed-only"),
        ("CCCC", [], {"step": 7}, "--step is 7 degrees; expected a divisor of 60"),
        ("CCCC", [], {"solvent": "explicit"}, "cannot move the water"),
        ("c1ccccc1", [], {}, "no bond of this molecule can turn"),
        ("C1CCCCC1CC", ["1-2"], {}, "--bond 1-2 is in a ring or in line with the next; can turn: 6-7, 7-8"),
    ],
)
def test_refusals_write_nothing(
    smiles: str, bonds: list[str], options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        scan("molecule", bonds, inputs=InputOptions(smiles=smiles), out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


DEGREES = np.arange(-150, 181, 30.0)
ANGLES = np.deg2rad(DEGREES)


def scanner(smiles: str, middle: set[int], held: set[int] = frozenset()) -> Scanner:
    """The scan about a bond, where all torsions are free but for that about another bond."""
    molecule = build(Path("molecule"), Protocol("vacuum", inputs=InputOptions(smiles=smiles)))
    symbols, bonds = topology_arrays(molecule.topology)
    found = Torsions(*acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(symbols)))
    bond, *others = (
        next(i for i, quad in enumerate(found.quads) if set(quad[1:3]) == pair) for pair in (middle, held) if pair
    )
    return Scanner(molecule, found, tuple(i for i in range(len(found.quads)) if i not in others), 30.0, bond)


def scanned(it: Scanner) -> dict[str, np.ndarray]:
    return it.run(np.random.default_rng(1))


def test_butane_is_its_own_mirror_image_and_its_energies_are_openmms() -> None:
    it = scanner("CCCC", {1, 2})
    found = scanned(it)
    energies = found["relaxed"]
    np.testing.assert_allclose(energies[:-1], energies[:-1][::-1], atol=0.02)  # theta and -theta
    np.testing.assert_allclose(energies, found["forward"], atol=0.02)
    np.testing.assert_allclose(energies, found["backward"], atol=0.02)
    order = [int(np.rad2deg(angle).round()) for angle in ANGLES[np.argsort(energies)]]
    assert order[0] == 180 and set(order[1:3]) == {60, -60} and order[-1] == 0
    reached = torsions(found["positions"], it.torsions.quads)[:, 0]
    np.testing.assert_allclose(np.exp(1j * reached), np.exp(1j * ANGLES), atol=1e-6)
    context = it.molecule.context(openmm.VerletIntegrator(0.001), "Reference")
    for positions, energy in zip(found["positions"], found["energy"], strict=True):
        context.setPositions(positions)
        assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(energy, abs=0.02)
    assert np.isnan(found["free_energy"]).all()


def test_no_start_of_the_other_torsions_ends_lower() -> None:
    it = scanner("OCCO", {1, 2})
    bond, found = it.bond, scanned(it)
    others = [i for i in it.free if i != bond]
    grid = np.array(list(itertools.product(np.arange(0, 2 * np.pi, np.pi / 4), repeat=2)))
    for angle, energy in zip(ANGLES[::3], found["energy"][::3], strict=True):
        starts = np.repeat(it.start, len(grid), axis=0)
        turns = angle - torsions(starts, it.torsions.quads[[bond]])
        starts = it.torsions.turned(it.torsions.turned(starts, (bond,), turns), tuple(others), grid)
        engine = replica_engine(it.molecule.system, starts, restraints=it.torsions.quads[[bond]])
        engine.hold(np.full((len(grid), 1), angle), 1e4)
        held = engine.minimize(1000, tolerance=0.3)
        # with the restraint's own energy, and before the last turn: a little below the force field's alone
        assert held.min() - 0.2 < energy < held.min() + 0.3
    assert (np.minimum(found["forward"], found["backward"]) >= found["relaxed"] - 0.02).all()


def test_relaxed_energies_are_those_of_openmm_under_a_restraint() -> None:
    it = scanner("OCCO", {1, 2})
    found, quad = scanned(it), it.torsions.quads[it.bond].tolist()
    np.testing.assert_allclose(found["relaxed"][:-1], found["relaxed"][:-1][::-1], atol=0.02)  # achiral
    assert found["forward"].max() > found["relaxed"].max() + 1  # hydroxyls have to turn as well
    held = openmm.CustomTorsionForce("5e4*(1-cos(theta-t0))")
    held.addGlobalParameter("t0", 0.0)
    held.addTorsion(*quad)
    held.setForceGroup(7)
    it.molecule.system.addForce(held)
    context = it.molecule.context(openmm.VerletIntegrator(0.001), "Reference")
    others = np.array(list(itertools.product(np.arange(0, 2 * np.pi, np.pi / 3), repeat=2)))
    starts = it.torsions.turned(np.repeat(it.start, 36, axis=0), (0, 2), others)
    for angle, energy in zip(ANGLES[::2], found["energy"][::2], strict=True):
        context.setParameter("t0", angle)
        energies = []
        for positions in starts:
            turn = angle - torsions(positions[None], it.torsions.quads[[it.bond]])
            context.setPositions(it.torsions.turned(positions[None], (it.bond,), turn)[0])
            openmm.LocalEnergyMinimizer.minimize(context, 0.5, 2000)
            energies.append(context.getState(energy=True, groups=set(range(32)) - {7}).getPotentialEnergy()._value)
        assert energy == pytest.approx(min(energies), abs=0.05)


def test_scans_keep_the_isomer() -> None:
    it = scanner("C[C@H](O)C(=O)NC", {1, 3}, {3, 5})  # the amide is held
    signs = stereochemistry(it.molecule.topology, it.start[0])
    found = scanned(it)
    assert np.isfinite(found["relaxed"]).all()
    assert all(stereochemistry(it.molecule.topology, x) == signs for x in found["positions"])


def test_of_one_structure_the_free_energy_is_the_energy_of_rigid_turns() -> None:
    it = scanner("OO", {0, 1})
    rigid = it.torsions.turned(np.repeat(it.start, 12, axis=0), (0,), ANGLES[:, None] - it.torsions.angles(it.start))
    energies = replica_engine(it.molecule.system, rigid).energies()
    anywhere = it.torsions.turned(
        np.repeat(it.start, 40, axis=0), (0,), np.random.default_rng(0).uniform(-3, 3, (40, 1))
    )
    found = it.free_energies(anywhere.reshape(4, 10, 4, 3))  # wherever the torsion is in the structures
    np.testing.assert_allclose(found["free_energy"], energies - energies.min(), atol=0.01)
    np.testing.assert_allclose(found["standard_error"], 0.0, atol=0.01)


def test_free_energies_are_those_of_a_histogram() -> None:
    it = scanner("CCCC", {1, 2})
    it.molecule = replace(it.molecule, protocol=Protocol("vacuum", temperature=1000.0))  # so hot that it is anywhere
    engine = replica_engine(it.molecule.system, np.repeat(it.start, 64, axis=0), seed=3)
    engine.minimize(200)
    engine.set_temperatures(1000.0)
    engine.draw_velocities()
    frames = []
    for _ in range(250):
        engine.langevin(200, timestep=0.002, friction=2.0)
        frames.append(engine.positions.copy())
    structures = np.swapaxes(np.array(frames[50:]), 0, 1)
    found = it.free_energies(structures)
    angles = it.torsions.angles(structures.reshape(-1, 14, 3))[:, [it.bond]].reshape(64, -1, 1)
    inside = np.cos(angles - ANGLES) > np.cos(np.deg2rad(5))
    shares, kt = inside.mean(axis=(0, 1)), thermal_energy(1000.0)
    errors = kt / np.sqrt(shares * [effective_samples(list(one)) for one in np.moveaxis(inside.astype(float), 2, 0)])
    apart, both = found["free_energy"] + kt * np.log(shares), np.hypot(errors, found["standard_error"])
    assert (np.abs(apart - np.average(apart, weights=both**-2)) < 3.5 * both).all()
    assert found["free_energy"].max() > 20 and (found["standard_error"] < errors / 2).all()


def test_a_file_with_several_molecules_is_refused(tmp_path: Path) -> None:
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCCC"))
    (tmp_path / "two.sdf").write_text(f"{block}$$$$\n{block}$$$$\n")
    with pytest.raises(ValueError, match="has 2 molecules; choose one by --model-number"):
        scan(tmp_path / "two.sdf", out=tmp_path / "run")


def test_a_peptide_is_scanned_by_the_name_of_a_torsion(tmp_path: Path) -> None:
    source = bundled("alanine_dipeptide")
    result = scan(source, ["phi ALA2"], step=60, relaxed_only=True, solvent="vacuum", out=tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run" / "scan.csv").read_text().splitlines()))
    assert [row["torsion"] for row in rows] == ["phi ALA2"] * 6
    frames = result.load()
    assert frames.n_frames == 6
    phi = np.rad2deg(mdtraj.compute_phi(frames)[1][:, 0])
    np.testing.assert_allclose(np.cos(np.deg2rad(phi - [float(row["degrees"]) for row in rows])), 1.0, atol=1e-3)
    with pytest.raises(ValueError, match=r"can turn: .*phi ALA2, psi ALA2"):
        scan(source, ["chi3 ALA2"], out=tmp_path / "other")
