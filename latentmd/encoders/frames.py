"""Convolutional encoder of pictures: a short stack of frames carries the velocities."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp

_CHANNELS = (16, 32, 64, 64)  # of four convolutions, each of which halves the picture


class FrameEncoder(nn.Module):
    """Stacks of grey pictures [batch, history, size, size] → tokens [batch, tokens, dim].

    Four strided convolutions bring 64 × 64 down to 4 × 4; what they find is read with its place, by a perceptron on
    the flattened map, since where a thing is matters more here than what it is. Besides the frames the network sees
    their successive differences, which are where something moves.

    Args:
        history: frames in a stack.
        tokens, dim: number and size of the tokens.
        width: of the perceptron's hidden layer.
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
        channels = 2 * history - 1
        for kernel, out in zip((5, 3, 3, 3), _CHANNELS, strict=True):
            layers += [nn.Conv2d(channels, out, kernel, stride=2, padding=kernel // 2), nn.GroupNorm(4, out), nn.SiLU()]
            channels = out
        self.convolutions = nn.Sequential(*layers)
        self.read = mlp([channels * (size // 16) ** 2, width, tokens * dim])

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks [batch, history, size, size], oldest frame first → tokens [batch, tokens, dim]."""
        seen = torch.cat([obs, obs[:, 1:] - obs[:, :-1]], dim=1)
        out: Tensor = self.read(self.convolutions(seen).flatten(1))
        return out.reshape(obs.shape[0], self.tokens, self.dim)
