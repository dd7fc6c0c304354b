"""Encoder of particles: symmetries of a periodic box, minimum image, smooth cutoff, in two and three dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from latentmd.encoders.particles import ParticleEncoder
from latentmd.testing import check_encoder

BOX = 6.0


def particles(dimensions: int, n: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = 6 * torch.rand(3, n, dimensions, generator=generator, dtype=torch.float64)
    return torch.cat([x, torch.randn(3, n, dimensions, generator=generator, dtype=torch.float64)], dim=-1)


def encoder(dimensions: int, cutoff: float = 2.5) -> ParticleEncoder:
    torch.manual_seed(0)
    return ParticleEncoder(particles(dimensions).float(), BOX, cutoff, dim=6, width=16, depth=2).double().eval()


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_contract(dimensions: int) -> None:
    z = check_encoder(encoder(dimensions).float(), particles(dimensions).float(), tolerance=1e-4)
    assert z.shape == (3, 12, 6)
    assert z.std(dim=1).min() > 1e-4, "particles in different places have different tokens"


@pytest.mark.parametrize("dimensions", [2, 3])
@torch.no_grad()
def test_symmetries_of_the_box_leave_the_tokens_alone(dimensions: int) -> None:
    net, obs = encoder(dimensions), particles(dimensions)
    x, v = obs.split(dimensions, dim=-1)
    z = net(obs)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(-2, 3, x.shape, generator=generator).double()
    same(net(torch.cat([x + 6 * images, v], -1)), z)
    same(net(torch.cat([(x + torch.tensor(1.7)) % 6, v], -1)), z)
    same(net(torch.cat([x.flip(-1), v.flip(-1)], -1)), z)  # mirrored in a diagonal
    sign = torch.ones(dimensions, dtype=torch.float64)
    sign[0] = -1
    same(net(torch.cat([x * sign, v * sign], -1)), z)
    quarter = torch.eye(dimensions, dtype=torch.float64)
    quarter[:2, :2] = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    same(net(torch.cat([x @ quarter, v @ quarter], -1)), z)


@torch.no_grad()
def test_any_rotation_of_a_cluster_that_is_smaller_than_the_box() -> None:
    net, obs = encoder(2), particles(2)
    x, v = obs.split(2, dim=-1)
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    same(net(torch.cat([0.3 * x @ turn, v @ turn], -1)), net(torch.cat([0.3 * x, v], -1)))


@torch.no_grad()
def test_exchanging_particles_exchanges_tokens() -> None:
    net, obs = encoder(2), particles(2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    same(net(obs[:, order]), net(obs)[:, order])


@torch.no_grad()
def test_velocities_matter_as_vectors() -> None:
    """Turning velocities but not positions changes the tokens; so does turning a single velocity."""
    net, obs = encoder(2), particles(2)
    x, v = obs.split(2, dim=-1)
    z = net(obs)
    assert (net(torch.cat([x, v.flip(-1)], -1)) - z).abs().max() > 1e-3
    assert (net(torch.cat([x, -v], -1)) - z).abs().max() > 1e-3
    one = v.clone()
    one[:, 0] = -one[:, 0]
    assert (net(torch.cat([x, one], -1)) - z)[:, 0].abs().max() > 1e-3


@torch.no_grad()
def test_beyond_the_cutoff_nothing_is_seen_and_it_ends_smoothly() -> None:
    net = encoder(2, cutoff=2.0)

    def at(distance: float) -> Tensor:
        obs = torch.zeros(1, 2, 4, dtype=torch.float64)
        obs[0, 1, 0], obs[0, 1, 3] = distance, 1.0
        return net(obs)

    same(at(2.01), at(2.9))
    assert (at(1.9999) - at(2.0)).abs().max() < 1e-5
    assert (at(1.5) - at(2.0)).abs().max() > 1e-4


def test_gradients_are_finite_where_particles_are_at_rest() -> None:
    net, obs = encoder(3), particles(3)
    obs[..., 3:] = 0
    obs.requires_grad_(True)
    net(obs).sum().backward()
    assert obs.grad is not None and torch.isfinite(obs.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_a_cutoff_ends_at_half_the_box() -> None:
    assert ParticleEncoder(particles(2).float(), 6.0, 3.1).cutoff == 3.0


@torch.no_grad()
def test_symmetry_functions_are_standardised_over_typical_frames() -> None:
    typical = torch.cat([particles(2, 12).float(), particles(2, 12).flip(0).float() + 0.3])
    torch.manual_seed(0)
    net = ParticleEncoder(typical, BOX, 2.5, dim=6, width=16, depth=1)
    counts = (net._around(typical)[3].flatten(0, 1) - net.mean) / net.scale
    torch.testing.assert_close(counts.mean(0), torch.zeros(16), rtol=0, atol=1e-5)
    kept = net.scale > 1e-3  # what no particle has within the hard core stays zero
    torch.testing.assert_close(counts.std(0)[kept], torch.ones(int(kept.sum())), rtol=0, atol=1e-4)
