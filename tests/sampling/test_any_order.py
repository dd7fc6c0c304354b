"""Runs of a molecule in Amber's order of atoms: frames come in the order and with the atoms of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from numpy.typing import NDArray
from openmm import app, unit

import latentmd
from latentmd.integrators.openmm_selection import sub_topology

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
AMBER = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 10, 11, 16, 17, 18, 19, 20, 21]


@pytest.fixture(scope="module")
def amber(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled molecule as tleap, openmmtools and PLUMED list it."""
    pdb = app.PDBFile(str(ALANINE))
    path = tmp_path_factory.mktemp("amber") / "amber.pdb"
    with path.open("w", encoding="utf-8") as file:
        x = np.array(pdb.getPositions(asNumpy=True)._value)[AMBER]
        app.PDBFile.writeFile(sub_topology(pdb.topology, AMBER), x * unit.nanometer, file)
    return path


def check(found: Any, source: Path) -> None:
    """Names are those of the file, and bonded atoms near to each other."""
    own = mdtraj.load(str(source)).topology
    assert [atom.name for atom in found.topology.atoms] == [atom.name for atom in own.atoms]
    pairs = np.array([(a.index, b.index) for a, b in own.bonds])
    lengths: NDArray[Any] = mdtraj.compute_distances(found, pairs)
    assert len(found) > 1 and 0.08 < lengths.min() and lengths.max() < 0.18


def test_simulate_latent(amber: Path, tmp_path: Path) -> None:
    run = latentmd.simulate(
        amber, model="alanine-dipeptide", mode="latent", time=400.0, save_every=100.0, walkers=2, processes=1,
        device="cpu", out=tmp_path / "run",
    )  # fmt: skip
    for path in run.trajectories:
        check(mdtraj.load(str(path), top=str(run.topology)), amber)


def test_paths_upsample_and_inpaint(amber: Path, tmp_path: Path) -> None:
    made = latentmd.paths(amber, target=2, count=2, time=400.0, every=50.0, processes=1, out=tmp_path / "paths")
    first = mdtraj.load(str(made.trajectories[0]), top=str(made.topology))
    check(first, amber)
    filled = latentmd.upsample(made.trajectories[0], amber, every=10.0, processes=1, out=tmp_path / "fine")
    fine = mdtraj.load(str(filled.trajectory), top=str(filled.topology))
    check(fine, amber)
    assert np.abs(fine.xyz[::5] - first.xyz).max() < 2e-3
    drawn = latentmd.inpaint(made.trajectories[0], amber, [2], processes=1, out=tmp_path / "drawn")
    check(mdtraj.load(str(drawn.trajectory), top=str(drawn.topology)), amber)
