"""Convolutional encoder of pictures: a short stack of frames carries the velocities."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp

_CHANNELS = (16, 32, 64, 64)  # of four convolutions, each of which halves the picture
_CELL = 4  # pixels along a side of the coarse picture


class ConvolutionalEncoder(nn.Module):
    """Stacks of grey pictures [batch, history, size, size] → tokens [batch, tokens, dim].

    The newest frame and the differences between successive frames, which are where something moves, are read twice.
    Four strided convolutions bring 64 × 64 down to 4 × 4, and what they find is read with its place by a perceptron,
    since where a thing is matters more here than what it is. Beside that goes the picture itself, averaged over cells
    of 4 × 4 pixels, to the perceptron and, by one linear layer, to the tokens: any smooth function of the places of
    things, summed over them, is linear in a blurred picture, and its rate of change is linear in the difference.

    Args:
        history: frames in a stack.
        tokens, dim: number and size of the tokens.
        width: of the perceptron's two hidden layers.
        size: pixels along a side, a multiple of 16.
    """

    def __init__(self, history: int = 2, tokens: int = 1, dim: int = 32, width: int = 256, size: int = 64) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"pictures have {size} pixels along a side; expected a multiple of 16")
        if history < 1:
            raise ValueError(f"a stack of {history} frames was asked for; expected at least one")
        self.tokens, self.dim = tokens, dim
        layers: list[nn.Module] = []
        channels = history
        for kernel, out in zip((5, 3, 3, 3), _CHANNELS, strict=True):
            layers += [nn.Conv2d(channels, out, kernel, stride=2, padding=kernel // 2), nn.GroupNorm(4, out), nn.SiLU()]
            channels = out
        self.convolutions = nn.Sequential(*layers)
        self.coarse = nn.AvgPool2d(_CELL)
        cells = history * (size // _CELL) ** 2
        self.read = mlp([channels * (size // 16) ** 2 + cells, width, width, tokens * dim])
        self.beside = nn.Linear(cells, tokens * dim, bias=False)

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks [batch, history, size, size], oldest frame first → tokens [batch, tokens, dim]."""
        seen = torch.cat([obs[:, -1:], obs[:, 1:] - obs[:, :-1]], dim=1)
        cells = self.coarse(seen).flatten(1)
        found = self.convolutions(seen).flatten(1)
        out: Tensor = self.read(torch.cat([found, cells], dim=1)) + self.beside(cells)
        return out.reshape(obs.shape[0], self.tokens, self.dim)
