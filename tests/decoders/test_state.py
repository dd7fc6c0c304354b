"""Verification decoders: contract, units, and that they read what a latent holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentmd.decoders.state import PictureDecoder, StateDecoder, TokenDecoder
from latentmd.model.file import script


def decoders() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    mean, scale = torch.arange(6.0).reshape(3, 2), torch.full((3, 2), 2.0)
    return {
        "state": (StateDecoder(2, 4, mean, scale, 16), (3, 2)),
        "vector": (StateDecoder(2, 4, mean[0], scale[0], 16, depth=1), (2,)),
        "token": (TokenDecoder(4, mean[:, 0], scale[:, 0]), (2, 3)),
        "picture": (PictureDecoder(2, 4, torch.rand(64, 64), 32), (64, 64)),
        "small picture": (PictureDecoder(2, 4, torch.zeros(32, 32), 32), (32, 32)),
    }


@pytest.mark.parametrize("name", decoders())
@torch.no_grad()
def test_contract(name: str) -> None:
    decoder, shape = decoders()[name]
    z, nothing = torch.randn(5, 2, 4), torch.zeros(5, 0)
    out = decoder(z, nothing)
    assert out.shape == (5, *shape) and out.dtype == z.dtype and torch.isfinite(out).all()
    torch.testing.assert_close(torch.cat([decoder(z[i : i + 1], nothing[:1]) for i in range(5)]), out)
    scripted: Any = script(decoder)
    torch.testing.assert_close(scripted(z[:2], nothing[:2]), out[:2])
    assert decoder.noise_size == 0


@torch.no_grad()
def test_outputs_are_in_units_of_the_scale_about_the_mean() -> None:
    mean, scale = torch.tensor([5.0, -1.0]), torch.tensor([0.0, 3.0])
    torch.manual_seed(0)
    out = StateDecoder(1, 3, mean, scale)(torch.randn(50, 1, 3), torch.zeros(50, 0))
    torch.testing.assert_close(out[:, 0], mean[:1].expand(50), rtol=0, atol=1e-4)  # a constant stays one
    assert out[:, 1].std() > 1e-3


@torch.no_grad()
def test_token_decoder_treats_tokens_alike() -> None:
    decoder, _ = decoders()["token"]
    z = torch.randn(2, 5, 4)
    torch.testing.assert_close(decoder(z.flip(1), torch.zeros(2, 0)), decoder(z, torch.zeros(2, 0)).flip(1))


def fitted_error(decoder: nn.Module, z: Tensor, target: Tensor, steps: int) -> float:
    """Error after fitting, over the variance of the target, on rows that were not fitted."""
    optimiser = torch.optim.Adam(decoder.parameters(), 3e-3)
    half, nothing = len(z) // 2, torch.zeros(len(z) // 2, 0)
    for _ in range(steps):
        optimiser.zero_grad()
        (decoder(z[:half], nothing) - target[:half]).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        error = (decoder(z[half:], nothing) - target[half:]).square().mean()
    return float(error / (target[half:] - target[:half].mean(0)).square().mean())


def test_a_picture_is_read_from_the_place_of_a_spot_and_not_from_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(128, 1, 2, generator=generator) * 2 - 1
    axis = torch.linspace(-1, 1, 32)
    squares = (axis - place[:, :, :1]) ** 2 + (axis[:, None] - place[:, :, 1:]) ** 2
    pictures = torch.exp(-squares / 0.1)
    torch.manual_seed(0)
    assert fitted_error(PictureDecoder(1, 2, pictures.mean(0), 64), place, pictures, 100) < 0.3
    noise = torch.randn(128, 1, 2, generator=generator)
    torch.manual_seed(0)
    assert fitted_error(PictureDecoder(1, 2, pictures.mean(0), 64), noise, pictures, 100) > 0.8


def test_a_state_is_read_from_its_nonlinear_image() -> None:
    state = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = torch.stack([state[:, 0].sin(), state[:, 1] ** 3 + state[:, 1], state.prod(1)], dim=-1).unsqueeze(1)
    torch.manual_seed(0)
    decoder = StateDecoder(1, 3, state.mean(0), state.std(0), 64)
    assert fitted_error(decoder, z, state, 150) < 0.02
