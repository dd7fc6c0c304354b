"""The public contract checks catch what they are for; the surrogate of known answers has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentmd.core.steps import ResidualPredictor
from latentmd.testing import (
    check_decoder,
    check_encoder,
    check_invariance,
    check_predictor,
    check_relabelling,
    random_rotation,
)


def test_rotations_are_proper_and_seeded() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        rotation = random_rotation(generator).double()
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double(), atol=1e-5, rtol=0)
        assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)
    first, again = (random_rotation(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)


class Flat(nn.Module):
    """Encodes to one token too few dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class BatchMean(nn.Module):
    """A frame's token depends on the others."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)).reshape(x.shape[0], 1, -1)


class Distances(nn.Module):
    """Invariant, but blind to mirror images."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x, x).flatten(1).unsqueeze(1)


class Raw(nn.Module):
    """Not invariant at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def test_bad_encoders_are_caught() -> None:
    x = torch.randn(4, 6, 3)
    check_encoder(Raw(), x)
    with pytest.raises(AssertionError, match="expected"):
        check_encoder(Flat(), x)
    with pytest.raises(AssertionError):
        check_encoder(BatchMean(), x)
    with pytest.raises(AssertionError, match="a rotation and a translation changed the tokens"):
        check_invariance(Raw(), x)
    with pytest.raises(AssertionError, match="a mirror image changed the tokens"):
        check_invariance(Distances(), x, tolerance=1e-4)
    with pytest.raises(AssertionError, match="exchanging equivalent atoms"):
        check_relabelling(Raw(), x, [1, 0, 2, 3, 4, 5])


class Hidden(nn.Module):
    """Draws its own noise."""

    noise_size: int = 2

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return z + torch.randn_like(z)


class Ignores(nn.Module):
    """Claims noise and does not use it."""

    noise_size: int = 2

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return z * 2


def test_bad_predictors_are_caught(perturb: Any) -> None:
    z, lag = torch.randn(5, 1, 2), torch.linspace(2.0, 8.0, 5)
    assert check_predictor(perturb(ResidualPredictor(2, (1.0, 10.0), 8)), z, lag).shape == z.shape
    with pytest.raises(AssertionError, match="random"):
        check_predictor(Hidden(), z, lag)
    with pytest.raises(AssertionError, match="another noise gave the same step"):
        check_predictor(Ignores(), z, lag)


class OffCentre(nn.Module):
    noise_size: int = 0

    def forward(self, axes: Tensor, noise: Tensor) -> Tensor:
        return axes.reshape(axes.shape[0], -1, 3) + 1.0


def test_bad_decoders_are_caught() -> None:
    with pytest.raises(AssertionError, match="the structures are not centred"):
        check_decoder(OffCentre(), torch.randn(3, 6), 2)
    with pytest.raises(AssertionError, match="found positions of shape"):
        check_decoder(OffCentre(), torch.randn(3, 6), 4)


def test_the_surrogate_has_its_answers(ou_surrogate: Any, alanine: Any) -> None:
    """Torsions survive encode and reconstruct; a step has the variance of its Ornstein–Uhlenbeck process."""
    generator = torch.Generator().manual_seed(0)
    slow = 0.5 * torch.randn(6, 1, 2, generator=generator)
    fast = torch.zeros(6, 1, ou_surrogate.decode_noise)
    found, rest = ou_surrogate.encode(ou_surrogate.reconstruct(slow, fast, torch.zeros(6, 0)))
    torch.testing.assert_close(found, slow, atol=1e-4, rtol=0)
    torch.testing.assert_close(rest, fast, atol=1e-4, rtol=0)
    noise = torch.randn(20_000, 2, generator=generator)
    drawn = ou_surrogate.step(torch.zeros(20_000, 1, 2), torch.full((20_000,), 25.0), noise)
    expected = 0.5 * np.sqrt(1 - np.exp(-2 * 25 / 50))
    torch.testing.assert_close(drawn.std(0)[0], torch.full((2,), float(expected)), rtol=0.03, atol=0)
    x = torch.tensor(np.asarray(alanine.positions._value), dtype=torch.float32)[None]
    assert float(ou_surrogate.energy(x)) < 1e-3 < float(ou_surrogate.energy(1.01 * x))
