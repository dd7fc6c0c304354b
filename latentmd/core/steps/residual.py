"""Deterministic residual predictor, the one that JEPA training uses."""

from torch import Tensor

from latentmd.core.layers import LagEmbedding, Lags, LatentStep, TokenTrunk


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
