"""The path model of many peptides, for one of them: torsions of all residues over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentmd.core.paths.masked import MaskedTrajectory
from latentmd.model.paths import PathModelError, PathRecord
from latentmd.molecule.chain import PLACES, TYPES

CONTEXT = len(TYPES) + len(PLACES) + 1  # features of a residue, without its torsions


def residue_features(types: Tensor, mask: Tensor) -> Tensor:
    """Inputs of a path model for each residue, [tokens, CONTEXT + slots]: type, place, hand, and which torsions.

    Args:
        types: [tokens, 3], as `Chain.types`.
        mask: [tokens, slots], as `Chain.mask`.
    """
    kind, place = (torch.nn.functional.one_hot(types[:, k], size) for k, size in enumerate((len(TYPES), len(PLACES))))
    return torch.cat([kind, place, types[:, 2:3], mask], dim=1).float()


def residue_kinds(types: Tensor) -> list[str]:
    """Types of the residues of a chain, and their places in it, such as ALA and inner; types [tokens, 3]."""
    return sorted({name for kind, place, _ in types.tolist() for name in (TYPES[kind], PLACES[place])})


class PeptideTrajectories:
    """A masked trajectory model of torsions, for one peptide; what it draws are the tokens of the bound model.

    Args:
        network: trained on cosines and sines of torsions.
        record: what it was made from.
        module: model of many peptides bound to the peptide.

    Raises:
        PathModelError: a residue type, or a place in a chain, that the network was not trained on.
    """

    def __init__(self, network: MaskedTrajectory, record: PathRecord, module: Any) -> None:
        types, mask = module.types[0], module.mask[0]
        new = sorted(set(residue_kinds(types)) - set(record.kinds))
        if new:
            raise PathModelError(
                f"the path model of many peptides was not trained on {', '.join(new)}; make one of this peptide with "
                "`latentmd train paths TRAJECTORIES --top PDB --model MODEL --out MODEL.paths.pt`"
            )
        self.network, self.module = network, module
        self.window, self.lag_range = network.window, network.lag_range
        self._features, self._axes = residue_features(types, mask), mask.float().repeat(1, 2)

    def sample(self, known: Tensor, mask: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Trajectories with the known entries as given and the others drawn, [batch, frames, tokens, axes].

        Args:
            known: tokens where `mask`, anything finite elsewhere, [batch, frames, tokens, axes].
            mask: what is known, [batch, frames, tokens].
            times: evenly spaced, ps, [batch, frames].
            noise: standard normal, shaped as `known`.

        Raises:
            ValueError: as `MaskedTrajectory.sample`.
        """
        first = known.shape[-1] - self.network.dim
        context = self._features.expand(len(known), -1, -1)
        drawn = self.network.sample(known[..., first:], mask, times, noise[..., first:] * self._axes, context)
        with torch.no_grad():
            tokens = self.module.from_waves(drawn.flatten(0, 1)).reshape(known.shape)
        return torch.where(mask.unsqueeze(-1), known, tokens)
