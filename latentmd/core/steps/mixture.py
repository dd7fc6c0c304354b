"""Stochastic predictor with an exact likelihood: a mixture of Gaussians (mixture-density network; Bishop 1994)."""

import math

import torch
from torch import Tensor, nn

from latentmd.core.layers import LagEmbedding, Lags, LatentStep, TokenTrunk


class MixturePredictor(LatentStep):
    """p(z(t + τ) | z(t), τ) = Σ_m w_m N(z; a_m, L_m L_mᵀ) of all tokens jointly, trained by likelihood."""

    def __init__(
        self, dim: int, lags: Lags, components: int = 16, width: int = 128, depth: int = 3, tokens: int = 1
    ) -> None:
        super().__init__()
        self.components, self.size = components, dim * tokens
        self.lag = LagEmbedding(lags[0], lags[1], 32)
        n = self.size
        self.trunk = TokenTrunk(n, components * (1 + n + n * (n + 1) // 2), 32, width, depth)
        rows, columns = torch.tril_indices(n, n)
        self.rows = nn.Buffer(rows)
        self.columns = nn.Buffer(columns)
        self.anchors = nn.Buffer(torch.randn(components, n, generator=torch.Generator().manual_seed(0)))
        self.noise_size = n + 1

    def mixture(self, z: Tensor, lag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights [batch, M], means [batch, M, n] and Cholesky factors [batch, M, n, n] with n = tokens · dim."""
        flat = z.reshape(z.shape[0], 1, self.size)
        raw = self.trunk(flat, self.lag(lag)).to(z.dtype).reshape(z.shape[0], self.components, -1)
        means = self.anchors + raw[..., 1 : 1 + self.size]
        factors = torch.zeros(z.shape[0], self.components, self.size, self.size, dtype=z.dtype, device=z.device)
        factors[:, :, self.rows, self.columns] = raw[..., 1 + self.size :]
        diagonal = torch.diagonal(factors, dim1=-2, dim2=-1).clamp(-7.0, 3.0)
        factors = torch.tril(factors, -1) + torch.diag_embed(torch.exp(diagonal))
        return torch.log_softmax(raw[..., 0], dim=-1), means, factors

    def log_likelihood(self, z: Tensor, lag: Tensor, future: Tensor) -> Tensor:
        """ln p(future | z, lag), [batch]."""
        log_weights, means, factors = self.mixture(z, lag)
        deviation = (future.reshape(z.shape[0], 1, self.size) - means).unsqueeze(-1)
        white = torch.linalg.solve_triangular(factors, deviation, upper=False).squeeze(-1)
        log_det = torch.diagonal(factors, dim1=-2, dim2=-1).log().sum(-1)
        gaussian = -0.5 * (white**2).sum(-1) - log_det - 0.5 * self.size * math.log(2 * math.pi)
        return torch.logsumexp(log_weights + gaussian, dim=-1)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """One draw of z(t + lag); noise [batch, n + 1], its first column chooses the component."""
        log_weights, means, factors = self.mixture(z, lag)
        uniform = 0.5 * (1 + torch.erf(noise[:, :1] / math.sqrt(2.0)))
        chosen = (log_weights.exp().cumsum(-1) < uniform).sum(-1).clamp(max=self.components - 1)
        rows = torch.arange(z.shape[0], device=z.device)
        drawn = means[rows, chosen] + (factors[rows, chosen] @ noise[:, 1:].unsqueeze(-1)).squeeze(-1)
        return drawn.reshape(z.shape)

    def mean_step(self, z: Tensor, lag: Tensor) -> Tensor:
        """The conditional mean of z(t + lag)."""
        log_weights, means, _ = self.mixture(z, lag)
        return (log_weights.exp().unsqueeze(-1) * means).sum(1).reshape(z.shape)
