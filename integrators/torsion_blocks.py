"""Which torsions of a System a jump moves together, and where it may send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Ints
from latentmd.integrators.openmm_selection import sub_topology
from latentmd.integrators.torsion_table import TorsionTable
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import acyclic_torsions, amide_torsions, rotatable_torsions

if TYPE_CHECKING:
    from openmm import app


@dataclass(frozen=True)
class TorsionBlock:
    """Torsions that one jump moves together.

    Attributes:
        name: to report it by.
        quads: atoms of each torsion, indices in the System, shape (torsions, 4).
        table: proposals of as many torsions.
    """

    name: str
    quads: Ints
    table: TorsionTable

    def __post_init__(self) -> None:
        if self.quads.shape != (self.table.torsions, 4):
            raise ValueError(
                f"block {self.name!r} has atoms of shape {self.quads.shape}, its table {self.table.torsions} torsions;"
                f" expected ({self.table.torsions}, 4)"
            )


def backbone_blocks(topology: app.Topology, atoms: Sequence[int] | None = None) -> list[TorsionBlock]:
    """Blocks (phi, psi) of every residue that has both, psi alone of proline, with uniform proposals.

    Blocks are named by residue and number, such as ALA2, with the chain before them where there are several.

    Args:
        topology: of the System, with bonds.
        atoms: of the solute; all where None.
    """
    chosen = None if atoms is None else set(atoms)
    bonded = {frozenset((bond[0].index, bond[1].index)) for bond in topology.bonds()}
    found = []
    for chain in topology.chains():
        residues = list(chain.residues())
        named = [{atom.name: atom.index for atom in residue.atoms()} for residue in residues]
        for residue, before, own, after in zip(residues[1:], named, named[1:], named[2:], strict=False):
            if not ({"N", "CA", "C"} <= own.keys() and "C" in before and "N" in after):
                continue
            phi, psi = (before["C"], own["N"], own["CA"], own["C"]), (own["N"], own["CA"], own["C"], after["N"])
            if not {frozenset(phi[:2]), frozenset(psi[2:])} <= bonded:
                continue  # a gap in the chain
            quads = np.array([psi] if residue.name == "PRO" else [phi, psi])
            if chosen is None or chosen >= set(quads.ravel().tolist()):
                found.append((chain.id, f"{residue.name}{residue.id}", quads))
    several = len({chain for chain, _, _ in found}) > 1
    return [
        TorsionBlock(f"{chain}:{name}" if several else name, quads, TorsionTable.uniform(len(quads)))
        for chain, name, quads in found
    ]


def bond_blocks(topology: app.Topology, atoms: Sequence[int]) -> list[TorsionBlock]:
    """A block for each bond of a solute that turns and is in no ring, amides apart, with uniform proposals.

    Args:
        topology: of the System, with the solute's bonds.
        atoms: of the solute, indices in the System.
    """
    rows, every = np.array(atoms), list(topology.atoms())
    symbols, bonds = topology_arrays(sub_topology(topology, list(atoms)))
    fixed = {tuple(quad[1:3]) for quad in amide_torsions(symbols, bonds).tolist()}
    quads, _ = acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(rows))
    free = [rows[quad] for quad in quads if tuple(quad[1:3].tolist()) not in fixed]
    return [
        TorsionBlock("-".join(every[i].name for i in quad), quad[None], TorsionTable.uniform(1, least=4))
        for quad in free
    ]
