"""Encoder of peptides: torsions of each residue → one latent token per residue, which sees the whole chain."""

import torch
from torch import Tensor, nn

from latentmd.core.attention import ChainTransformer, TypeEmbedding

_HARMONICS = 3


def torsion_features(angles: Tensor, mask: Tensor, harmonics: int = 3) -> Tensor:
    """Cosines and sines of the first harmonics of torsions, [..., tokens, slots] radians → [..., tokens, features], 0
    where there is none.

    Signed torsions tell mirror images apart; nothing else of a pose is read, so features are SO(3)-invariant.
    """
    weight = mask.unsqueeze(-1).to(angles.dtype).expand(angles.shape + (1,))  # noqa: RUF005 (scripts)
    order = torch.arange(1, harmonics + 1, dtype=angles.dtype, device=angles.device)
    phase = angles.unsqueeze(-1) * order
    return torch.cat([phase.cos() * weight, phase.sin() * weight, weight], dim=-1).flatten(-2)


class ChainEncoder(nn.Module):
    """Torsions and types of a chain → tokens [batch, tokens, dim]."""

    def __init__(
        self, sizes: tuple[int, ...], slots: int = 8, dim: int = 32, width: int = 96, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embed = TypeEmbedding(sizes, width)
        self.read = nn.Linear(slots * (2 * _HARMONICS + 1), width)
        self.trunk = ChainTransformer(width, 1, depth, heads)
        self.condition = nn.Parameter(torch.ones(1, 1), requires_grad=False)
        self.write = nn.Linear(width, dim)

    def forward(self, angles: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """Latent tokens of angles [batch, tokens, slots] in radians."""
        h = self.read(torsion_features(angles, mask)) + self.embed(types)
        out: Tensor = self.write(self.trunk(h, self.condition.expand(h.shape[0], -1)))
        return out
