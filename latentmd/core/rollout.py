"""Iterate a predictor: the only loop over latent time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def rollout(
    predictor: nn.Module, z0: Tensor, lag: float, steps: int, generator: torch.Generator, every: int = 1
) -> Iterator[Tensor]:
    """Yield z after every `every` steps of `lag`, [batch, tokens, dim], starting after z0 itself."""
    z = z0
    lags = torch.full((z0.shape[0],), lag, dtype=z0.dtype, device=z0.device)
    for i in range(1, steps + 1):
        noise = torch.randn(z.shape[0], int(predictor.noise_size), generator=generator, dtype=z.dtype).to(z.device)  # type: ignore[arg-type]
        with torch.no_grad():
            z = predictor.step(z, lags, noise)  # type: ignore[operator]
        if i % every == 0:
            yield z
