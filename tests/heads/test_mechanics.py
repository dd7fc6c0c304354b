"""The force-field form of an energy: its terms, its fit, and springs on constrained bonds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.heads.energy import MechanicsPrior
from latentmd.molecule.checks import bond_angles, bond_lengths, torsions
from latentmd.testing import random_rotation


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate(alanine_runs)[::15]).double()


@pytest.fixture(scope="module")
def prior(alanine_topology: Any) -> MechanicsPrior:
    return MechanicsPrior(alanine_topology)


def test_terms_are_lengths_angles_torsions_and_powers(prior: MechanicsPrior, frames: Tensor) -> None:
    x, values = frames.numpy(), prior.terms(frames).numpy()
    r = bond_lengths(x, prior.bonds.numpy())
    theta = bond_angles(x, prior.angles.numpy())
    phi = torsions(x, prior.torsions.numpy())
    d = bond_lengths(x, prior.pairs.numpy())
    parts = [r, r**2, theta, theta**2, np.cos(phi), np.cos(2 * phi), np.cos(3 * phi)]
    parts += [0.3 / d, (0.3 / d) ** 6, (0.3 / d) ** 12, np.exp(-d / 0.2)]
    np.testing.assert_allclose(values, np.concatenate(parts, axis=1), rtol=1e-6, atol=1e-8)


def test_energy_is_invariant_to_motion_and_reflection(prior: MechanicsPrior, frames: Tensor) -> None:
    made = copy.deepcopy(prior)
    made.parameters_.normal_(generator=torch.Generator().manual_seed(0))
    turned = frames @ random_rotation(torch.Generator().manual_seed(1)).double() + 2.0
    torch.testing.assert_close(made(turned), made(frames))
    torch.testing.assert_close(made(-frames), made(frames))


def test_pairs_are_three_or_more_bonds_apart(prior: MechanicsPrior, alanine_topology: Any) -> None:
    near = {frozenset((a.index, b.index)) for a, b in alanine_topology.bonds}
    second = {frozenset((i, k)) for i, _, k in prior.angles.tolist()}
    pairs = {frozenset(pair) for pair in prior.pairs.tolist()}
    assert not pairs & (near | second) and len(pairs) == 22 * 21 // 2 - len(near | second)


def test_stretched_bonds_to_hydrogen_are_pulled_back(alanine_topology: Any, frames: Tensor) -> None:
    """After the fit a bond to hydrogen costs nothing at its constrained length and is pulled back when stretched."""
    prior = MechanicsPrior(alanine_topology)
    few = frames[:20]
    prior.fit(few, torch.zeros(len(few)), torch.zeros_like(few))
    before = prior(frames[:1])
    hydrogen, heavy = prior.held[0].tolist()
    if alanine_topology.atom(hydrogen).element.symbol != "H":
        hydrogen, heavy = heavy, hydrogen
    x = frames[:1].clone()
    x[0, hydrogen] = x[0, heavy] + 1.1 * (x[0, hydrogen] - x[0, heavy])
    x.requires_grad_(True)
    energy = prior(x)
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    assert float(energy.detach() - before) > 1.0
    assert float((gradient[0, hydrogen] * (x - frames[:1])[0, hydrogen].detach()).sum()) > 0
