"""Energy heads: forces against finite differences, the force-field prior, the variance of the latent head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.evaluation.frames import engine_forces
from latentmd.heads.energy import EnergyHead, LatentEnergyHead, MechanicsPrior
from latentmd.io.trajectory import load_topology
from latentmd.model.file import script
from latentmd.systems.builder import Protocol, build
from latentmd.systems.dynamics import MdSettings, run_md
from latentmd.testing import random_rotation
from latentmd.training.config import EncoderConfig, TrainingConfig
from latentmd.training.stages import new_encoder


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate(alanine_runs)).double()


@pytest.fixture(scope="module")
def prior(alanine_topology: Any, frames: Tensor) -> MechanicsPrior:
    made = MechanicsPrior(alanine_topology)
    made.parameters_.copy_(torch.linspace(-5.0, 5.0, len(made.parameters_)))
    return made


@pytest.fixture(scope="module")
def head(alanine_topology: Any, prior: MechanicsPrior) -> EnergyHead:
    torch.manual_seed(0)
    config = TrainingConfig(encoder=EncoderConfig(token_dim=4, width=16, depth=2, vectors=3))
    encoder = new_encoder(alanine_topology, config).double()
    return EnergyHead(encoder, prior, -50.0, 20.0).double()


def gradient(function: Any, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_(True)
    (out,) = torch.autograd.grad(function(x).sum(), x)
    return out


def finite_difference(function: Any, x: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of a frame [1, atoms, 3]."""
    moved = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:]) * step
    with torch.no_grad():
        return ((function(x + moved) - function(x - moved)) / (2 * step)).reshape(x.shape)


@pytest.mark.parametrize("frame", [0, 700])
def test_forces_are_the_exact_gradient(head: EnergyHead, frames: Tensor, frame: int) -> None:
    x = frames[frame : frame + 1]
    forces, numerical = gradient(head, x), finite_difference(head, x)
    assert float((forces - numerical).norm() / numerical.norm()) < 1e-4


def test_energy_is_invariant_and_net_force_and_torque_vanish(head: EnergyHead, frames: Tensor) -> None:
    x = frames[:3]
    turned = x @ random_rotation(torch.Generator().manual_seed(0)) + 1.0
    torch.testing.assert_close(head(turned), head(x), rtol=1e-9, atol=1e-7)
    force = -gradient(head, x)
    scale = float(force.abs().max())
    assert float(force.sum(1).abs().max()) < 1e-8 * scale
    assert float(torch.linalg.cross(x, force).sum(1).abs().max()) < 1e-8 * scale


def test_prior_recovers_a_potential_of_its_own_form(
    prior: MechanicsPrior, alanine_topology: Any, frames: Tensor
) -> None:
    """Fitted to energies and forces of known parameters, it predicts those of frames it has not seen."""
    energies, forces = prior(frames).detach(), -gradient(prior, frames)
    fitted = MechanicsPrior(alanine_topology)
    train, test = slice(0, None, 2), slice(1, None, 10)
    fitted.fit(frames[train], energies[train], forces[train], ridge=1e-10)
    error = -gradient(fitted, frames[test]) - forces[test]
    assert float(error.norm() / forces[test].norm()) < 1e-3
    assert float((fitted(frames[test]) - energies[test]).std() / energies[test].std()) < 1e-3


def test_prior_learns_the_engine(alanine_topology: Any, alanine_runs: list[Any]) -> None:
    """In vacuum the force field has the prior's form: fitted to a hot run, it is nearly exact for runs at 350 K.

    The hot run covers what the others visit, so that the fit does not extrapolate.
    """
    fitted = MechanicsPrior(alanine_topology)
    held = torch.from_numpy(np.concatenate(alanine_runs)[::10]).double()
    pdb = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
    hot = build(pdb, Protocol(solvent="vacuum", temperature=700.0))
    molecule = build(pdb, Protocol(solvent="vacuum"))
    settings = MdSettings(500, 0.2, seed=3, platform="Reference")
    train = np.concatenate([block.positions for block in run_md(hot, settings)])
    context = molecule.context(molecule.langevin(0))
    fitted.fit(torch.from_numpy(train), *(torch.from_numpy(part) for part in engine_forces(context, train)))
    energies, forces = (torch.from_numpy(part) for part in engine_forces(context, held.float().numpy()))
    assert float((-gradient(fitted, held) - forces).norm() / forces.norm()) < 0.05
    assert float((fitted(held) - energies).var() / energies.var()) < 0.05


def test_prior_of_a_large_molecule_has_no_pairs() -> None:
    """Pair parameters grow with the square of the atoms; above 40 atoms the bonded terms stay."""
    prior = MechanicsPrior(load_topology(Path(__file__).parents[2] / "systems" / "molecules" / "met_enkephalin.pdb"))
    assert len(prior.pairs) == 0
    assert len(prior.angles) > 0
    assert torch.isfinite(prior(torch.rand(2, 75, 3))).all()


def test_training_lowers_energy_and_force_errors(alanine_topology: Any, frames: Tensor) -> None:
    """Labels from a known potential, two springs between distant atoms, without a prior."""
    torch.manual_seed(0)
    x = frames[::60].float()

    def potential(positions: Tensor) -> Tensor:
        inner, outer = positions[:, 4] - positions[:, 16], positions[:, 0] - positions[:, 20]
        return 20 * inner.square().sum(-1) + 10 * outer.square().sum(-1)

    energies, forces = potential(x), -gradient(potential, x)
    prior = MechanicsPrior(alanine_topology)  # not fitted: zero
    assert torch.equal(prior(x), torch.zeros(len(x)))
    config = TrainingConfig(encoder=EncoderConfig(token_dim=4, width=16, depth=1, vectors=3))
    head = EnergyHead(new_encoder(alanine_topology, config), prior, float(energies.mean()), float(energies.std()))
    optimizer = torch.optim.Adam(head.parameters(), 5e-3)
    seen = []
    for _ in range(120):
        optimizer.zero_grad()
        loss, force = head.loss(x, energies, forces, 1000.0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen.append((float(loss.detach()), float(force.detach())))
    assert seen[-1][0] < 0.3 * seen[0][0]
    assert seen[-1][1] < 0.8 * seen[0][1]
    assert not x.requires_grad


def test_latent_energy_head_learns_mean_and_variance() -> None:
    """U | w ~ N(10 + 4 w0, (2 e^{w1 / 2})²): a linear mean and a variance that depends on the axes."""
    torch.manual_seed(0)
    head = LatentEnergyHead(2, 10.0, 5.0, width=32)
    generator = torch.Generator().manual_seed(0)
    mean, variance = head(torch.zeros(1, 2))
    assert (float(mean.detach()), float(variance.detach())) == pytest.approx((10.0, 25.0))
    optimizer = torch.optim.Adam(head.parameters(), 5e-3)
    for _ in range(400):
        w = torch.randn(512, 2, generator=generator)
        energies = 10 + 4 * w[:, 0] + 2 * torch.exp(w[:, 1] / 2) * torch.randn(512, generator=generator)
        optimizer.zero_grad()
        head.loss(w, energies).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    probe = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    with torch.no_grad():
        mean, variance = head(probe)
    torch.testing.assert_close(mean, torch.tensor([6.0, 10.0, 14.0]), rtol=0, atol=0.5)
    torch.testing.assert_close(variance.sqrt(), 2 * torch.exp(probe[:, 1] / 2), rtol=0.2, atol=0)


def test_bonds_to_hydrogen_are_held(prior: MechanicsPrior, alanine_topology: Any, frames: Tensor) -> None:
    """The engine's labels say nothing of constrained bonds: without a spring a minimiser would tear hydrogens off."""
    fitted = MechanicsPrior(alanine_topology)
    fitted.fit(frames[::10], prior(frames[::10]).detach(), -gradient(prior, frames[::10]))
    parent, hydrogen = (int(i) for i in fitted.held[0])
    assert {alanine_topology.atom(i).element.symbol for i in (parent, hydrogen)} >= {"H"}
    x = frames[:1]
    direction = torch.nn.functional.normalize(x[0, hydrogen] - x[0, parent], dim=0)
    loose = fitted(x)
    fitted.stiffness.zero_()
    assert float(loose - fitted(x)) == 0.0  # nothing at the constrained length
    moved = x.clone()
    moved[0, hydrogen] += 0.02 * direction
    before = fitted(moved)
    fitted.stiffness.fill_(5e4)
    assert float(fitted(moved) - before) == pytest.approx(0.5 * 5e4 * 0.019**2, rel=0.1)


def test_head_without_a_network_is_its_prior(prior: MechanicsPrior, frames: Tensor) -> None:
    """And scripts, since a bundle holds it so."""
    head = EnergyHead(None, prior, 3.0, 1.0)
    torch.testing.assert_close(script(head)(frames[:4]), prior(frames[:4]) + 3.0)


def test_force_error_is_a_share_of_the_force(prior: MechanicsPrior, frames: Tensor) -> None:
    forces = -gradient(prior, frames[:20])
    assert prior.force_error(frames[:20], forces) < 1e-9
    assert prior.force_error(frames[:20], 2 * forces) == pytest.approx(0.5)


def test_terms_are_those_of_a_force_field(alanine_topology: Any, frames: Tensor) -> None:
    """Lengths, angles and torsions against mdtraj."""
    import mdtraj

    prior = MechanicsPrior(alanine_topology)
    run = mdtraj.Trajectory(frames[:5].numpy(), alanine_topology)
    b, a, t = len(prior.bonds), len(prior.angles), len(prior.torsions)
    f = prior.terms(frames[:5]).numpy()
    np.testing.assert_allclose(f[:, :b], mdtraj.compute_distances(run, prior.bonds.numpy(), opt=False), rtol=1e-5)
    np.testing.assert_allclose(
        f[:, 2 * b : 2 * b + a], mdtraj.compute_angles(run, prior.angles.numpy(), opt=False), rtol=1e-4
    )
    phi = mdtraj.compute_dihedrals(run, prior.torsions.numpy(), opt=False)
    first = 2 * b + 2 * a
    for n in (1, 2, 3):
        np.testing.assert_allclose(f[:, first + (n - 1) * t : first + n * t], np.cos(n * phi), atol=1e-4)
    d = mdtraj.compute_distances(run, prior.pairs.numpy(), opt=False)
    np.testing.assert_allclose(f[:, first + 3 * t :][:, : d.shape[1]], 0.3 / d, rtol=1e-5)
