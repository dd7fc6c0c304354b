"""The tilt of a bound peptide: what is learnt, from which frames, and that it leaves the rest of the model alone."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmd.core.steps.tilt import Tilt
from latentmd.model.binding import bind, bound_peptide
from latentmd.model.bound_peptide import BoundPeptide
from latentmd.model.file import load
from latentmd.systems.bundled import bundled
from latentmd.training.peptides import tilt as module
from latentmd.training.peptides.dataset import read_pdb
from latentmd.training.peptides.tilt import fit_tilt, learn, own_frames


def _bound() -> BoundPeptide:
    pdb = read_pdb(bundled("valine_dipeptide"))
    return bound_peptide(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))[0]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few walkers and updates: enough to see that something was learnt."""
    monkeypatch.setattr(module, "_WALKERS", 40)
    monkeypatch.setattr(module, "_UPDATES", 60)


def test_the_tilt_learns_the_ratio_of_both_densities_beyond_an_earlier_one() -> None:
    """Draws have density ∝ exp(cos θ), frames of rollouts are uniform."""
    torch.manual_seed(1)
    frames, generator = torch.zeros(2, 20000, 1, 1), torch.Generator().manual_seed(2)
    frames[0, :, 0, 0] = torch.distributions.VonMises(0.0, 1.0).sample((20000,))
    frames[1, :, 0, 0] = torch.rand(20000) * 2 * torch.pi - torch.pi
    angles = torch.linspace(-3, 3, 7).reshape(7, 1, 1)
    tilt = Tilt(torch.ones(1, 1, dtype=torch.bool), limit=3.0)
    for ratios in (1, 2):  # the second time on top of the first
        earlier = copy.deepcopy(tilt)
        for _ in range(4):
            learn(tilt, earlier, frames, generator)
        found, expected = tilt(angles).detach(), ratios * angles.flatten().cos()
        assert torch.allclose(found - found.mean(), expected - expected.mean(), atol=0.3 * ratios)


def test_frames_are_draws_and_rollouts_from_them() -> None:
    bound = _bound()
    one, other = (own_frames(bound, 30, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (3, 30, *bound.mask.shape[1:]) and torch.equal(one, other)
    assert not torch.equal(one[0], one[1]) and not torch.equal(one[1], one[2])


def test_a_file_keeps_the_tilt_that_was_learnt(tmp_path: Path) -> None:
    pdb = read_pdb(bundled("valine_dipeptide"))
    positions = np.asarray(pdb.getPositions(asNumpy=True)._value)
    bound, plain = _bound(), _bound()
    fit_tilt(bound)
    assert bound.tilt is not None and bound.step_noise > plain.step_noise
    assert all(torch.equal(value, bound.state_dict()[name]) for name, value in plain.state_dict().items())
    manifest = bind(pdb.topology, positions, tmp_path / "v.pt", fit=fit_tilt)
    assert manifest.training["tilted"] and manifest.zero_shot is not None
    stored = load(tmp_path / "v.pt").module
    noise = torch.randn(40, bound.step_noise, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        slow = bound.encode(torch.from_numpy(positions).float().expand(40, -1, -1))[0]
        lags = torch.full((40,), 50.0)
        tilted = bound.step(slow, lags, noise)
        assert torch.allclose(tilted, stored.step(slow, lags, noise), atol=1e-3)
        assert not torch.allclose(tilted, plain.step(slow, lags, noise[:, 1 : 1 + plain.step_noise]), atol=1e-3)
