"""Encoder of peptides: torsions of each residue → one latent token per residue, which sees the whole chain."""

import torch
from torch import Tensor, nn

from latentmd.core.attention import ChainTransformer, TypeEmbedding
from latentmd.core.steps.angles import HARMONICS, torsion_features


class ChainEncoder(nn.Module):
    """Torsions and types of a chain → tokens [batch, tokens, dim]."""

    def __init__(
        self, sizes: tuple[int, ...], slots: int = 8, dim: int = 32, width: int = 96, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embed = TypeEmbedding(sizes, width)
        self.read = nn.Linear(slots * (2 * HARMONICS + 1), width)
        self.trunk = ChainTransformer(width, 1, depth, heads)
        self.condition = nn.Parameter(torch.ones(1, 1), requires_grad=False)
        self.write = nn.Linear(width, dim)

    def forward(self, angles: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """Latent tokens of angles [batch, tokens, slots] in radians."""
        h = self.read(torsion_features(angles, mask).flatten(-2)) + self.embed(types)
        out: Tensor = self.write(self.trunk(h, self.condition.expand(h.shape[0], -1)))
        return out
