"""Torsion scans: profiles as files, free energies with their errors, and refusals that write nothing."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("openff.toolkit")

import openmm
from rdkit import Chem
from scan import Scanner, free_energies, main, scan

from latentmd.io.atomic import OutputError
from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.stereo import stereochemistry
from latentmd.molecule.torsions import acyclic_torsions, rotatable_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.metropolis import ladders, pilot, plain_md, segments
from latentmd.sampling.metropolis import run as chains
from latentmd.sampling.metropolis.blocks import Torsions
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.systems.sanity import in_nm

BUTANE = InputOptions(smiles="CCCC")
DEGREES = np.arange(-150, 181, 30.0)


def test_free_energies_are_those_of_a_known_density_within_their_errors() -> None:
    rng = np.random.default_rng(0)
    found = free_energies(rng.vonmises(1.0, 2.0, (16, 2000)), DEGREES)
    edges = np.deg2rad(DEGREES[:, None] + np.linspace(-15, 15, 31))
    exact = np.exp(2 * np.cos(edges - 1.0)).mean(axis=1)
    exact = -np.log(exact / exact.max())
    assert (np.abs(found[0] - exact) / np.hypot(found[1], found[1].min()) < 3).all()
    assert found[1].max() < 0.2


def test_bins_without_samples_are_not_a_number_and_a_symmetric_torsion_is_folded() -> None:
    angles = np.deg2rad(np.random.default_rng(0).normal(60.0, 3.0, (4, 100)))
    once, twice = free_energies(angles, DEGREES), free_energies(angles, DEGREES, 180.0)
    assert DEGREES[np.isfinite(once[0])].tolist() == [60]
    assert DEGREES[np.isfinite(twice[0])].tolist() == [-120, 60] and (twice[0][np.isfinite(twice[0])] == 0).all()


def test_relaxed_profiles_are_written_and_found_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"step": 30, "relaxed_only": True, "solvent": "vacuum", "inputs": BUTANE}
    result = scan("butane", ["3-2", "1-2"], out=tmp_path / "run", **options)
    rows = list(csv.DictReader((tmp_path / "run" / "scan.csv").read_text().splitlines()))
    assert [row["bond"] for row in rows] == ["2-3"] * 12 + ["1-2"] * 12
    central = {int(row["angle_degrees"]): float(row["relaxed_kcal_per_mol"]) for row in rows[:12]}
    assert (
        central[180] == 0
        and central[0] == max(central.values())
        and central[60] == pytest.approx(central[-60], abs=0.01)
    )
    assert all(row["free_energy_kcal_per_mol"] == "" for row in rows)
    with Chem.SDMolSupplier(str(tmp_path / "run" / "scan.sdf"), removeHs=False) as supplier:
        mols = list(supplier)
    assert len(mols) == 24 and mols[0].GetProp("angle_degrees") == "-150"
    turned = Chem.rdMolTransforms.GetDihedralDeg(mols[0].GetConformer(), 0, 1, 2, 3)
    assert turned == pytest.approx(-150, abs=0.1)
    assert result.status == "complete"
    assert (tmp_path / "run" / "scan.png").read_bytes()[:4] == b"\x89PNG"
    assert result.summary["bonds"]["2-3"][0].startswith("relaxed from 0 at 180° to")
    before = (tmp_path / "run" / "scan.csv").read_bytes()
    with pytest.raises(OutputError, match="not empty"):
        scan("butane", ["3-2", "1-2"], out=tmp_path / "run", **options)
    scan("butane", ["3-2", "1-2"], out=tmp_path / "run", resume=True, **options)
    assert (tmp_path / "run" / "scan.csv").read_bytes() == before


def test_free_energies_come_from_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        (chains, "SWEEPS", 10), (segments, "SWEEPS", 10), (ladders, "DRAWN", 6), (pilot, "SWEEPS", (6, 6)),
        (pilot, "SCATTER", 0.5), (plain_md, "STARTS", 16), (plain_md, "LENGTH", 5.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(chains, "unmet_criteria", lambda found, precision: [])
    result = scan("butane", solvent="vacuum", step=30, inputs=BUTANE, out=tmp_path / "run", processes=1, wall=600)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary == result.summary and list(summary["bonds"]) == ["2-3"]
    rows = list(csv.DictReader((tmp_path / "run" / "scan.csv").read_text().splitlines()))
    free = {int(row["angle_degrees"]): row["free_energy_kcal_per_mol"] for row in rows}
    assert float(free[180]) < 0.5 and 0 < float(free[60]) < 2
    assert all(row["standard_error_kcal_per_mol"] for row in rows if row["free_energy_kcal_per_mol"])
    assert "standard errors apart" in (tmp_path / "run" / "chains" / "free_energy.html").read_text()
    found = json.loads((tmp_path / "run" / "chains" / "summary.json").read_text())
    assert any(sentence.startswith("Mirror images, equal in an achiral molecule") for sentence in found["remarks"])
    left, right = (found["populations"][f"C1-C2-C3-C4 {well}"] for well in ("g+", "g-"))
    assert 0.1 < left["value"] < 0.4 and 0.1 < right["value"] < 0.4
    assert abs(left["value"] - right["value"]) < 3 * (left["standard_error"] + right["standard_error"])


@pytest.mark.parametrize(
    ("smiles", "bonds", "options", "reason"),
    [
        ("CCCC", ["1-3"], {}, "--bond 1-3 is no bond that can turn; by their atoms, these can: 1-2, 2-3, 3-4"),
        ("CCCC", ["2-30"], {}, "--bond 2-30 is no bond"),
        ("CCCC", ["middle"], {}, "--bond middle is no bond"),
        ("CCCC", [], {"step": 7}, "--step is 7 degrees; expected a divisor of 60"),
        ("CCCC", [], {"solvent": "explicit"}, "cannot move the water"),
        ("c1ccccc1", [], {}, "no bond of this molecule can turn"),
        ("C1CCCCC1CC", ["1-2"], {}, "these can: 6-7, 7-8"),
    ],
)
def test_refusals_write_nothing(
    smiles: str, bonds: list[str], options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        scan("molecule", bonds, inputs=InputOptions(smiles=smiles), out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


ANGLES = np.deg2rad(np.arange(-150, 181, 30.0))


def scanner(smiles: str) -> Scanner:
    molecule = build(Path("molecule"), Protocol("vacuum", inputs=InputOptions(smiles=smiles)))
    symbols, bonds = topology_arrays(molecule.topology)
    found = Torsions(*acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(symbols)))
    return Scanner(molecule, found, tuple(range(len(found.quads))), in_nm(molecule.positions))


def scanned(it: Scanner, bond: int) -> dict[str, np.ndarray]:
    return it.run(bond, ANGLES, np.random.default_rng(1))


def test_butane_is_its_own_mirror_image_and_its_energies_are_openmms() -> None:
    it = scanner("CCCC")
    found = scanned(it, 0)
    energies = found["relaxed"]
    np.testing.assert_allclose(energies[:-1], energies[:-1][::-1], atol=0.02)  # theta and -theta
    np.testing.assert_allclose(energies, found["forward"], atol=0.02)
    np.testing.assert_allclose(energies, found["backward"], atol=0.02)
    order = [int(np.rad2deg(angle).round()) for angle in ANGLES[np.argsort(energies)]]
    assert order[0] == 180 and set(order[1:3]) == {60, -60} and order[-1] == 0
    reached = torsions(found["positions"], it.torsions.quads)[:, 0]
    np.testing.assert_allclose(np.exp(1j * reached), np.exp(1j * ANGLES), atol=1e-6)
    context = it.molecule.context(openmm.VerletIntegrator(0.001), "Reference")
    for positions, energy in zip(found["positions"], energies, strict=True):
        context.setPositions(positions)
        assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(energy, abs=0.02)


def test_no_start_of_the_other_torsions_ends_lower() -> None:
    it = scanner("OCCO")
    bond = next(i for i, quad in enumerate(it.torsions.quads.tolist()) if set(quad[1:3]) == {1, 2})
    found = scanned(it, bond)
    others = [i for i in it.free if i != bond]
    grid = np.array(list(itertools.product(np.arange(0, 2 * np.pi, np.pi / 4), repeat=2)))
    for angle, energy in zip(ANGLES[::3], found["relaxed"][::3], strict=True):
        starts = np.repeat(it.start[None], len(grid), axis=0)
        turns = angle - torsions(starts, it.torsions.quads[[bond]])
        starts = it.torsions.turned(it.torsions.turned(starts, (bond,), turns), tuple(others), grid)
        engine = replica_engine(it.molecule.system, starts, restraints=it.torsions.quads[[bond]])
        engine.hold(np.full((len(grid), 1), angle), 1e4)
        held = engine.minimize(1000, tolerance=0.3)
        # with the restraint's own energy, and before the last turn: a little below the force field's alone
        assert held.min() - 0.2 < energy < held.min() + 0.3
    assert (np.minimum(found["forward"], found["backward"]) >= found["relaxed"] - 0.02).all()


def test_scans_keep_the_isomer() -> None:
    it = scanner("C[C@H](O)C(=O)NC")
    signs = stereochemistry(it.molecule.topology, it.start)
    held = [i for i, quad in enumerate(it.torsions.quads.tolist()) if {3, 5} == set(quad[1:3])]  # the amide
    it = Scanner(it.molecule, it.torsions, tuple(i for i in it.free if i not in held), it.start)
    found = scanned(it, it.free[0])
    assert np.isfinite(found["relaxed"]).all()
    assert all(stereochemistry(it.molecule.topology, x) == signs for x in found["positions"])


def test_a_file_with_several_molecules_is_refused(tmp_path: Path) -> None:
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCCC"))
    (tmp_path / "two.sdf").write_text(f"{block}$$$$\n{block}$$$$\n")
    with pytest.raises(ValueError, match="has 2 molecules; choose one by --model-number"):
        scan(tmp_path / "two.sdf", out=tmp_path / "run")


ALANINE = str(bundled("alanine_dipeptide"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "expected FILE, or --smiles"),
        (("none.sdf",), "none.sdf: no such file"),
        ((ALANINE, "--name", "a"), "--name: not allowed with argument file"),
        ((ALANINE,), "does not tell bond orders, as the file of a small molecule does; give --smiles too"),
        ((ALANINE, "--step", "50"), "expected a divisor of 60"),
        ((ALANINE, "--wall", "0s"), "not a wall time"),
        ((ALANINE, "--temperature", "-5"), "--temperature is -5 K"),
        ((ALANINE, "--resume", "--overwrite"), "exclude each other"),
    ],
)
def test_bad_usage_ends_in_a_sentence(
    arguments: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--out", "run"])
    assert reason in capsys.readouterr().err
    assert not Path("run").exists()
