"""Deterministic predictors: the residual one that JEPA training uses, and the plain baseline of every table."""

import torch
from torch import Tensor

from latentmd.core.layers import LagEmbedding, Lags, LatentStep, TokenTrunk, mlp


class ResidualPredictor(LatentStep):
    """ẑ(t + τ) = z(t) + f(z(t), τ), the conditional mean: rollouts lose variance and must never be histogrammed."""

    def __init__(self, dim: int, lags: Lags, width: int = 96, depth: int = 2, tokens: int = 1) -> None:
        super().__init__()
        self.lag = LagEmbedding(lags[0], lags[1], width)
        self.trunk = TokenTrunk(dim, dim, width, width, depth, mix_tokens=tokens > 1)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens z [batch, tokens, dim] a lag later; the noise is not used."""
        out: Tensor = z + self.trunk(z, self.lag(lag))
        return out


class MLPPredictor(LatentStep):
    """ẑ(t + τ) = f(z(t), ln τ): no residual, no structure, all tokens flattened."""

    def __init__(self, dim: int, lags: Lags, width: int = 96, depth: int = 2, tokens: int = 1) -> None:
        super().__init__()
        self.longest = lags[1]
        self.network = mlp([dim * tokens + 1, *depth * [width], dim * tokens])

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens z [batch, tokens, dim] a lag later; the noise is not used."""
        inputs = torch.cat([z.flatten(1), torch.log(lag / self.longest).unsqueeze(1)], dim=1)
        out: Tensor = self.network(inputs).reshape(z.shape)
        return out
