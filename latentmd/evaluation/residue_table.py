"""The simplest model of an unseen peptide: histograms of torsions by residue type and place, and distances to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentmd.analysis import statistics
from latentmd.arrays import Doubles, Floats
from latentmd.molecule.chain import PLACES, SLOTS, TYPES, Chain

if TYPE_CHECKING:
    from torch import Tensor

BINS, PLANE_BINS = 100, 50
#: (token, slot) of a torsion.
Place = tuple[int, int]
_PHI, _PSI = SLOTS.index("phi"), SLOTS.index("psi")


def scored_torsions(chain: Chain) -> list[tuple[int, int]]:
    """(token, slot) of each φ, ψ and side-chain torsion of heavy atoms, as evaluations of peptides count them."""
    symbols, ends = chain.record.symbols, {(0, "phi"), (len(chain.names) - 1, "psi")}
    return [
        (int(token), int(slot))
        for token, slot in zip(*np.nonzero(chain.mask), strict=True)
        if symbols[int(chain.quads[token, slot, 0])] != "H"
        and SLOTS[slot] != "omega"
        and (int(token), SLOTS[slot]) not in ends
    ]


def scored_planes(chain: Chain) -> dict[str, list[tuple[Place, Place]]]:
    """Pairs of scored torsions: "ramachandran" (φ_i, ψ_i) and "neighbours" (ψ_i, φ_i+1)."""
    known, tokens = set(scored_torsions(chain)), range(len(chain.names))
    pairs = {
        "ramachandran": [((token, _PHI), (token, _PSI)) for token in tokens],
        "neighbours": [((token, _PSI), (token + 1, _PHI)) for token in tokens],
    }
    return {name: [pair for pair in found if set(pair) <= known] for name, found in pairs.items()}


def histogram(angles: Floats, weights: Floats | None = None) -> Doubles:
    """Counts (100,) of angles in radians, of any shape."""
    return np.asarray(np.histogram(angles, BINS, (-np.pi, np.pi), weights=weights)[0], dtype=np.float64)


def plane(first: Floats, second: Floats) -> Doubles:
    """Counts (2500,) of pairs of angles (frames,) in radians, in 50 × 50 bins."""
    counts = np.histogram2d(first, second, PLANE_BINS, ((-np.pi, np.pi), (-np.pi, np.pi)))[0]
    return np.asarray(counts.ravel(), dtype=np.float64)


def js_distance(p: Floats, q: Floats) -> float:
    """Jensen–Shannon distance in √nats of two histograms (bins,); nan where one of them is empty."""
    return statistics.js_distance(p, q) if np.sum(p) > 0 and np.sum(q) > 0 else float("nan")


@dataclass(frozen=True)
class ResidueTable:
    """Histograms of training peptides: of torsions [types, places, slots, 100], and of (φ, ψ) [types, places, 2500]."""

    torsions: Doubles
    planes: Doubles

    @classmethod
    def empty(cls) -> ResidueTable:
        """A table without counts."""
        shape = (len(TYPES), len(PLACES))
        return cls(np.zeros((*shape, len(SLOTS), BINS)), np.zeros((*shape, PLANE_BINS**2)))

    @classmethod
    def of(cls, statistics: Mapping[str, Tensor]) -> ResidueTable:
        """The table of a model's training peptides, from the tensors stored with it (`PeptideFile.statistics`)."""
        return cls(*(np.asarray(statistics[key].numpy(), dtype=np.float64) for key in ("table_counts", "planes")))

    def add(self, chain: Chain, angles: Floats) -> None:
        """Count the frames [frames, tokens, slots] in radians of one peptide."""
        for token, (kind, place, d) in enumerate(chain.types[: len(chain.names)]):
            signed = (1 - 2 * d) * angles[:, token]
            for slot in np.flatnonzero(chain.mask[token]):
                self.torsions[kind, place, slot] += histogram(signed[:, slot])
            if chain.mask[token, _PHI] and chain.mask[token, _PSI]:
                self.planes[kind, place] += plane(signed[:, _PHI], signed[:, _PSI])

    def negative_log_likelihood(self, chain: Chain, frames: Floats) -> float:
        """Mean over torsions of −ln p in nats per radian, with half a count added to every bin."""
        found = []
        for token, slot in zip(*np.nonzero(chain.mask), strict=True):
            kind, place, d = chain.types[token]
            counts = self.torsions[kind, place, slot] + 0.5
            bins = np.floor(((1 - 2 * d) * frames[:, token, slot] + np.pi) / (2 * np.pi) * BINS).astype(int)
            density = counts / counts.sum() * BINS / (2 * np.pi)
            found.append(-np.log(density[np.clip(bins, 0, BINS - 1)]).mean())
        return float(np.mean(found))

    def scores(self, chain: Chain, reference: Floats) -> dict[str, float]:
        """JS distances of the table to reference frames [frames, tokens, slots]; neighbours are independent in it."""

        def one(token: int, slot: int) -> Doubles:
            kind, place, d = chain.types[token]
            counts = self.torsions[kind, place, slot]
            return np.asarray(counts[::-1] if d else counts)

        def joint(name: str, first: Place, second: Place) -> Doubles:
            kind, place, _ = chain.types[first[0]]
            if name == "ramachandran":
                return np.asarray(self.planes[kind, place])
            rows, columns = (one(*torsion).reshape(PLANE_BINS, -1).sum(1) for torsion in (first, second))
            return np.outer(rows, columns).ravel()

        torsions = [js_distance(one(t, s), histogram(reference[:, t, s])) for t, s in scored_torsions(chain)]
        out = {"torsions": float(np.mean(torsions)), "nats": self.negative_log_likelihood(chain, reference)}
        return out | _plane_scores(chain, reference, joint)


def frame_scores(chain: Chain, frames: Floats, reference: Floats) -> dict[str, float]:
    """JS distances between two sets of frames [frames, tokens, slots] in radians: "torsions", and the two planes."""

    def joint(_: str, first: Place, second: Place) -> Doubles:
        return plane(frames[:, *first], frames[:, *second])

    torsions = {
        (t, s): js_distance(histogram(frames[:, t, s]), histogram(reference[:, t, s]))
        for t, s in scored_torsions(chain)
    }
    backbone = [distance for (_, s), distance in torsions.items() if s in (_PHI, _PSI)]
    out = {"torsions": float(np.mean(list(torsions.values()))), "backbone": float(np.mean(backbone))}
    return out | _plane_scores(chain, reference, joint)


def _plane_scores(chain: Chain, reference: Floats, joint: Callable[[str, Place, Place], Doubles]) -> dict[str, float]:
    """Mean JS distance of each kind of plane; joint(kind, first, second) are the counts set beside the reference's."""
    found = {
        name: [js_distance(joint(name, a, b), plane(reference[:, *a], reference[:, *b])) for a, b in pairs]
        for name, pairs in scored_planes(chain).items()
    }
    return {name: float(np.mean(distances)) for name, distances in found.items() if distances}
