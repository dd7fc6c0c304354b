"""Terms that keep a joint-embedding latent from collapsing, and scores of its slow subspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Regularisation(NamedTuple):
    """Weighted total, and its unweighted terms for the log."""

    total: Tensor
    variance: Tensor
    covariance: Tensor


class VarianceCovariance(nn.Module):
    """μ · mean_j max(0, 1 − std_j) + ν · Σ_{i≠j} C_ij² / D over a batch of latents (VICReg; Bardes et al. 2022)."""

    def __init__(self, variance: float = 1.0, covariance: float = 0.04) -> None:
        super().__init__()
        self.variance, self.covariance = variance, covariance

    def forward(self, z: Tensor) -> Regularisation:
        """z [batch, axes]."""
        centred = z - z.mean(0)
        std = torch.sqrt(centred.var(0) + 1e-6)
        hinge = nn.functional.relu(1 - std).mean()
        c = centred.T @ centred / (z.shape[0] - 1)
        off_diagonal = (c.square().sum() - c.diagonal().square().sum()) / z.shape[1]
        return Regularisation(self.variance * hinge + self.covariance * off_diagonal, hinge, off_diagonal)


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularisation (LeJEPA; Balestriero & LeCun 2025): mean over random directions of the
    Epps–Pulley distance of the projected batch to a standard normal, over t in [0, 3], Gaussian window.
    """

    def __init__(self, weight: float = 0.1, slices: int = 256, knots: int = 17, seed: int = 0) -> None:
        super().__init__()
        self.weight, self.slices, self.seed = weight, slices, seed
        self.t = nn.Buffer(torch.linspace(0, 3, knots))
        self.calls: Tensor = nn.Buffer(torch.zeros((), dtype=torch.long))  # in checkpoints, so that a run can go on

    def forward(self, z: Tensor) -> Regularisation:
        """z [batch, axes]."""
        generator = torch.Generator().manual_seed(self.seed * 2**32 + int(self.calls))
        self.calls += 1
        directions = torch.randn(z.shape[1], self.slices, generator=generator).to(z)
        projected = z @ (directions / directions.norm(dim=0))
        phase = projected.unsqueeze(-1) * self.t
        normal = torch.exp(-0.5 * self.t**2)
        distance = (phase.cos().mean(0) - normal) ** 2 + phase.sin().mean(0) ** 2
        statistic = torch.trapezoid(distance * normal, self.t, dim=-1).mean()
        z_centred = z - z.mean(0)
        return Regularisation(
            self.weight * statistic * z.shape[0], nn.functional.relu(1 - z_centred.std(0)).mean(), statistic
        )


class PerToken(nn.Module):
    """An objective whose samples are tokens, not observations, for tokens that share one law and one encoder."""

    def __init__(self, objective: nn.Module, dim: int) -> None:
        super().__init__()
        self.objective, self.dim = objective, dim

    def forward(self, z: Tensor) -> Regularisation:
        """z [batch, tokens · dim]."""
        out: Regularisation = self.objective(z.reshape(-1, self.dim))
        return out


def effective_rank(z: Tensor) -> Tensor:
    """RankMe: exp of the entropy of the normalised singular values of centred latents [batch, axes] (Garrido 2023)."""
    singular = torch.linalg.svdvals(z - z.mean(0))
    p = singular / singular.sum().clamp_min(1e-12)
    return torch.exp(-(p * torch.log(p.clamp_min(1e-12))).sum())


def spectral_loss(now: Tensor, future: Tensor) -> Tensor:
    """Inverse-free transfer-operator loss of features [batch, k]; its minimum is −VAMP-2 (Turri et al. 2026). (1/(N (N
    − 1))) Σ_{i≠j} ⟨x_i, y_j⟩² − (2/N) Σ_i ⟨x_i, y_i⟩ over centred features.
    """
    n = now.shape[0]
    x, y = now - now.mean(0), future - future.mean(0)
    products = x @ y.T
    diagonal = products.diagonal()
    return (products.square().sum() - diagonal.square().sum()) / (n * (n - 1)) - 2 * diagonal.mean()


def conservation_loss(values: Sequence[Tensor]) -> Tensor:
    """Mean over k ≥ 1 of (E_k − E_0)², over the variance of E_0: how far a rollout drifts along E."""
    start = values[0]
    spread = start.detach().var().clamp_min(1e-6)
    return torch.stack([(value - start).square().mean() for value in values[1:]]).mean() / spread
