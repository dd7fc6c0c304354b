"""The command in explicit water, end to end in a small box, and what it refuses."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import mdtraj
import numpy as np
import pytest

import latentmd
from latentmd.io.progress import quiet
from latentmd.sampling.jumps.explicit_water import JumpsRequest, _Jumping, _solute
from latentmd.sampling.jumps.results import weighted_populations
from latentmd.sampling.run.preparation import Prepared
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled
from latentmd.systems.ligands import sided_bonds
from latentmd.systems.protocol import InputOptions
from latentmd.systems.sanity import in_nm

ALANINE = bundled("alanine_dipeptide")
SMALL = ("--solvent", "explicit", "--box", "cube", "--padding", "0.65")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bias", "jumps"])
def test_both_ways_end_to_end_and_after_an_interruption(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, mode: Literal["bias", "jumps"]
) -> None:
    out, kept = tmp_path / "wet", tmp_path / "wet" / "jumps" / "segment-00000.npz"
    asked = () if mode == "bias" else ("--mode", mode)  # a bias is what explicit water gets by itself
    line = ("simulate", ALANINE, *SMALL, *asked, "--wall", "90s", "--compare", "md", "--whole", "--out", out)
    first = start(*line)
    until = time.monotonic() + 120
    while not kept.exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 130 and "--resume" in said, said
    before = np.load(kept)["frames"]
    with (out / "jumps" / "wall.json").open() as file:
        spent = json.load(file)["seconds"]
    wall = spent + 20  # a longer run than was interrupted
    result = latentmd.simulate(
        ALANINE, solvent="explicit", inputs=InputOptions(box="cube", padding=0.65), compare="md", whole=True, mode=mode,
        wall=wall, resume=True, out=out,
    )  # fmt: skip
    summary = result.summary
    assert summary["mode"] == mode and set(summary["plain_md"]["populations"]) == set(summary["populations"])
    every = out / ("biased.xtc" if mode == "bias" else "solute.xtc")
    frames = mdtraj.load(str(every), top=str(result.topology))
    np.testing.assert_allclose(frames.xyz[: len(before)], before, atol=2e-3)
    assert frames.n_frames == summary["frames"] > len(before) and frames.n_atoms == 22
    whole = mdtraj.load(str(out / "system.xtc"), top=str(out / "system.pdb"))
    assert whole.n_frames == frames.n_frames and whole.n_atoms == summary["atoms"]
    np.testing.assert_allclose(whole.xyz[:, :22], frames.xyz, atol=2e-3)
    populations: dict[str, dict[str, Any]] = summary["populations"]
    total = sum(one["value"] for name, one in populations.items() if name.startswith("psi"))
    assert total == pytest.approx(1.0) and all(one["standard_error"] >= 0 for one in populations.values())
    if mode == "jumps":
        with (out / "jumps.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["number"]) for row in rows] == list(range(len(rows)))
        assert sum(one["tried"] for one in summary["blocks"].values()) == len(rows)
    else:
        weights = np.loadtxt(out / "weights.txt")
        assert len(weights) == frames.n_frames and weights.mean() == pytest.approx(1.0) and np.ptp(weights) > 0
        alike = mdtraj.load(str(result.trajectories[0]), top=str(result.topology))
        assert alike.n_frames == round(summary["evenness_of_weights"] * frames.n_frames) <= frames.n_frames
    page = (out / "free_energy.html").read_text()
    assert all(title in page for title in ("States", "Plain MD beside it", "What the run did", "psi ALA2"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"wall": 2}, r"--wall is 2 s, and 1003 atoms move .* ps a second here.* give that or more"),
        ({"mode": "jumps", "solvent": "implicit"}, "--mode bias and jumps are for explicit water"),
        ({"mode": "md", "compare": "md", "time": "1ns"}, "--compare has no meaning with --mode md"),
        ({"walkers": 3, "mode": "jumps"}, "--walkers has no meaning with --mode jumps"),
        ({"inputs": InputOptions(padding=0.2)}, r"--padding 0.2 makes a dodecahedron of .* too small for the cutoff"),
        ({"temperature": -1.0}, "--temperature is -1 K"),
        ({"solvent": "implicit", "inputs": InputOptions(salt=0.1), "mode": "md"}, "are for --solvent explicit"),
    ],
)
def test_refusals_are_one_sentence(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    given = {"solvent": "explicit", "inputs": InputOptions(box="cube", padding=0.65), **options}
    with pytest.raises(ValueError, match=reason):
        latentmd.simulate(ALANINE, out=tmp_path / "run", **given)
    assert not list(tmp_path.iterdir())


def test_a_molecule_that_cannot_turn_is_refused(tmp_path: Path) -> None:
    from openmm import app, unit

    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    for name, element in (("O", app.element.oxygen), ("H1", app.element.hydrogen), ("H2", app.element.hydrogen)):
        topology.addAtom(name, element, residue)
    topology.setPeriodicBoxVectors(np.eye(3) * 2.2 * unit.nanometer)
    positions = np.array([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]]) * unit.nanometer
    with (tmp_path / "water.pdb").open("w") as file:
        app.PDBFile.writeFile(topology, positions, file)
    with pytest.raises(ValueError, match="nothing is slow; use --mode md"):
        latentmd.simulate(tmp_path / "water.pdb", solvent="explicit", out=tmp_path / "run", wall=60)


def test_passages_bound_the_effective_samples() -> None:
    from latentmd.sampling.metropolis.wells import Turn, Well

    turn = Turn("phi ALA2", 0)
    cuts = (Well("left", turn, -180, 0, -80), Well("right", turn, 0, 180, 60))
    degrees = np.where(np.arange(400) // 40 % 4 == 3, 60.0, -80.0)
    found = weighted_populations(np.deg2rad(degrees)[:, None].astype(np.float32), cuts, np.ones(400))
    share = np.mean(degrees > 0)
    assert found.values[1] == pytest.approx(share)
    passages = np.count_nonzero(np.diff(degrees) > 0)
    assert found.effective[1] <= passages / (2 * share * (1 - share)) + 1e-9
    share_error = np.sqrt(share * (1 - share) / found.effective[1])
    assert found.errors[1] == pytest.approx(share_error)


def test_double_bonds_of_a_ligand_keep_their_side(tmp_path: Path) -> None:
    pytest.importorskip("rdkit")
    inputs = InputOptions(smiles=r"C/C(=C\CO)/CC", box="cube")
    molecule = build(Path("sided"), Protocol("explicit", temperature=300.0, inputs=inputs))
    prepared = Prepared(molecule, Path("sided"), in_nm(molecule.positions), "CPU", threads=1, rate=1.0)
    request = JumpsRequest(out=tmp_path, solvent="explicit", inputs=inputs)
    run = _Jumping(prepared, _solute(molecule), request, quiet, lambda: False)
    turned = {tuple(sorted(run.quads[turn.torsion, 1:3].tolist())) for turn in run.turns}
    sided = sided_bonds(molecule.ligand)
    assert len(sided) == 1 and turned and not turned & sided
