"""Design: a residue that the model itself moved is found again, and what cannot be weighed is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch
from openmm.app import PDBFile
from peptide_rollouts import Rollouts

from latentmd.arrays import Doubles
from latentmd.model.binding import bind
from latentmd.model.peptide_file import PeptideFile, load_peptides
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import Chain, chain, known_torsions
from latentmd.molecule.checks import aligned_rmsd
from latentmd.sampling.paths.design import Gap, design
from latentmd.sampling.paths.inpaint import inpaint

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


@pytest.fixture(scope="module")
def peptides() -> PeptideFile:
    return load_peptides()


def _chain(name: str) -> Chain:
    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    return chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))


@pytest.fixture(scope="module")
def drawn(peptides: PeptideFile) -> tuple[Chain, Doubles]:
    """Met-enkephalin, YGGFM, as the model itself moves it."""
    torch.manual_seed(0)
    found = _chain("met_enkephalin")
    _, structures = Rollouts(peptides.model, found, seed=2).decoded(40, 1, 500.0)
    return found, structures.astype(np.float64)


def _outer(found: Chain, missing: list[int]) -> Any:
    residues = sorted(set(found.record.residue_index))
    hidden = {residues[token] for token in missing}
    return known_torsions(found, np.array([i for i, r in enumerate(found.record.residue_index) if r not in hidden]))


def test_a_glycine_is_found_by_its_neighbours(peptides: PeptideFile, drawn: tuple[Chain, Doubles]) -> None:
    found, x = drawn
    hidden = np.isin(found.record.residue_index, 2)
    x = np.where(hidden[:, None], np.nan, x)  # what it looks like is not looked at
    seen = []
    result = design(peptides, found, [2], _outer(found, [2]), x, seed=0, report=lambda *args: seen.append(args))
    assert len(result.types) == 20 and result.probability.shape == (1, 20)
    assert result.probability.sum() == pytest.approx(1.0)
    assert result.types[int(result.probability[0].argmax())] == "GLY"
    assert result.pairs[0] == (("GLY",), pytest.approx(result.probability.max()))
    assert seen[-1] == ("weighing residue types", 25, 25)
    again = design(peptides, found, [2], _outer(found, [2]), x, seed=0)
    np.testing.assert_array_equal(again.probability, result.probability)


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("met_enkephalin", [0], "ends of the chain"),
        ("met_enkephalin", [4], "ends of the chain"),
        ("met_enkephalin", [1, 3], "beside each other; 2 are named"),
        ("met_enkephalin", [1, 2, 3], "3 are named"),
        ("alanine_tetrapeptide", [1], "residues beside a cap"),
    ],
)
def test_what_cannot_be_weighed_is_refused(name: str, missing: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gap(_chain(name), missing)


TOP = MOLECULES / "met_enkephalin.pdb"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Met-enkephalin: the bound model's file, and ten frames of it, 20 ps apart."""
    folder = tmp_path_factory.mktemp("given")
    pdb = PDBFile(str(TOP))
    x = np.asarray(pdb.getPositions(asNumpy=True)._value)
    bind(pdb.topology, x, folder / "m.pt")
    model, rng = Propagator(folder / "m.pt", "cpu", threads=1), np.random.default_rng(0)
    frames = model.decode(model.rollout(model.encode(x[None]), 20.0, 10, rng)[:, 0], rng)
    path = folder / "given.xtc"
    mdtraj.Trajectory(frames, mdtraj.load_topology(str(TOP)), time=20.0 * np.arange(10)).save_xtc(str(path))
    return folder / "m.pt", path


def test_residues_are_drawn_and_weighed(given: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = given
    result = inpaint(path, TOP, [3], design=True, model=model, out=tmp_path / "run", processes=1)
    before, after = (mdtraj.load(str(p), top=str(TOP)) for p in (path, result.trajectory))
    others = np.array([a.index for a in before.topology.atoms if a.residue.resSeq != 3])
    assert aligned_rmsd(after.xyz, before.xyz, others).max() < 2e-3
    with (tmp_path / "run" / "design.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and {row["residue"] for row in rows} == {"3"}
    assert sum(float(row["probability"]) for row in rows) == pytest.approx(1.0, abs=1e-4)
    best = max(rows, key=lambda row: float(row["probability"]))["type"]
    assert result.summary["design"] == {"3": best}
    assert "Which residues these might be" in (tmp_path / "run" / "inpaint.html").read_text()


def test_models_of_one_molecule_cannot_weigh_others(given: Any, tmp_path: Path) -> None:
    model, path = given
    with pytest.raises(ValueError, match="residues beside a cap, cannot be weighed"):
        inpaint(path, TOP, [1], design=True, model=model, out=tmp_path / "a")
    alanine = MOLECULES / "alanine_dipeptide.pdb"
    frames = mdtraj.load(str(alanine)).xyz.repeat(4, axis=0)
    run = tmp_path / "alanine.xtc"
    mdtraj.Trajectory(frames, mdtraj.load_topology(str(alanine)), time=10.0 * np.arange(4)).save_xtc(str(run))
    with pytest.raises(ValueError, match=r"--design needs a model that knows other residues.*latentmd bind"):
        inpaint(run, alanine, [2], design=True, out=tmp_path / "b")
