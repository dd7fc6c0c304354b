"""Fixed linear changes of basis between the latent and everything after it, for one molecule and by type of token."""

import torch
from torch import Tensor, nn


class Basis(nn.Module):
    """Mean and matrix of a change of basis whose first `n_slow` axes are slow."""

    def __init__(self, mean: Tensor, matrix: Tensor, n_slow: int) -> None:
        super().__init__()
        self.mean = nn.Buffer(mean)
        self.matrix = nn.Buffer(matrix)
        self.n_slow = n_slow


class LatentBasis(Basis):
    """w = (z − mean) M of all tokens together: whitened latent axes in the order of their autocorrelation."""

    def __init__(self, mean: Tensor, matrix: Tensor, n_slow: int) -> None:
        super().__init__(mean, matrix, n_slow)
        self.n_fast = matrix.shape[1] - n_slow

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [batch, tokens, dim] → slow [batch, 1, n_slow] and fast [batch, 1, n_fast] axes."""
        w = ((z.flatten(1) - self.mean) @ self.matrix).unsqueeze(1)
        return w[..., : self.n_slow], w[..., self.n_slow :]


_RIDGE = 1e-4  # of the covariance's mean eigenvalue
_FEWEST = 5000  # frames below which a type takes the basis of all types together


class TypeBasis(Basis):
    """w = (z − mean[type]) M[type] of each token, mean [types, dim] and M [types, dim, dim]."""

    def forward(self, z: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens z [batch, tokens, dim], types [batch or 1, tokens, kinds] → slow and fast axes of each token."""
        kind = types[..., 0]
        w = ((z - self.mean[kind]).unsqueeze(-2) @ self.matrix[kind]).squeeze(-2)
        return w[..., : self.n_slow], w[..., self.n_slow :]


class TypeCovariances:
    """Sums over pairs of frames that a `TypeBasis` is fitted to, of tokens less their mean over a molecule's frames."""

    def __init__(self, types: int, dim: int, device: torch.device) -> None:
        self.count = torch.zeros(types, dtype=torch.float64, device=device)
        self.total = torch.zeros(types, dim, dtype=torch.float64, device=device)
        self.instant = torch.zeros(types, dim, dim, dtype=torch.float64, device=device)
        self.lagged = torch.zeros(types, dim, dim, dtype=torch.float64, device=device)

    def add(self, now: Tensor, later: Tensor, kind: Tensor) -> None:
        """Pairs of one set of molecules: now, later [molecules, rows, tokens, dim]; kind [molecules, tokens] long."""
        now, later = now.double(), later.double()
        rows = now.shape[1]
        mean = (now.mean(1) + later.mean(1)) / 2
        a, b = now - mean.unsqueeze(1), later - mean.unsqueeze(1)
        instant = torch.einsum("mrti,mrtj->mtij", a, a) + torch.einsum("mrti,mrtj->mtij", b, b)
        lagged = torch.einsum("mrti,mrtj->mtij", a, b)
        flat = kind.flatten()
        self.count.index_add_(0, flat, torch.full_like(flat, 2 * rows, dtype=torch.float64))
        self.total.index_add_(0, flat, 2 * rows * mean.flatten(0, 1))
        self.instant.index_add_(0, flat, instant.flatten(0, 1))
        self.lagged.index_add_(0, flat, (lagged + lagged.transpose(-1, -2)).flatten(0, 1))

    def fit(self, n_slow: int) -> tuple[TypeBasis, Tensor]:
        """Whiten and rotate by TICA (Pérez-Hernández et al. 2013) by type: basis, autocorrelations [types, dim]."""
        pooled = _rotation(self.instant.sum(0), self.lagged.sum(0), float(self.count.sum()))
        own = [
            _rotation(self.instant[k], self.lagged[k], n) if n >= _FEWEST else pooled
            for k, n in enumerate(self.count.tolist())
        ]
        matrices, correlations = (torch.stack(parts).float() for parts in zip(*own, strict=True))
        count = self.count.unsqueeze(1)
        means = torch.where(count > 0, self.total / count.clamp_min(1), self.total.sum(0) / self.count.sum())
        return TypeBasis(means.float(), matrices, n_slow), correlations


def _rotation(instant: Tensor, lagged: Tensor, count: float) -> tuple[Tensor, Tensor]:
    c, k = instant / count, lagged / count
    ridge = _RIDGE * c.diagonal().mean() * torch.eye(c.shape[0], dtype=c.dtype, device=c.device)
    values, vectors = torch.linalg.eigh(c + ridge)
    white = vectors / values.sqrt()
    found, turn = torch.linalg.eigh(white.T @ k @ white)
    return white @ turn.flip(1), found.flip(0)
