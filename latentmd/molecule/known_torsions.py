"""Torsions of a chain that the coordinates of some of its atoms tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.molecule.chain import SLOTS, Chain
from latentmd.molecule.checks import torsions

_PSI, _PHI = SLOTS.index("psi"), SLOTS.index("phi")


@dataclass(frozen=True)
class KnownTorsions:
    """Which torsions (tokens, slots) are known, the atoms to measure them by, and radians to add to them. Picklable."""

    known: Bools
    quads: Ints
    turn: Floats

    def measure(self, positions: Floats) -> Floats:
        """Torsions in radians, 0 where not known, shape (frames, tokens, slots); only the given atoms count."""
        found = np.zeros((len(positions), *self.known.shape), dtype=np.float32)
        if self.known.any():
            values = torsions(positions, self.quads[self.known]) + self.turn[self.known]
            found[:, self.known] = np.remainder(values + np.pi, 2 * np.pi) - np.pi
        return found


def known_torsions(chain: Chain, given: Ints) -> KnownTorsions:
    """Torsions that given atoms tell.

    Where the atom that ends phi or psi is not given, another one on the planar nitrogen or carbon stands for it, half a
    turn away: the hydrogen (of proline the delta carbon) for the carbon before, the oxygen for the nitrogen after.
    """
    there, neighbours = set(given.tolist()), chain.record.neighbours()
    known, quads = np.zeros_like(chain.mask), np.array(chain.quads)
    turn = np.zeros(known.shape)
    for token, slot in np.argwhere(chain.mask):
        quad = [int(atom) for atom in chain.quads[token, slot]]
        missing = [place for place in range(4) if quad[place] not in there]
        if missing == [{_PSI: 0, _PHI: 3}.get(int(slot))]:
            (end,) = missing
            anchor = quad[1] if end == 0 else quad[2]
            others = [atom for atom in neighbours[anchor] if atom in there and atom not in quad]
            quad[end], turn[token, slot] = (others[0], np.pi) if others else (quad[end], 0.0)
        known[token, slot] = set(quad) <= there
        quads[token, slot] = quad
    return KnownTorsions(known, quads, turn)
