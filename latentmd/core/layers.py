"""Small building blocks shared by encoders, predictors and decoders."""

from itertools import pairwise

import torch
from torch import Tensor, nn


def zeroed(layer: nn.Module) -> nn.Module:
    """A layer that begins with weights and biases of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def mlp(sizes: list[int], last_zero: bool = False) -> nn.Sequential:
    """Linear layers with SiLU between them; `last_zero` starts the output at zero (identity residuals)."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.SiLU()]
    if last_zero:
        zeroed(layers[-2])
    return nn.Sequential(*layers[:-1])


Lags = tuple[float, float]  # shortest and longest lag that a step covers: ps, or frames of a world


class LatentStep(nn.Module):
    """A predictor of tokens [batch, tokens, dim] a lag [batch] later, from `noise_size` normal numbers a row."""

    noise_size: int = 0

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens a lag later; a deterministic step does not look at the noise [batch, noise_size]."""
        raise NotImplementedError

    def forward(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return self.step(z, lag, noise)


class Standardised(nn.Module):
    """A network whose inputs or outputs are in units of a deviation about a mean."""

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.mean = nn.Buffer(mean.clone())
        self.scale = nn.Buffer(deviation.clamp_min(1e-6))


class AdaptiveBlock(nn.Module):
    """Residual block modulated by a condition (adaLN-zero; Peebles & Xie 2023) that sees the mean over tokens."""

    def __init__(self, width: int, condition: int, mix_tokens: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(condition, 3 * width))
        self.inner = nn.Linear(width, width)
        self.pooled = nn.Linear(width, width, bias=False) if mix_tokens else None
        self.outer = nn.Linear(width, width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Tokens of the shape of h [batch, tokens, width], given a condition [batch, condition]."""
        scale, shift, gate = self.modulation(condition).unsqueeze(1).chunk(3, dim=-1)
        u = torch.addcmul(shift, self.norm(h), 1 + scale)
        inner = self.inner(u)
        if self.pooled is not None:
            inner = inner + self.pooled(u.mean(dim=1, keepdim=True))
        return torch.addcmul(h, 1 + gate, self.outer(nn.functional.silu(inner)))


class TokenTrunk(nn.Module):
    """Residual network, one for all tokens: [batch, tokens, inputs], condition [batch, condition] → outputs."""

    def __init__(
        self, inputs: int, outputs: int, condition: int, width: int, depth: int, mix_tokens: bool = False
    ) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList([AdaptiveBlock(width, condition, mix_tokens) for _ in range(depth)])
        self.write = zeroed(nn.Linear(width, outputs))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens [batch, tokens, outputs] of x [batch, tokens, inputs], given a condition [batch, condition]."""
        h = self.read(x)
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.write(nn.functional.silu(h))
        return out


class LagEmbedding(nn.Module):
    """Fourier features [batch, width] of ln of the lag [batch], scaled to [−1, 1] over [shortest, longest]."""

    def __init__(self, shortest: float, longest: float, width: int) -> None:
        super().__init__()
        if not 0 < shortest <= longest:
            raise ValueError(f"lag range is {shortest} to {longest}; expected 0 < shortest <= longest")
        span = torch.log(torch.tensor([shortest, longest], dtype=torch.float64))
        self.centre = nn.Buffer(span.mean().float())
        self.half_width = nn.Buffer(((span[1] - span[0]) / 2).clamp_min(1e-3).float())
        self.project = mlp([5, width, width])

    def forward(self, lag: Tensor) -> Tensor:
        """Features [batch, width] of lags [batch] in ps."""
        u = ((torch.log(lag) - self.centre) / self.half_width).unsqueeze(-1)
        phase = torch.pi / 2 * u
        features = torch.cat([u, phase.sin(), phase.cos(), (2 * phase).sin(), (2 * phase).cos()], dim=-1)
        out: Tensor = self.project(features)
        return out
