"""The trained parts of a surrogate for many peptides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentmd.core.attention import ChainTransformer
from latentmd.core.layers import LagEmbedding
from latentmd.core.steps.torsions import TorsionStep
from latentmd.core.type_basis import TypeBasis
from latentmd.encoders.chain import ChainEncoder
from latentmd.molecule.chain import PLACES, SLOTS, TYPES

SIZES = (len(TYPES), len(PLACES), 2)  # vocabularies of `Chain.types`


@dataclass(frozen=True)
class PeptideConfig:
    """Sizes of the networks.

    Attributes:
        dim: of a latent token; n_slow: of its slow part.
        encoder_width, encoder_depth: of the encoder.
        width, depth, causal_depth, heads: of the step.
        lags: shortest and longest lag, ps.
        dropout, type_dropout: of the step in training.
    """

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
    """Mean of a chain's latent tokens a lag later: z + f(z, τ).

    Args:
        dim: size of a latent token.
        width, depth: of the transformer.
        lags: shortest and longest, ps.
    """

    def __init__(self, dim: int, width: int, depth: int, lags: tuple[float, float]) -> None:
        super().__init__()
        self.noise_size = 0
        self.lag = LagEmbedding(lags[0], lags[1], 64)
        self.read = nn.Linear(dim, width)
        self.trunk = ChainTransformer(width, 64, depth)
        self.write = nn.Linear(width, dim)

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """z [batch, tokens, dim], lag [batch] ps; noise is not used.

        Args:
            z: tokens [batch, tokens, dim].
            lag: shape [batch], ps.
            noise: shape [batch, 0]; not used.
        """
        out: Tensor = z + self.write(self.trunk(self.read(z), self.lag(lag)))
        return out


class PeptideModel(nn.Module):
    """Encoder, predictor of the mean, basis and stochastic step; of any peptide that its types cover.

    Args:
        config: sizes.
    """

    def __init__(self, config: PeptideConfig) -> None:
        super().__init__()
        self.config = config
        c, slots = config, len(SLOTS)
        self.encoder = ChainEncoder(SIZES, slots, c.dim, c.encoder_width, c.encoder_depth)
        self.predictor = TokenPredictor(c.dim, c.encoder_width, 2, c.lags)
        eye = torch.eye(c.dim).expand(len(TYPES), -1, -1).clone()
        self.basis = TypeBasis(torch.zeros(len(TYPES), c.dim), eye, c.n_slow)
        self.step = TorsionStep(
            SIZES,
            c.n_slow,
            slots=slots,
            width=c.width,
            depth=c.depth,
            causal_depth=c.causal_depth,
            heads=c.heads,
            lags=c.lags,
            dropout=c.dropout,
            type_dropout=c.type_dropout,
        )
        self.table: dict[str, dict[str, Tensor]] = {}

    def encode(self, angles: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """Slow axes [batch, tokens, n_slow] of torsions.

        Args:
            angles: torsions [batch, tokens, slots], radians.
            types: of each token [batch, tokens, kinds], long.
            mask: which slots have a torsion [batch, tokens, slots].
        """
        slow: Tensor = self.basis(self.encoder(angles, types, mask), types)[0]
        return slow

    def save(self, path: Path, **extra: Any) -> None:
        """Write weights in half precision, sizes and the table of residues' geometry."""
        table = {
            key: {k: v.half() if v.is_floating_point() else v for k, v in row.items()}
            for key, row in self.table.items()
        }
        weights = {
            k: v if k.startswith("basis") or not v.is_floating_point() else v.half()
            for k, v in self.state_dict().items()
        }
        data = {"config": asdict(self.config), "weights": weights, "table": table, **extra}
        partial = path.with_suffix(".partial")
        torch.save(data, partial)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> PeptideModel:
        """Read what `save` wrote."""
        data = torch.load(path, map_location="cpu", weights_only=True)
        sizes: dict[str, Any] = {**data["config"], "lags": tuple(data["config"]["lags"])}
        model = cls(PeptideConfig(**sizes))
        model.load_state_dict(data["weights"])
        model.table = data["table"]
        return model.eval()
