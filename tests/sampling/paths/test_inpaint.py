"""Inpainting with the bundled model: the given residues stay, the drawn one follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.molecule.checks import aligned_rmsd, torsions
from latentmd.sampling.paths.inpaint import hidden_residues, inpaint

TOP = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_a_mask_that_leaves_nothing_or_everything_is_refused(alanine: Any) -> None:
    assert hidden_residues(alanine.topology, (2,)).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="nothing is given"):
        hidden_residues(alanine.topology, (1, 2, 3))
    with pytest.raises(ValueError, match="nothing is left to draw"):
        hidden_residues(alanine.topology, ())
    with pytest.raises(ValueError, match=r"--residues 7: no such residue; the molecule has 1 ACE, 2 ALA, 3 NME"):
        hidden_residues(alanine.topology, (7,))


def _given(chain: Any, propagator: Any, path: Path, interval: float) -> Path:
    """Twelve frames, the last four of the rarest state."""
    import torch

    rng = np.random.default_rng(0)
    rare = len(chain.populations) - 1
    points = np.concatenate([chain.draw(1, 8, rng), chain.draw(rare, 4, rng)])
    frames = propagator.decode(torch.from_numpy(points), rng)
    mdtraj.Trajectory(frames, mdtraj.load_topology(str(TOP)), time=interval * np.arange(12)).save_xtc(str(path))
    return path


def test_the_hidden_residue_follows_from_the_others(chain: Any, propagator: Any, tmp_path: Path) -> None:
    path = _given(chain, propagator, tmp_path / "given.xtc", 10.0)
    result = inpaint(path, TOP, [2], out=tmp_path / "run", processes=1)
    given, made = (mdtraj.load(str(p), top=str(TOP)) for p in (path, result.trajectory))
    caps = np.array([a.index for a in given.topology.atoms if a.residue.name != "ALA"])
    assert aligned_rmsd(made.xyz, given.xyz, caps).max() < 2e-3
    names = {(a.residue.name, a.name): a.index for a in given.topology.atoms}
    phi = np.array([[names[k] for k in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))]])
    agree = (torsions(made.xyz, phi) > 0) == (torsions(given.xyz, phi) > 0)
    assert agree.mean() > 0.8  # the jump into the rare state included
    assert result.summary["frames_made"] == 12 and result.summary["residues"] == [2]


def test_frames_closer_than_a_step_are_refused(chain: Any, propagator: Any, tmp_path: Path) -> None:
    path = _given(chain, propagator, tmp_path / "fine.xtc", 1.0)
    with pytest.raises(ValueError, match=r"no multiple of a step of the model, 10 ps to 200 ps.*latentmd upsample"):
        inpaint(path, TOP, [2], out=tmp_path / "run")
