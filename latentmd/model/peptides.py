"""The trained parts of a surrogate for many peptides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentmd.core.attention import ChainTransformer
from latentmd.core.basis import TypeBasis
from latentmd.core.layers import LagEmbedding
from latentmd.core.steps.angles import TorsionStep
from latentmd.encoders.chain import ChainEncoder
from latentmd.molecule.chain import PLACES, SLOTS, TYPES

SIZES = (len(TYPES), len(PLACES), 2)  # vocabularies of `Chain.types`


@dataclass(frozen=True)
class PeptideConfig:
    """Sizes of encoder and step, range of lags in ps, dropout in training; `n_slow` of a token's axes are slow."""

    dim: int = 32
    n_slow: int = 32
    encoder_width: int = 96
    encoder_depth: int = 3
    width: int = 192
    depth: int = 4
    causal_depth: int = 3
    heads: int = 6
    lags: tuple[float, float] = (10.0, 500.0)
    dropout: float = 0.0
    type_dropout: float = 0.0


class TokenPredictor(nn.Module):
    """Mean of a chain's latent tokens a lag later: z + f(z, τ)."""

    def __init__(self, dim: int, width: int, depth: int, lags: tuple[float, float]) -> None:
        super().__init__()
        self.noise_size = 0
        self.lag = LagEmbedding(lags[0], lags[1], 64)
        self.read = nn.Linear(dim, width)
        self.trunk = ChainTransformer(width, 64, depth)
        self.write = nn.Linear(width, dim)

    @torch.jit.export
    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """z [batch, tokens, dim], lag [batch] ps; noise is not used."""
        out: Tensor = z + self.write(self.trunk(self.read(z), self.lag(lag)))
        return out

    def forward(self, z: Tensor, lag: Tensor) -> Tensor:
        """The same as `step`."""
        return self.step(z, lag, z)


class PeptideModel(nn.Module):
    """Encoder, predictor of the mean, basis and stochastic step; of any peptide that its types cover."""

    def __init__(self, config: PeptideConfig) -> None:
        super().__init__()
        self.config = config
        c, slots = config, len(SLOTS)
        self.encoder = ChainEncoder(SIZES, slots, c.dim, c.encoder_width, c.encoder_depth)
        self.predictor = TokenPredictor(c.dim, c.encoder_width, 2, c.lags)
        eye = torch.eye(c.dim).expand(len(TYPES), -1, -1).clone()
        self.basis = TypeBasis(torch.zeros(len(TYPES), c.dim), eye, c.n_slow)
        depths, dropouts = (c.depth, c.causal_depth), (c.dropout, c.type_dropout)
        self.step = TorsionStep(
            SIZES, c.n_slow, slots, width=c.width, depths=depths, heads=c.heads, lags=c.lags, dropouts=dropouts
        )
        self.table: dict[str, dict[str, Tensor]] = {}

    def encode(self, angles: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """Slow axes [batch, tokens, n_slow] of torsions [batch, tokens, slots] of some types and mask."""
        slow: Tensor = self.basis(self.encoder(angles, types, mask), types)[0]
        return slow
