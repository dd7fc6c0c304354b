"""Read-out of quantities from a frozen latent: what the latent holds, by how well they come back."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp


class VectorReadout(nn.Module):
    """Tokens → quantities of any shape, by a perceptron on all tokens; means and deviations are those of the data.

    Args:
        tokens, dim: number and size of the tokens.
        targets: typical targets [samples, ...], for means, deviations and the shape.
        width: of the two hidden layers.
    """

    mean: Tensor
    scale: Tensor
    noise_size: int = 0

    def __init__(self, tokens: int, dim: int, targets: Tensor, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("mean", targets.mean(0))
        self.register_buffer("scale", targets.std(0).clamp_min(1e-6))
        self.shape: list[int] = list(targets.shape[1:])
        self.network = mlp([tokens * dim, width, width, targets[0].numel()])

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        """Quantities [batch, ...] from tokens z [batch, tokens, dim]; the noise is not used."""
        shape = [z.shape[0]]
        shape.extend(self.shape)
        out: Tensor = self.network(z.flatten(1)).reshape(shape) * self.scale + self.mean
        return out
