"""How near a peptide is to those a model was trained on: by sequence, and by latent tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from latentmd.model.bound_peptide import BoundPeptide

_DRAWS = 256  # latents drawn from the model's equilibrium; their mean stands for a token
_CAPS = {"ACE", "NME", "NH2"}


class Near(NamedTuple):
    """A training sequence, and the residues that it shares in the best alignment without gaps."""

    sequence: str
    shared: int


def nearest_sequences(sequence: str, training: Sequence[str], count: int = 3) -> list[Near]:
    """Training sequences that share most residues in place; of equal ones those that share most pairs of neighbours.

    Sequences are types joined by hyphens; caps count for nothing.

    Example:
        >>> nearest_sequences("ALA-GLY-VAL", ["GLY-VAL", "ALA-SER-SER"], 1)
        [Near(sequence='GLY-VAL', shared=2)]
    """
    own = _residues(sequence)
    scored = []
    for other in dict.fromkeys(training):
        residues = _residues(other)
        best = max(_shared(own, residues, offset) for offset in range(1 - len(residues), len(own)))
        scored.append((-best[0], -best[1], abs(len(residues) - len(own)), other))
    return [Near(other, -shared) for shared, _, _, other in sorted(scored)[:count]]


def _residues(sequence: str) -> list[str]:
    return [name for name in sequence.split("-") if name.upper() not in _CAPS]


def _shared(own: list[str], other: list[str], offset: int) -> tuple[int, int]:
    """Residues and pairs of neighbours that are the same where the other begins at an offset."""
    same = [0 <= k < len(own) and own[k] == residue for k, residue in enumerate(other, start=offset)]
    return sum(same), sum(a and b for a, b in pairwise(same))


def known_pairs(sequence: str, training: Sequence[str]) -> float:
    """Share of the pairs of neighbouring residues, caps included, that some training sequence has; 1 without pairs."""
    own = list(pairwise(sequence.split("-")))
    known = {pair for other in training for pair in pairwise(other.split("-"))}
    return sum(pair in known for pair in own) / len(own) if own else 1.0


def mean_tokens(bound: BoundPeptide, seed: int = 0) -> Tensor:
    """Mean of each token's slow axes over draws from the model's equilibrium, [tokens, k]."""
    import torch

    from latentmd.core.steps.torsions import EVER

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        nothing = torch.zeros(_DRAWS, bound.n_tokens, bound.n_slow)
        noise = torch.randn(_DRAWS, bound.torsion_noise, generator=generator)
        slow: Tensor = bound.latent(bound.draw(nothing, torch.full((_DRAWS,), EVER), noise))
    return slow.mean(0)


def latent_distance(tokens: Tensor, kinds: Tensor, trained: Tensor, trained_kinds: Tensor) -> float:
    """Distance of a peptide's tokens [tokens, k] to the nearest training token of their kind, the largest of the
    tokens.

    In units of what separates a training token of that type from its own nearest neighbour (the median): near 1 where
    the peptide is as near to the training set as that is to itself, infinite where a type has fewer than three training
    tokens.
    """
    import torch

    found = []
    for kind in kinds.unique():
        known = trained[trained_kinds == kind].float()
        if len(known) < 3:
            return float("inf")
        between = torch.cdist(known, known).fill_diagonal_(float("inf")).min(1).values
        own = torch.cdist(tokens[kinds == kind].float(), known).min(1).values
        found.append(float((own / between.median()).max()))
    return max(found)
