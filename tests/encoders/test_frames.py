"""Encoder of pictures: contract, motion in the difference of frames, and that it learns where things are."""

from __future__ import annotations

import pytest
import torch

from latentmd.encoders.frames import ConvolutionalEncoder, FrameEncoder
from latentmd.systems.toy.double_pendulum import DoublePendulum
from latentmd.systems.toy.two_balls import TwoBalls
from latentmd.systems.toy.world import frame_stack
from latentmd.testing import check_encoder


@pytest.mark.parametrize("tokens", [1, 2])
def test_contract(stacks: torch.Tensor, tokens: int) -> None:
    torch.manual_seed(0)
    encoder = FrameEncoder(stacks, tokens, dim=8).eval()
    assert check_encoder(encoder, stacks[:4]).shape == (4, tokens, 8)


@pytest.mark.parametrize(("history", "size"), [(1, 64), (3, 32)])
def test_other_stacks_and_sizes(history: int, size: int) -> None:
    torch.manual_seed(0)
    pictures = torch.rand(6, history, size, size)
    assert check_encoder(FrameEncoder(pictures, dim=8).eval(), pictures[:2]).shape == (2, 1, 8)


def test_the_order_of_frames_matters(stacks: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = FrameEncoder(stacks, dim=8).eval()
    assert (encoder(stacks) - encoder(stacks.flip(1))).abs().max() > 1e-4


def test_components_are_uncorrelated_and_small_ones_enlarged(stacks: torch.Tensor) -> None:
    """A component whose deviation is d times the first's comes out with √d."""
    encoder = FrameEncoder(stacks, dim=8)
    pictures = encoder.pool(stacks[:, -1:]).flatten(2)[:, 0]
    found = (pictures - encoder.mean) @ encoder.components
    covariance = found.T @ found / len(found)
    deviations = torch.linalg.svdvals(pictures - pictures.mean(0))[: len(found)]
    expected = (deviations / deviations[0])[:32].sqrt()
    assert found.mean(0).abs().max() < 1e-4
    assert (covariance - covariance.diagonal().diag()).abs().max() < 1e-4
    torch.testing.assert_close(covariance.diagonal()[:32].sqrt(), expected, rtol=1e-3, atol=1e-3)


def test_motion_can_be_learned() -> None:
    """Some steps of regression find angles and angular velocities of a pendulum on pictures not seen."""
    world = DoublePendulum()
    states = world.simulate(150, 30, 1)
    stacks = torch.from_numpy(frame_stack(world.observe(states, "pixels"), 2).reshape(-1, 2, 64, 64).copy())
    wanted = torch.from_numpy(states[:, 1:].reshape(-1, 4)).float()
    wanted = (wanted - wanted.mean(0)) / wanted.std(0)
    torch.manual_seed(0)
    encoder = FrameEncoder(stacks[:3480], dim=4, width=64)
    optimiser = torch.optim.Adam(encoder.parameters(), 3e-3)
    for _ in range(200):
        rows = torch.randint(0, 3480, (64,))
        optimiser.zero_grad()
        (encoder(stacks[rows])[:, 0] - wanted[rows]).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        error = (encoder.eval()(stacks[3480:])[:, 0] - wanted[3480:]).square().mean(0)

    assert error.max() < 0.2


def test_pictures_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="squares of even size"):
        FrameEncoder(torch.rand(4, 2, 15, 15))


@pytest.mark.parametrize("tokens", [1, 2])
def test_contract_of_convolutions(stacks: torch.Tensor, tokens: int) -> None:
    torch.manual_seed(0)
    assert check_encoder(ConvolutionalEncoder(tokens=tokens, dim=8), stacks[:4]).shape == (4, tokens, 8)


@pytest.mark.parametrize(("history", "size"), [(1, 64), (3, 32)])
def test_other_stacks_and_sizes_of_convolutions(history: int, size: int) -> None:
    torch.manual_seed(0)
    encoder = ConvolutionalEncoder(history, dim=8, size=size)
    assert check_encoder(encoder, torch.rand(2, history, size, size)).shape == (2, 1, 8)


def test_the_order_of_frames_matters_of_convolutions(stacks: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = ConvolutionalEncoder(dim=8)
    assert (encoder(stacks) - encoder(stacks.flip(1))).abs().max() > 1e-4


def test_positions_can_be_learned() -> None:
    """A few steps of regression bring the error of a ball's place, on pictures not seen, well below its spread."""
    world = TwoBalls()
    states = world.simulate(80, 5, 1)
    stacks = torch.from_numpy(frame_stack(world.observe(states, "pixels"), 2).reshape(-1, 2, 64, 64).copy())
    places = torch.from_numpy(states[:, 1:, :2].reshape(-1, 2)).float()
    torch.manual_seed(0)
    encoder = ConvolutionalEncoder(dim=2, width=32)
    optimiser = torch.optim.Adam(encoder.parameters(), 1e-3)
    for _ in range(40):
        rows = torch.randint(0, 280, (32,))
        optimiser.zero_grad()
        (encoder(stacks[rows])[:, 0] - places[rows]).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        error = (encoder(stacks[280:])[:, 0] - places[280:]).square().mean()
    assert error < 0.3 * places.var(0).mean()


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="50 pixels"):
        ConvolutionalEncoder(size=50)
