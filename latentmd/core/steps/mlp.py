"""The plain baseline of every table: one multilayer perceptron from all axes to all axes."""

import torch
from torch import Tensor

from latentmd.core.layers import Lags, LatentStep, mlp


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
