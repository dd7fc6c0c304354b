"""The path model of many peptides for one of them: known entries stay, tokens are whole, new residues are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.model.binding import bind
from latentmd.model.paths import PathModelError
from latentmd.model.propagator import Propagator

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


def _bound(name: str, folder: Path) -> tuple[Propagator, Any]:
    pdb = PDBFile(str(MOLECULES / f"{name}.pdb"))
    x = np.asarray(pdb.getPositions(asNumpy=True)._value)
    bind(pdb.topology, x, folder / f"{name}.pt")
    return Propagator(folder / f"{name}.pt", "cpu", threads=1), x


def test_frames_between_two_are_drawn_and_the_known_ones_stay(tmp_path: Path) -> None:
    model, x = _bound("trialanine", tmp_path)
    generator = torch.Generator().manual_seed(0)
    known = model.encode(x[None]).expand(2, 11, -1, -1).clone()
    mask = torch.zeros(known.shape[:3], dtype=torch.bool)
    mask[:, [0, -1]] = True
    times = torch.arange(11.0).expand(2, -1)
    drawn = model.trajectories.sample(known, mask, times, torch.randn(known.shape, generator=generator))
    assert torch.equal(drawn[mask], known[mask]) and bool(torch.isfinite(drawn).all())
    waves = drawn[..., model.module.n_slow :].flatten(0, 1)
    assert torch.allclose(model.module.from_waves(waves), drawn.flatten(0, 1), atol=1e-4)
    angles, start = (model.module.torsions(z.flatten(0, 1)).reshape(2, -1, 24) for z in (drawn, known[:, :1]))
    near = torch.remainder(angles - start + np.pi, 2 * np.pi) - np.pi
    assert float(near[:, [1, -2]].abs().mean()) < 0.6  # a frame 1 ps from a known one is like it


def test_residues_that_it_was_not_trained_on_are_named(tmp_path: Path) -> None:
    model, _ = _bound("alanine_dipeptide", tmp_path)
    with pytest.raises(PathModelError, match=r"was not trained on ACE, NME; .*latentmd train TRAJECTORIES"):
        _ = model.trajectories
