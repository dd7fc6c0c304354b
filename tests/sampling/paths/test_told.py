"""Steps that are told some torsions: they have them, and their weights make up for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openmm.app import PDBFile

from latentmd.model.binding import bind
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import SLOTS
from latentmd.sampling.paths.told import ToldSteps, told_by

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
PSI = SLOTS.index("psi")


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model of peptides bound to trialanine, and its structure."""
    pdb = PDBFile(str(MOLECULES / "trialanine.pdb"))
    x = np.array(pdb.getPositions(asNumpy=True)._value)
    path = tmp_path_factory.mktemp("bound") / "a.pt"
    bind(pdb.topology, x, path)
    return Propagator(path, "cpu", threads=1), x


def test_told_torsions_are_there_and_weights_make_up_for_them(bound: Any) -> None:
    """ψ of the first residue told: weights average to its marginal density, as a histogram of free steps has it."""
    propagator, x = bound
    module, given = propagator.module, np.flatnonzero([a.residue.index == 0 for a in _atoms(propagator)])
    told = told_by(propagator, given, x[None])
    assert told.which.known[0, PSI] and not told.which.known[1:].any()
    steps, start = ToldSteps(module, told, 500.0), propagator.encode(x[None]).repeat(4000, 1, 1)
    z, weight = steps.arrive(start, 0, torch.Generator().manual_seed(0))
    known = torch.from_numpy(told.which.known)
    drawn = module.torsions(z)[:, known]
    assert float((torch.remainder(drawn - steps.angles[0][known] + np.pi, 2 * np.pi) - np.pi).abs().max()) < 1e-4
    free = module.torsions(module.step(start, torch.full((4000,), 500.0), torch.randn(4000, module.step_noise)))
    away = np.remainder(free[:, 0, PSI].numpy() - told.angles[0, 0, PSI] + np.pi, 2 * np.pi) - np.pi
    density = (np.abs(away) < np.radians(15)).mean() / np.radians(30)
    others = [s for s in range(len(SLOTS)) if told.which.known[0, s] and s != PSI]
    if not others:
        assert float(weight.double().exp().mean()) == pytest.approx(density, rel=0.15)


def test_the_first_frame_starts_with_draws_that_agree(bound: Any) -> None:
    propagator, x = bound
    given = np.flatnonzero([a.residue.index != 1 for a in _atoms(propagator)])
    steps = ToldSteps(propagator.module, told_by(propagator, given, x[None]), 100.0)
    starts = steps.starts(20, torch.Generator().manual_seed(0))
    assert starts.shape == (20, 3, propagator.module.axes)
    moved, gain = steps.defended(starts, torch.ones(1), torch.Generator().manual_seed(0))
    assert moved.shape == starts.shape and not gain.any() and not steps.cell(starts).any()


def _atoms(propagator: Any) -> list[Any]:
    return list(propagator.manifest.molecule()[0].atoms())
