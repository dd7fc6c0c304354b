"""Message-passing encoder of particles in a periodic box, one token each (EGNN type; Satorras et al. 2021)."""

import math

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp

_RADIAL = 16  # radial functions of a distance
_VECTORS = 4  # vector channels of a particle
_AT_A_TIME = 256  # typical frames


class _Round(nn.Module):
    """One round of messages.

    m_ij = c_ij φ(h_i, h_j, e_ij);  u_i = Σ_j (W m_ij r̂_ij + W' m_ij (v_j − v_i));  h_i ← h_i + ψ(h_i, Σ_j m_ij, G_i).
    c is a smooth cutoff, r̂ the direction of the minimum image, G the dot products among the vectors u_i and v_i.
    """

    def __init__(self, width: int, edge: int, vectors: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(edge, width, bias=False)
        self.message = nn.Linear(width, width)
        self.along = nn.Linear(width, vectors, bias=False)
        self.drag = nn.Linear(width, vectors, bias=False)
        channels = vectors + 1
        self.upper = nn.Buffer(torch.triu_indices(channels, channels))
        self.norm = nn.LayerNorm(width)
        self.change = mlp([2 * width + channels * (channels + 1) // 2, width, width])

    def forward(
        self, h: Tensor, edge: Tensor, direction: Tensor, cutoff: Tensor, change: Tensor, velocity: Tensor
    ) -> Tensor:
        m = nn.functional.silu(self.receiver(h).unsqueeze(2) + self.sender(h).unsqueeze(1) + self.edge(edge))
        m = nn.functional.silu(self.message(m)) * cutoff
        vectors = self.along(m).transpose(-1, -2) @ direction + self.drag(m).transpose(-1, -2) @ change
        vectors = torch.cat([vectors, velocity.unsqueeze(2)], dim=2)
        gram = vectors @ vectors.transpose(-1, -2)
        products = gram[:, :, self.upper[0], self.upper[1]]
        # Dot products grow with the square of the vectors; the signed square root keeps fast particles in range.
        products = torch.sign(products) * (torch.sqrt(products.abs() + 1.0) - 1.0)
        out: Tensor = h + self.change(torch.cat([self.norm(h), m.sum(dim=2), products], dim=-1))
        return out


class ParticleEncoder(nn.Module):
    """Positions and velocities of like particles [batch, particles, 2 · dimensions] → one token per particle, the same
    under symmetries and widths of the periodic box and shifts of everything; exchanging particles exchanges tokens. A
    particle starts from its speed and the radial symmetry functions G_ik = Σ_j c(r_ij) exp(−½ ((r_ij − r_k) / w)²) of
    Behler & Parrinello (2007), standardised over typical frames; rounds of messages add directions and velocities of
    others.
    """

    def __init__(
        self, observations: Tensor, box: float, cutoff: float, dim: int = 16, width: int = 32, depth: int = 2
    ) -> None:
        super().__init__()
        self.dimensions = observations.shape[-1] // 2
        self.box, self.cutoff = box, min(cutoff, box / 2)
        self.speed = float(observations[..., self.dimensions :].square().mean().sqrt())
        self.centres = nn.Buffer(torch.linspace(0.0, 1.0, _RADIAL))
        counts = torch.cat([self._around(part)[3].flatten(0, 1) for part in observations.split(_AT_A_TIME)])
        self.mean = nn.Buffer(counts.mean(0))
        self.scale = nn.Buffer(counts.std(0).clamp_min(1e-3))
        self.embed = mlp([1 + _RADIAL, width, width])
        # Edge features: radial functions, relative speed, relative velocity along the line of centres.
        self.rounds = nn.ModuleList([_Round(width, _RADIAL + 2, _VECTORS) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.project = mlp([width, 2 * width, dim])
        # Fast particles leave the range that a normalised perceptron resolves; what is linear passes beside it.
        self.beside = nn.Linear(1 + _RADIAL, dim, bias=False)

    def _around(self, obs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Directions, smooth cutoffs and radial functions of all pairs, and symmetry functions of all particles."""
        position = obs[..., : self.dimensions]
        arrow = position.unsqueeze(1) - position.unsqueeze(2)  # from particle i to particle j
        arrow = arrow - self.box * torch.round(arrow / self.box)
        same = torch.eye(obs.shape[1], dtype=obs.dtype, device=obs.device)
        distance = torch.sqrt(arrow.square().sum(-1) + same)
        share = (distance / self.cutoff).clamp(max=1.0)
        cutoff = (0.5 * (torch.cos(math.pi * share) + 1) * (1 - same)).unsqueeze(-1)
        radial = torch.exp(-0.5 * ((share.unsqueeze(-1) - self.centres) * (self.centres.shape[0] - 1)) ** 2)
        return arrow / distance.unsqueeze(-1), cutoff, radial, (cutoff * radial).sum(2)

    def forward(self, obs: Tensor) -> Tensor:
        """[batch, particles, 2 · dimensions], positions first → tokens [batch, particles, dim]."""
        velocity = obs[..., self.dimensions :] / self.speed
        direction, cutoff, radial, counts = self._around(obs)
        change = velocity.unsqueeze(1) - velocity.unsqueeze(2)
        approach = (change * direction).sum(-1, keepdim=True)
        relative = torch.sqrt(change.square().sum(-1, keepdim=True) + 1e-6)
        edge = torch.cat([radial, relative, approach], dim=-1)
        counts = (counts - self.mean) / self.scale
        own = torch.cat([velocity.square().mean(-1, keepdim=True), counts], dim=-1)
        h = self.embed(own)
        for layer in self.rounds:
            h = layer(h, edge, direction, cutoff, change, velocity)
        out: Tensor = self.project(self.norm(h)) + self.beside(own)
        return out
