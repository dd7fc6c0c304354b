"""Encoders of pictures, with attention or convolutions: a short stack of frames carries the velocities."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp

_CHANNELS = (16, 32, 64, 64)  # of four convolutions, each of which halves the picture
_CELL = 4  # pixels along a side of the coarse picture


class ConvolutionalEncoder(nn.Module):
    """Stacks of grey pictures [batch, history, size, size], sizes multiples of 16 → tokens [batch, tokens, dim]. The
    newest frame and the differences between successive ones are read twice: by four strided convolutions and a
    perceptron, and averaged over cells of 4 × 4 pixels by a perceptron and a linear layer, since any smooth function of
    the places of things, summed over them, is linear in a blurred picture.
    """

    def __init__(self, history: int = 2, tokens: int = 1, dim: int = 32, width: int = 256, size: int = 64) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"pictures have {size} pixels along a side; expected a multiple of 16")
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


_HALF = 2  # pixels along a side that are averaged into one
_COMPONENTS = 256  # principal components of a picture
_SMALLEST = 1e-3  # deviation of a component over that of the first, below which it is not enlarged further


class FrameEncoder(nn.Module):
    """Stacks of grey pictures [batch, history, size, size] → tokens [batch, tokens, dim]. Every frame, at half the
    resolution, is written in principal components, each over the square root of its deviation, and read to a few
    features; another perceptron reads the newest frame's and the differences between successive ones, since between
    frames things may move by more than their size.
    """

    def __init__(
        self, observations: Tensor, tokens: int = 1, dim: int = 32, width: int = 256, features: int = 64
    ) -> None:
        super().__init__()
        history, size = observations.shape[1], observations.shape[-1]
        if size % _HALF or observations.shape[-2] != size:
            raise ValueError(f"pictures are {observations.shape[-2]} × {size}; expected squares of even size")
        self.tokens, self.dim = tokens, dim
        self.pool = nn.AvgPool2d(_HALF)
        mean, components = _principal_components(self.pool(observations[:, -1]).flatten(1))
        self.mean = nn.Buffer(mean)
        self.components = nn.Buffer(components)
        found = components.shape[1]
        self.look = mlp([found, width, width, features])
        self.look_beside = nn.Linear(found, features, bias=False)
        self.standardise = nn.BatchNorm1d(history * features, affine=False)
        self.read = mlp([history * features, width, width, tokens * dim])
        self.read_beside = nn.Linear(history * features, tokens * dim, bias=False)

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks [batch, history, size, size], oldest frame first → tokens [batch, tokens, dim]."""
        seen = (self.pool(obs).flatten(2) - self.mean) @ self.components
        found = self.look(seen) + self.look_beside(seen)
        change = (found[:, 1:] - found[:, :-1]).flatten(1)
        state = self.standardise(torch.cat([found[:, -1], change], dim=1))
        out: Tensor = self.read(state) + self.read_beside(state)
        return out.reshape(obs.shape[0], self.tokens, self.dim)


def _principal_components(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [pixels] and axes [pixels, components] of pictures [samples, pixels], each over √ of its deviation."""
    centred = pictures - pictures.mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    count = min(_COMPONENTS, len(pictures), len(variances))
    deviations = variances.flip(0)[:count].clamp_min(1e-12).sqrt()
    first = deviations[0]
    relative = (deviations / first).clamp_min(_SMALLEST)
    return pictures.mean(0), axes.flip(1)[:, :count] / (first * relative.sqrt())
