"""Encoder of pictures: contract, motion in the difference of frames, and that it learns where things are."""

from __future__ import annotations

import pytest
import torch

from latentmd.encoders.frames import FrameEncoder
from latentmd.systems.toy.two_balls import TwoBalls
from latentmd.systems.toy.world import frame_stack
from latentmd.testing import check_encoder


@pytest.fixture(scope="module")
def stacks() -> torch.Tensor:
    states = TwoBalls().simulate(8, 9, 0)
    return torch.from_numpy(frame_stack(TwoBalls().observe(states, "pixels"), 2).reshape(-1, 2, 64, 64).copy())


@pytest.mark.parametrize("tokens", [1, 2])
def test_contract(stacks: torch.Tensor, tokens: int) -> None:
    torch.manual_seed(0)
    assert check_encoder(FrameEncoder(tokens=tokens, dim=8), stacks[:4]).shape == (4, tokens, 8)


@pytest.mark.parametrize(("history", "size"), [(1, 64), (3, 32)])
def test_other_stacks_and_sizes(history: int, size: int) -> None:
    torch.manual_seed(0)
    assert check_encoder(FrameEncoder(history, dim=8, size=size), torch.rand(2, history, size, size)).shape == (2, 1, 8)


def test_the_order_of_frames_matters(stacks: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = FrameEncoder(dim=8)
    assert (encoder(stacks) - encoder(stacks.flip(1))).abs().max() > 1e-4


@torch.no_grad()
def test_points_move_with_what_is_seen() -> None:
    """Moving a lone disc by a cell of the maps moves every point by a cell: convolutions do not know where they are."""
    torch.manual_seed(0)
    encoder = FrameEncoder(history=1)
    pictures = torch.zeros(2, 1, 64, 64)
    pictures[0, 0, 30:35, 30:35] = 1
    pictures[1, 0, 30:35, 34:39] = 1
    encoder.convolutions[-1].weight.fill_(20.0)  # sharp maps: the background, with its edges, weighs nothing
    first, second = encoder.points(pictures)[:, 0].reshape(2, 2, -1)
    assert torch.isfinite(first).all() and first.abs().max() <= 1
    moved = (second - first).reshape(-1, 2)
    cell = 2 / 16
    near = (moved - torch.tensor([cell, 0.0])).abs().amax(dim=1) < 0.05 * cell
    assert near.float().mean() > 0.4, "the maps that peak at the disc"


def test_positions_can_be_learned() -> None:
    """A few steps of regression bring the error of a ball's place, on pictures not seen, well below its spread."""
    world = TwoBalls()
    states = world.simulate(80, 5, 1)
    stacks = torch.from_numpy(frame_stack(world.observe(states, "pixels"), 2).reshape(-1, 2, 64, 64).copy())
    places = torch.from_numpy(states[:, 1:, :2].reshape(-1, 2)).float()
    torch.manual_seed(0)
    encoder = FrameEncoder(dim=2, width=32)
    optimiser = torch.optim.Adam(encoder.parameters(), 1e-3)
    for _ in range(40):
        rows = torch.randint(0, 280, (32,))
        optimiser.zero_grad()
        (encoder(stacks[rows])[:, 0] - places[rows]).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        error = (encoder(stacks[280:])[:, 0] - places[280:]).square().mean()
    assert error < 0.3 * places.var(0).mean()


@pytest.mark.parametrize(("options", "message"), [({"size": 50}, "50 pixels"), ({"history": 0}, "at least one")])
def test_sizes_that_cannot_be_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameEncoder(**options)
