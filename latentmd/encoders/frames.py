"""Convolutional encoder of pictures: where things are in a short stack of frames, and how they move."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp

_CHANNELS = (16, 32, 32)  # of three convolutions, the first two of which halve the picture
_PLACE, _MOTION = 4.0, 8.0  # bring places, and their smaller changes between frames, to a size of about one


class FrameEncoder(nn.Module):
    """Stacks of grey pictures [batch, history, size, size] → tokens [batch, tokens, dim].

    Every frame goes through the same convolutions to a number of maps; a map's spatial softmax has a mean place, the
    point at which its feature is (Finn et al. 2016). The newest frame's points, and the differences between successive
    frames' points, scaled up, are read by a perceptron: places come out finer than a pixel, and their differences are
    motion. Maps are normalised over the picture, so that a small bright thing stands out from the start, and each has a
    learned slope across it, by which one of several like things can be singled out.

    Args:
        history: frames in a stack.
        tokens, dim: number and size of the tokens.
        width: of the perceptron's two hidden layers.
        size: pixels along a side, a multiple of 16.
        points: number of maps.
    """

    grid: Tensor

    def __init__(
        self, history: int = 2, tokens: int = 1, dim: int = 32, width: int = 256, size: int = 64, points: int = 32
    ) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"pictures have {size} pixels along a side; expected a multiple of 16")
        if history < 1:
            raise ValueError(f"a stack of {history} frames was asked for; expected at least one")
        self.tokens, self.dim = tokens, dim
        self.place, self.motion = _PLACE, _MOTION
        first, second, third = _CHANNELS
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2), nn.GroupNorm(4, first), nn.SiLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1), nn.GroupNorm(4, second), nn.SiLU(),
            nn.Conv2d(second, third, 3, padding=1), nn.GroupNorm(4, third), nn.SiLU(),
            nn.Conv2d(third, points, 1), nn.GroupNorm(points, points),
        )  # fmt: skip
        self.slope = nn.Parameter(torch.zeros(points, 2))
        self.register_buffer("grid", _places(size // 4).flatten(1))
        self.read = mlp([2 * points * history, width, width, tokens * dim])

    def points(self, obs: Tensor) -> Tensor:
        """Mean places of the maps of each frame [batch, history, 2 · points], the picture being [−1, 1]²."""
        frames = obs.reshape(-1, 1, obs.shape[2], obs.shape[3])
        maps = self.convolutions(frames).flatten(2) + self.slope @ self.grid
        out: Tensor = (torch.softmax(maps, dim=-1) @ self.grid.t()).reshape(obs.shape[0], obs.shape[1], -1)
        return out

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks [batch, history, size, size], oldest frame first → tokens [batch, tokens, dim]."""
        points = self.points(obs)
        motion = (points[:, 1:] - points[:, :-1]).flatten(1)
        out: Tensor = self.read(torch.cat([self.place * points[:, -1], self.motion * motion], dim=1))
        return out.reshape(obs.shape[0], self.tokens, self.dim)


def _places(size: int) -> Tensor:
    """x and y of the middles of the cells of a square [−1, 1]², [2, size, size]."""
    middles = (torch.arange(size) + 0.5) * (2 / size) - 1
    return torch.stack(torch.meshgrid(middles, middles, indexing="xy"))
