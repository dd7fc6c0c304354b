"""How far a model can be trusted for a peptide that it was not trained on: by sequence, by latent tokens, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from latentmd.model.manifest import ZeroShot
from latentmd.model.peptide_file import NAME, PeptideFile
from latentmd.molecule.chain import CAPS, Chain
from latentmd.units import percent

if TYPE_CHECKING:
    from torch import Tensor

    from latentmd.model.bound_peptide import BoundPeptide

_DRAWS = 256  # latents drawn from the model's equilibrium; their mean stands for a token


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
    return [name for name in sequence.split("-") if name.upper() not in CAPS]


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

    from latentmd.core.steps.angles import EVER

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        nothing = torch.zeros(_DRAWS, bound.n_tokens, bound.n_slow)
        noise = torch.randn(_DRAWS, bound.torsion_noise, generator=generator)
        slow: Tensor = bound.latent(bound.draw(nothing, torch.full((_DRAWS,), EVER), noise))
    return slow.mean(0)


def latent_distance(tokens: Tensor, kinds: Tensor, trained: Tensor, trained_kinds: Tensor) -> float:
    """Distance of a peptide's tokens [tokens, k] to the nearest training token of their kind; the largest of them.

    In units of what separates a training token of that type from its own nearest neighbour (the median): near 1 where a
    peptide is as near to the training set as that is to itself, infinite for a type with fewer than three tokens there.
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


def measured(bound: BoundPeptide, found: Chain, file: PeptideFile) -> ZeroShot:
    """How near a bound peptide is to the training set of its model."""
    import torch

    trained = file.manifest.sequences
    distance = None
    if {"tokens", "kinds"} <= set(file.statistics):
        tokens, kinds = mean_tokens(bound), torch.from_numpy(found.types[:, 0])
        distance = latent_distance(tokens, kinds, file.statistics["tokens"], file.statistics["kinds"])
        distance = distance if math.isfinite(distance) else None
    return ZeroShot(
        model=file.manifest.name, sha256=file.sha256, sequence=found.sequence, trained=found.sequence in trained,
        nearest=nearest_sequences(found.sequence, trained), pairs=known_pairs(found.sequence, trained),
        latent_distance=distance,
    )  # fmt: skip


def zero_shot_lines(found: ZeroShot, source: str, sound: float | None = None) -> list[str]:
    """A line each on training, neighbours, latent distance, checks (share that passes) and what to do next."""
    lines = zero_shot_facts(found)
    if sound is not None:
        lines.append(f"structure checks: {percent(sound, 1)} of frames pass")
    exact, *tuned = next_commands(found, source)
    then = ", then ".join(f"`{command}`" for command in tuned)
    lines.append(f"to go on: exact statistics, `{exact}`; a model fine-tuned on MD of this molecule, {then}")
    return lines


def zero_shot_facts(found: ZeroShot) -> list[str]:
    """A line each on training, neighbours in sequence and latent distance."""
    lines = [
        f"this sequence is one of those that the model {found.model} was trained on, together with others"
        if found.trained
        else f"zero-shot: not trained on this molecule; the model {found.model} knows others like it"
    ]
    total = len(_residues(found.sequence))
    near = ", ".join(f"{sequence} ({shared} of {total} residues in place)" for sequence, shared in found.nearest)
    lines.append(
        f"nearest training sequences: {near}; {percent(found.pairs)} of its pairs of neighbours occur in training"
    )
    if found.latent_distance is not None:
        lines.append(
            f"latent distance to the training set: {found.latent_distance:.1f} "
            "(1: as far as training peptides are from one another)"
        )
    return lines


def next_commands(found: ZeroShot, source: str) -> list[str]:
    """Commands to go on with: exact statistics; then MD of the molecule, and a model fine-tuned on it."""
    start = NAME if found.model == NAME else f"{found.model}.pt"  # a trained model has the name of its file
    stem, source = quote(Path(source).name.removesuffix(".pdb")), quote(source)
    return [
        f"latentmd simulate {source} --wall 10min",
        f"latentmd md {source} --time 20ns --out {stem}-md",
        f"latentmd train finetune {stem}-md/walker-*.xtc --top {stem}-md/topology.pdb --from {start} --out {stem}.pt",
    ]
