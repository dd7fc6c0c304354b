"""Deterministic residual predictor, the one that JEPA training uses."""

from torch import Tensor, nn

from latentmd.core.layers import LagEmbedding, TokenTrunk


class ResidualPredictor(nn.Module):
    """ẑ(t + τ) = z(t) + f(z(t), τ): the conditional mean E[z(t + τ) | z(t)] once trained on squared error.

    Its rollouts lose variance as ρ^(2k) and must never be histogrammed; ensembles come from the stochastic predictors.
    """

    noise_size: int = 0

    def __init__(
        self,
        dim: int,
        lag_range: tuple[float, float],
        width: int = 96,
        depth: int = 2,
        tokens: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.lag = LagEmbedding(lag_range[0], lag_range[1], width)
        self.trunk = TokenTrunk(dim, dim, width, width, depth, mix_tokens=tokens > 1)
        self.dropout = nn.Dropout(dropout)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Advance tokens z [batch, tokens, dim] by lag [batch]; the noise is not used."""
        out: Tensor = z + self.dropout(self.trunk(z, self.lag(lag)))
        return out

    def forward(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return self.step(z, lag, noise)
