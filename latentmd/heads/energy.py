"""Energies: of full-atom positions with exact forces, and of latents with their variance. Two heads, two names."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp
from latentmd.encoders.egnn import AtomEncoder
from latentmd.heads.mechanics import MechanicsPrior


class EnergyHead(nn.Module):
    """U(x) = U_prior(x) + U_0 [+ s Σ_i e(h_i(x))] in kJ/mol and its exact forces; h are per-atom features of a copy of
    the JEPA encoder, trained further; without an encoder the prior alone. U_0 and s: mean and spread of what it leaves.
    """

    def __init__(self, encoder: AtomEncoder | None, prior: MechanicsPrior, offset: float, scale: float) -> None:
        super().__init__()
        self.offset, self.scale = float(offset), float(scale)
        self.encoder, self.prior = encoder, prior
        self.atomwise = mlp([encoder.width, encoder.width, 1]) if encoder is not None else None

    def forward(self, positions: Tensor) -> Tensor:
        """[batch, atoms, 3] nm → [batch] kJ/mol."""
        out: Tensor = self.prior(positions) + self.offset
        if self.encoder is not None and self.atomwise is not None:
            out = out + self.scale * self.atomwise(self.encoder.atoms(positions)).sum(1).squeeze(-1)
        return out

    def loss(self, positions: Tensor, energies: Tensor, forces: Tensor, force_weight: float) -> tuple[Tensor, Tensor]:
        """Mean squared errors of energies and of forces, both in units of `scale` (and of scale / 0.01 nm)."""
        positions = positions.detach().requires_grad_(True)
        predicted = self(positions)
        (gradient,) = torch.autograd.grad(predicted.sum(), positions, create_graph=True)
        energy = ((predicted - energies) / self.scale).square().mean()
        force = ((gradient + forces) * (0.01 / self.scale)).square().mean()
        return energy + force_weight * force, force


class LatentEnergyHead(nn.Module):
    """E[U | z] and Var[U | z] from the latent axes alone, by Gaussian likelihood; U fluctuates at fixed z."""

    def __init__(self, axes: int, mean: float, spread: float, width: int = 128) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(mean))
        self.spread = nn.Buffer(torch.tensor(spread))
        self.network = mlp([axes, width, width, 2], last_zero=True)

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Axes [batch, axes] → mean [batch] kJ/mol and variance [batch] (kJ/mol)²."""
        out = self.network(w)
        variance = self.spread**2 * torch.exp(2 * out[:, 1].clamp(-5, 5))
        return self.mean + self.spread * out[:, 0], variance

    def loss(self, w: Tensor, energies: Tensor) -> Tensor:
        """Mean Gaussian negative log-likelihood of energies, up to a constant."""
        mean, variance = self(w)
        loss: Tensor = (0.5 * torch.log(variance) + 0.5 * (energies - mean).square() / variance).mean()
        return loss
