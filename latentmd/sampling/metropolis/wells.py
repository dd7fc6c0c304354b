"""States of a molecule that chains report: for every torsion, which of its wells it is in.

One definition for everything that is counted, tested or compared: an interval of one torsion, in degrees.

- φ: above 0; ψ: between -120 and 60 (helical), the rest being extended;
- amides that may be cis: within 90 of 0;
- bonds of a ring between atoms with four neighbours (puckers): above 0;
- bonds to a flat group that looks the same after half a turn (carboxylate, phenyl): three parts of half a turn;
- every other bond (side chains, ligands): 0 to 120 (g+), 120 to 240 (t), 240 to 360 (g-).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.molecule.bonds import equivalence_classes
from latentmd.molecule.checks import neighbour_lists, topology_arrays
from latentmd.molecule.torsions import acyclic_torsions, amide_torsions


@dataclass(frozen=True)
class Well:
    """An interval of one torsion.

    Attributes:
        name: such as "phi ALA2 > 0" or "chi1 LEU3 g+".
        torsion: its column.
        low, high: degrees, low < high <= low + period; the lower end belongs to the well.
        period: degrees after which the torsion is the same: 180 for a flat symmetric group, else 360.
    """

    name: str
    torsion: int
    low: float
    high: float
    period: float = 360.0

    def inside(self, angles: Floats) -> Bools:
        """Whether torsions (..., torsions) in radians are in the well, shape (...)."""
        turned = (np.rad2deg(angles[..., self.torsion]) - self.low) % self.period
        return np.asarray(turned < self.high - self.low)


def wells(topology: Any, quads: Ints, names: Sequence[str]) -> tuple[Well, ...]:
    """The wells of a molecule's torsions.

    Args:
        topology: of OpenMM or mdtraj.
        quads: atoms of torsions, shape (torsions, 4).
        names: of the torsions, from `latentmd.molecule.torsions.torsion_name`.
    """
    symbols, bonds = topology_arrays(topology)
    around = neighbour_lists(len(symbols), bonds)
    open_ = {tuple(quad) for quad in acyclic_torsions(quads, bonds, len(symbols))[0].tolist()}
    amides = {tuple(quad) for quad in amide_torsions(symbols, bonds).tolist()}
    classes = equivalence_classes(symbols, bonds.tolist())
    found = []
    for torsion, (quad, name) in enumerate(zip(quads.tolist(), names, strict=True)):
        middle = quad[1:3]
        if tuple(quad) not in open_:
            if all(len(around[i]) == 4 for i in middle):
                found.append(Well(f"{name} > 0", torsion, 0.0, 180.0))
        elif tuple(quad) in amides:
            if not any(symbols[i] == "N" and any(symbols[j] == "H" for j in around[i]) for i in middle):
                found.append(Well(f"{name} cis", torsion, -90.0, 90.0))
        elif name.startswith("phi "):
            found.append(Well(f"{name} > 0", torsion, 0.0, 180.0))
        elif name.startswith("psi "):
            found.append(Well(f"{name} helical", torsion, -120.0, 60.0))
        elif _symmetric(quad, around, classes, symbols):
            found += [Well(f"{name} {low} to {low + 60}", torsion, low, low + 60.0, 180.0) for low in (0, 60, 120)]
        else:
            sectors = (("g+", 0.0), ("t", 120.0), ("g-", 240.0))
            found += [Well(f"{name} {sector}", torsion, low, low + 120.0) for sector, low in sectors]
    return tuple(found)


def _symmetric(quad: list[int], around: list[list[int]], classes: list[int], symbols: list[str]) -> bool:
    """Whether one end of a torsion's bond is a flat carbon with two equivalent neighbours."""
    for here, there in (quad[1:3], quad[2:0:-1]):
        others = [classes[i] for i in around[here] if i != there]
        if symbols[here] == "C" and len(others) == 2 and others[0] == others[1]:
            return True
    return False
