"""The plain baseline of every table: one multilayer perceptron from all axes to all axes."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp


class MLPPredictor(nn.Module):
    """ẑ(t + τ) = f(z(t), ln τ): no residual, no structure, all tokens flattened."""

    noise_size: int = 0

    def __init__(
        self, dim: int, lag_range: tuple[float, float], width: int = 96, depth: int = 2, tokens: int = 1
    ) -> None:
        super().__init__()
        if not 0 < lag_range[0] <= lag_range[1]:
            raise ValueError(f"lag range is {lag_range[0]} to {lag_range[1]}; expected 0 < shortest <= longest")
        self.longest = lag_range[1]
        self.network = mlp([dim * tokens + 1, *depth * [width], dim * tokens])

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Advance tokens z [batch, tokens, dim] by lag [batch]; the noise is not used."""
        inputs = torch.cat([z.flatten(1), torch.log(lag / self.longest).unsqueeze(1)], dim=1)
        out: Tensor = self.network(inputs).reshape(z.shape)
        return out

    def forward(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return self.step(z, lag, noise)
