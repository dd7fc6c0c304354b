"""Design: which residues might stand in a gap, from the dynamics of the residues around it, and the page about it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.core.steps.angles import EVER
from latentmd.io.atomic import write_csv
from latentmd.io.progress import Progress, quiet
from latentmd.model.peptide_file import NAME, PeptideFile, load_peptides, peptides_sha256
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import SLOTS, TYPES, Chain, KnownTorsions, chain, known_torsions
from latentmd.molecule.closure import closures
from latentmd.report import figures
from latentmd.report.markup import table
from latentmd.report.page import Section
from latentmd.units import percent

_OMEGA, _PHI, _PSI = (SLOTS.index(name) for name in ("omega", "phi", "psi"))
_FRAMES, _DRAWS = 60, 32  # of the trajectory that are looked at, and closures of each
_FIRST, _KEPT = 4, 4  # all candidates are weighed on one frame in so many, one candidate in so many on the others
_OUTLIERS = 4.0  # evidence of a frame whose closures all miss, in units of the candidates' mean
_SHOWN = 10  # combinations
_MOST = 2  # residues at once
_VARIANTS = {"HID": "HIS", "HIE": "HIS", "HIP": "HIS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "CYM": "CYS"}


@dataclass(frozen=True)
class Design:
    """Names of residue types, their probability [places, types], and the likeliest combinations, best first."""

    types: tuple[str, ...]
    probability: Doubles
    pairs: tuple[tuple[tuple[str, ...], float], ...]


class Gap:
    """Missing residues, by their tokens, between two known ones; what the chain says about the missing is not looked
    at. ValueError: too many, not beside each other, or without a residue on either side.
    """

    def __init__(self, peptide: Chain, missing: Sequence[int]) -> None:
        numbers = sorted(missing)
        if len(numbers) > _MOST or numbers != list(range(numbers[0], numbers[-1] + 1)):
            raise ValueError(f"--design weighs one residue, or {_MOST} beside each other; {len(numbers)} are named")
        self.before, self.after, self.missing = numbers[0] - 1, numbers[-1] + 1, numbers
        atoms = [self._backbone(peptide, token) for token in (self.before, self.after)]
        if any(len(found) < 3 for found in atoms):
            raise ValueError(
                "--design needs a residue with N, CA and C on either side of those it weighs; the ends of "
                "the chain, and residues beside a cap, cannot be weighed"
            )
        self.atoms = atoms

    @staticmethod
    def _backbone(peptide: Chain, token: int) -> list[int]:
        if not 0 <= token < len(peptide.names):
            return []
        record = peptide.record
        residue = sorted(set(record.residue_index))[token]
        own = {n: i for i, n in enumerate(record.names) if record.residue_index[i] == residue}
        return [own[name] for name in ("N", "CA", "C") if name in own]

    def closed(self, which: KnownTorsions, x: Floats, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Torsions [frames · draws, tokens, slots] of frames x [frames, atoms, 3] in nm with the gap closed in
        several ways, side chains of the missing residues aside, and which are known [tokens, slots].
        """
        told = torch.from_numpy(which.measure(x))
        first, last = (torch.from_numpy(np.asarray(x[:, atoms])) for atoms in self.atoms)
        psi, phi = told[:, self.before, _PSI], told[:, self.after, _PHI]
        ways = closures(first, last, psi, phi, missing=len(self.missing), draws=draws, generator=generator)
        found = ways.flatten(0, 1)
        angles, known = told.repeat_interleave(draws, dim=0), torch.from_numpy(which.known.copy())
        inner = itertools.product(self.missing, (_OMEGA, _PHI, _PSI))
        for column, (token, slot) in enumerate([(self.before, _PSI), *inner, (self.after, _OMEGA), (self.after, _PHI)]):
            angles[:, token, slot], known[token, slot] = found[:, column], True
        return angles, known


class Weighing:
    """Evidence of residue types for a gap, frame by frame.

    p(frame | types) is the density at lag ∞ of all torsions that are known, averaged over the ways to close the gap;
    side chains of the missing residues are drawn. Each residue is taken in its usual protonation state.
    """

    def __init__(self, file: PeptideFile, peptide: Chain, gap: Gap, generator: torch.Generator) -> None:
        self.model, self.generator, self.gap = file.model, generator, gap
        self.types, self.mask = torch.from_numpy(peptide.types), torch.from_numpy(peptide.mask)
        counts = file.statistics["table_counts"].sum(-1)  # [types, places, slots]
        self.there = counts > 0
        places = self.types[gap.missing, 1].tolist()
        self.candidates = list(itertools.product(*(_forms(counts[:, place].sum(-1)) for place in places)))

    @torch.no_grad()
    def evidence(self, candidate: tuple[int, ...], angles: Tensor, known: Tensor, draws: int) -> Tensor:
        """ln p of each frame, [frames], for one type of each missing residue; angles and known from `Gap.closed`."""
        types, mask = self.types.clone(), self.mask.clone()
        for token, kind in zip(self.gap.missing, candidate, strict=True):
            types[token, 0] = kind
            mask[token] = self.there[kind, types[token, 1]]
        step, types, mask = self.model.step, types.unsqueeze(0), mask.unsqueeze(0)
        uniform = torch.rand(angles.shape, generator=self.generator).clamp(1e-6, 1 - 1e-6)
        nothing = angles.new_zeros(1, types.shape[1], step.axes)
        _, log_density = step.complete(
            nothing, types, mask, torch.tensor([EVER]), uniform, angles=angles, known=known & mask
        )
        return torch.logsumexp(log_density.reshape(-1, draws), dim=1) - math.log(draws)


def _forms(counts: Tensor) -> list[int]:
    """Of every residue the form, by protonation, that training saw most; counts [types]."""
    best: dict[str, int] = {}
    for kind in counts.nonzero().flatten().tolist():
        name = _VARIANTS.get(TYPES[kind], TYPES[kind])
        if name not in best or counts[kind] > counts[best[name]]:
            best[name] = kind
    return list(best.values())


def design(
    file: PeptideFile,
    peptide: Chain,
    missing: Sequence[int],
    which: KnownTorsions,
    x: Floats,
    *,
    seed: int,
    report: Progress = quiet,
) -> Design:
    """Weigh residue types for missing residues by Bayes' rule, all types equally likely before.

    Frames x [frames, atoms, 3] in nm, mirrored for a peptide of D residues, count as independent draws from
    equilibrium; at most 60 of them, evenly spread, are looked at. A frame whose closures all miss the structure
    tells nothing: its evidence is mixed with a constant, the candidates' mean times four. All combinations are weighed
    on a quarter of the frames, the best quarter of them on all.
    """
    gap, generator = Gap(peptide, missing), torch.Generator().manual_seed(seed)
    chosen = x[np.unique(np.linspace(0, len(x) - 1, min(_FRAMES, len(x))).astype(int))]
    angles, known = gap.closed(which, chosen, _DRAWS, generator)
    weighing = Weighing(file, peptide, gap, generator)
    rows = torch.arange(len(angles)).reshape(len(chosen), _DRAWS)
    everyone = list(range(len(weighing.candidates)))
    steps = len(everyone) + len(everyone) // _KEPT

    def scores(among: list[int], part: Tensor, done: int) -> Tensor:
        """ln of the product of the frames' evidence for some candidates, each mixed with a constant."""
        found = []
        for number, k in enumerate(among):
            found.append(weighing.evidence(weighing.candidates[k], angles[part.flatten()], known, _DRAWS))
            report("weighing residue types", done + number + 1, steps)
        each = torch.stack(found).double()
        mean = torch.logsumexp(each, dim=0) - math.log(len(found))
        return torch.logaddexp(each, mean + math.log(_OUTLIERS)).sum(dim=1)

    few, others = rows[::_FIRST], rows[torch.arange(len(rows)) % _FIRST > 0]
    score = scores(everyone, few, 0)
    if len(others):
        best = score.argsort(descending=True)[: len(everyone) // _KEPT]
        whole = score[best] + scores(best.tolist(), others, len(everyone))
        score = (score - score.max()) * len(rows) / len(few) + whole.max()  # as if the other frames were like those
        score[best] = whole
    return _probabilities(weighing.candidates, torch.softmax(score, dim=0).numpy(), len(missing))


def _probabilities(candidates: Sequence[tuple[int, ...]], share: Doubles, places: int) -> Design:
    pairs = {
        tuple(_VARIANTS.get(TYPES[k], TYPES[k]) for k in kinds): float(p)
        for kinds, p in zip(candidates, share, strict=True)
    }
    types = tuple(sorted({name for pair in pairs for name in pair}))
    table = np.zeros((places, len(types)))
    for pair, p in pairs.items():
        for place, name in enumerate(pair):
            table[place, types.index(name)] += p
    return Design(types, table, tuple(sorted(pairs.items(), key=lambda item: -item[1])[:_SHOWN]))


FILE = "design.csv"
_LISTED = 5  # combinations in the table


def weigh(propagator: Propagator, hidden: Bools, known: Ints, x: Floats, seed: int, report: Progress) -> Design:
    """Weigh residue types for hidden residues of a bound peptide by the known atoms of x [frames, atoms, 3] in nm."""
    topology, own = propagator.molecule()
    hand = propagator.module.hand.numpy()
    peptide, file = chain(topology, own * hand), load_peptides(_origin(propagator))
    missing, which = np.flatnonzero(hidden).tolist(), known_torsions(peptide, known)
    return design(file, peptide, missing, which, x * hand, seed=seed, report=report)


def write_design(folder: Path, found: Design, numbers: tuple[int, ...]) -> dict[str, str]:
    """Write design.csv; returns the likeliest type of each residue, by its number in the PDB file."""
    each = list(zip(numbers, found.probability, strict=True))
    rows = [(n, name, f"{p:.6f}") for n, share in each for name, p in zip(found.types, share, strict=True)]
    write_csv(folder / FILE, ("residue", "type", "probability"), rows)
    return {str(n): found.types[int(share.argmax())] for n, share in each}


def design_section(found: Design, numbers: tuple[int, ...]) -> Section:
    """Section of the page, with a picture."""
    made, axes = figures.figure(len(numbers), 1, width=7.0, height=1.8)
    for axis, number, share in zip(axes, numbers, found.probability, strict=True):
        axis.bar(found.types, share, color=figures.GENERATED)
        axis.axhline(1 / len(found.types), ls="--", lw=0.8, color=figures.REFERENCE)
        axis.set(ylabel=f"residue {number}", ylim=(0, 1))
        axis.tick_params(axis="x", labelsize=7, rotation=60)
    rows = [("-".join(pair), percent(p, 1)) for pair, p in found.pairs[:_LISTED]]
    text = (
        "Probability of each residue type, given the dynamics of the other residues, all types equally likely "
        f"before; {FILE} has the numbers. Right as far as the model is, and as the frames are independent."
    )
    pictures = [(figures.png(made), "Dashed: before anything was looked at.")]
    return Section("Which residues these might be", text, table(("residues", "probability"), rows), pictures)


def check_design(propagator: Propagator, hidden: Bools) -> None:
    """Refuse residues that cannot be weighed, or a model that knows one molecule only, before anything is read."""
    _origin(propagator)
    Gap(chain(*propagator.molecule()), np.flatnonzero(hidden).tolist())


def _origin(propagator: Propagator) -> str:
    """Name of the model of many peptides that a model is bound from; ValueError where there is none at hand."""
    origin, name = propagator.manifest.zero_shot, propagator.manifest.name
    if origin is None:
        raise ValueError(
            f"--design needs a model that knows other residues; {name} knows one molecule. Bind the model of many "
            "peptides to yours, `latentmd bind PDB --out my.pt`, and give --model my.pt"
        )
    if origin.model != NAME or origin.sha256 != peptides_sha256():
        raise ValueError(
            f"{name} was bound from {origin.model}, which is not the bundled model of many peptides of this version; "
            "bind yours again, `latentmd bind PDB --out my.pt`"
        )
    return NAME
