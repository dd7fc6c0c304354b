"""Masked trajectory model: flow matching over frames × tokens, with what is known left clean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentmd.core.layers import LagEmbedding, zeroed
from latentmd.core.steps.flow import time_features

_LAG_WIDTH = 32
_FLOW_FEATURES = 9  # of time_features
_CONTEXT_NOISE = 0.05  # largest deviation of noise on known entries in training, in units of the axes' deviation


class _Attention(nn.Module):
    """Self-attention over axis 1 of [batch, length, width], with rotary embedding of real positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.rates = nn.Buffer(2 * math.pi / torch.logspace(math.log10(2.0), math.log10(256.0), width // heads // 2))

    def forward(self, h: Tensor, position: Tensor) -> Tensor:
        batch, length, width = h.shape
        q, k, v = self.qkv(h).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        angle = position[:, None, :, None] * self.rates
        mixed = nn.functional.scaled_dot_product_attention(_rotate(q, angle), _rotate(k, angle), v)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


def _rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Turn the halves of the last axis by an angle (rotary embedding; Su et al. 2021)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-1)


class _AttentionBlock(nn.Module):
    """Attention over time, attention over tokens where there are several, and a layer per entry (adaLN-zero)."""

    def __init__(self, width: int, heads: int, tokens: bool) -> None:
        super().__init__()
        self.time = _Attention(width, heads)
        self.tokens = _Attention(width, heads) if tokens else None
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.parts = 3 if tokens else 2
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(width, 3 * self.parts * width))

    def forward(self, h: Tensor, condition: Tensor, position: Tensor) -> Tensor:
        """h and condition [batch, frames, tokens, width], position [batch, frames] in frames."""
        batch, frames, tokens, width = h.shape
        scales = self.modulation(condition).chunk(3 * self.parts, dim=-1)

        def modulated(part: int) -> Tensor:
            out: Tensor = self.norm(h) * (1 + scales[3 * part]) + scales[3 * part + 1]
            return out

        by_token = modulated(0).transpose(1, 2).reshape(batch * tokens, frames, width)
        mixed = self.time(by_token, position.repeat_interleave(tokens, dim=0))
        h = h + scales[2] * mixed.reshape(batch, tokens, frames, width).transpose(1, 2)
        if self.tokens is not None:
            places = torch.arange(tokens, dtype=h.dtype, device=h.device).expand(batch * frames, -1)
            across = self.tokens(modulated(1).reshape(batch * frames, tokens, width), places)
            h = h + scales[5] * across.reshape(h.shape)
        last = self.parts - 1
        changed: Tensor = self.outer(nn.functional.silu(self.inner(modulated(last))))
        result: Tensor = h + scales[3 * last + 2] * changed
        return result


@dataclass(frozen=True)
class TrajectorySettings:
    """Sizes of a masked trajectory model."""

    dim: int  #: of a token
    lag_range: tuple[float, float]  #: shortest and longest time between frames, ps
    context: int = 0  #: size of per-token features of the molecule that `sample` and `loss` take; 0 for none
    width: int = 64
    depth: int = 3
    heads: int = 4
    several_tokens: bool = False  #: tokens attend to each other; they are ordered, as residues of a chain are
    window: int = 64  #: most frames at once
    solver_steps: int = 8  #: midpoint steps of a sample, two network calls each


class MaskedTrajectory(nn.Module):
    """A sampler of the unknown entries of a latent trajectory given the known ones, whichever they are.

    | symbol | code | meaning |
    |---|---|---|
    | x | `x` | latent trajectory [batch, frames, tokens, dim] |
    | u | `u` | noise level of each frame of each token, 1 where known (diffusion forcing; Chen et al. 2024) |
    | x_u = (1 − u) ε + u x | `loss` | straight path from normal noise ε |
    | v(x_u, u; τ) | `velocity` | trained to x − ε where u < 1; a sample solves dx/du = v from 0 to 1 |

    Forward simulation, paths between two frames, upsampling and inpainting differ in the mask only.
    """

    def __init__(self, settings: TrajectorySettings) -> None:
        super().__init__()
        c = self.settings = settings
        self.dim, self.window, self.lag_range = c.dim, c.window, c.lag_range
        self.lag = LagEmbedding(c.lag_range[0], c.lag_range[1], _LAG_WIDTH)
        self.read = nn.Linear(2 * c.dim + 1 + c.context, c.width)
        self.condition = nn.Sequential(
            nn.Linear(_LAG_WIDTH + _FLOW_FEATURES + 1, c.width), nn.SiLU(), nn.Linear(c.width, c.width), nn.SiLU()
        )
        self.blocks = nn.ModuleList([_AttentionBlock(c.width, c.heads, c.several_tokens) for _ in range(c.depth)])
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.write = zeroed(nn.Linear(c.width, c.dim))

    def velocity(
        self, x: Tensor, u: Tensor, known: Tensor, mask: Tensor, times: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """dx/du, shaped as x, of noise levels u and times [batch, frames] in ps; known values count where `mask`."""
        batch, frames, tokens, _ = x.shape
        lag = times[:, 1] - times[:, 0]
        given = mask.unsqueeze(-1).to(x.dtype)
        inputs = [torch.where(mask.unsqueeze(-1), known, x), given * known, given]
        if context is not None:
            inputs.append(context.unsqueeze(1).expand(-1, frames, -1, -1))
        h = self.read(torch.cat(inputs, dim=-1))
        levels = time_features(u.reshape(-1)).reshape(batch, frames, tokens, -1)
        spacing = self.lag(lag).reshape(batch, 1, 1, -1).expand(-1, frames, tokens, -1)
        condition = self.condition(torch.cat([spacing, levels, given], dim=-1))
        position = (times - times[:, :1]) / lag.unsqueeze(-1)
        for block in self.blocks:
            h = block(h, condition, position)
        out: Tensor = self.write(self.norm(h))
        return out

    def loss(
        self, x: Tensor, mask: Tensor, times: Tensor, generator: torch.Generator, context: Tensor | None = None,
        axes: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Flow-matching error of the unknown entries of trajectories x [batch, frames, tokens, dim]. Half of the
        trajectories have one noise level, the others one for each frame and token. `axes` [batch, tokens, dim] is 1 for
        each axis that a token has and 0 for others, which have no noise.
        """
        batch = len(x)
        weight = torch.ones_like(x) if axes is None else axes.unsqueeze(1).expand(x.shape).to(x)
        noise = torch.randn(x.shape, generator=generator).to(x) * weight
        one = torch.rand(batch, 1, 1, generator=generator).to(x)
        each = torch.rand(mask.shape, generator=generator).to(x)
        split = torch.arange(batch, device=x.device).reshape(-1, 1, 1) < batch // 2
        u = torch.where(split, one.expand_as(each), each).masked_fill(mask, 1.0)
        blur = _CONTEXT_NOISE * torch.rand(batch, 1, 1, 1, generator=generator).to(x)
        known = x + blur * weight * torch.randn(x.shape, generator=generator).to(x)
        level = u.unsqueeze(-1)
        predicted = self.velocity((1 - level) * noise + level * x, u, known, mask, times, context)
        error = (predicted - (x - noise)).square() * weight
        return error[~mask].sum() / weight[~mask].sum()

    @torch.no_grad()
    def sample(
        self, known: Tensor, mask: Tensor, times: Tensor, noise: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Trajectories with the known entries as given and the others drawn, [batch, frames, tokens, dim]. Times
        [batch, frames] are evenly spaced, ps; noise is standard normal, 0 for axes that a token does not have.
        ValueError: the mask leaves nothing or everything to draw, or frames are too many or unevenly spaced.
        """
        self._check(mask, times)
        x, steps = noise, self.settings.solver_steps
        h = 1.0 / steps
        for i in range(steps):
            level = torch.full(mask.shape, i * h, dtype=x.dtype, device=x.device).masked_fill(mask, 1.0)
            half = x + 0.5 * h * self.velocity(x, level, known, mask, times, context)
            level = (level + 0.5 * h).masked_fill(mask, 1.0)
            x = x + h * self.velocity(half, level, known, mask, times, context)
        return torch.where(mask.unsqueeze(-1), known, x)

    def _check(self, mask: Tensor, times: Tensor) -> None:
        if bool(mask.all()):
            raise ValueError("the mask says that every frame of every token is known; leave something to draw")
        if not bool(mask.flatten(1).any(dim=1).all()):
            raise ValueError("the mask leaves nothing known; give at least one frame to start from")
        frames = times.shape[1]
        if not 2 <= frames <= self.window:
            raise ValueError(f"{frames} frames at once; expected 2 to {self.window}, the window of the model")
        steps = times.diff(dim=1)
        if float((steps - steps[:, :1]).abs().max()) > 1e-3 * float(steps.max()):
            raise ValueError("frames are unevenly spaced; expected one time between frames")
        low, high = self.lag_range
        if not low * 0.999 <= float(steps.min()) <= float(steps.max()) <= high * 1.001:
            raise ValueError(
                f"frames are {float(steps.min()):g} ps apart; expected {low:g} to {high:g} ps, the range of the model"
            )
