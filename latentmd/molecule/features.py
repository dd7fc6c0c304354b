"""Features of the atoms of a molecule and their bond-graph distances, as tensors for an encoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latentmd.molecule.bonds import separations
from latentmd.molecule.chemistry import AMINO_ACIDS, ATOMIC_WEIGHTS, Chemistry, Topology, chemistry, residue_tokens

MAX_SEPARATION = 4  # bond-graph distances are told apart up to 3 (torsions); 4 stands for further or not bonded
MAX_DEGREE = 4

# The order of these lists is part of every trained model: append, never insert. Id 0 is "unknown".
ELEMENTS = tuple(ATOMIC_WEIGHTS)
HYDROGEN = ELEMENTS.index("H") + 1
RESIDUES = (*sorted(AMINO_ACIDS), "ACE", "NME", "NH2", "HOH")
HEAVY_SITES = (
    "N CA C O OXT CH3 CB CG CG1 CG2 CD CD1 CD2 CE CE1 CE2 CE3 CZ CZ2 CZ3 CH2"
    " ND1 ND2 NE NE1 NE2 NZ NH1 NH2 OD1 OD2 OE1 OE2 OG OG1 OH SD SG"
).split()
SITES = (*HEAVY_SITES, *(f"H on {name}" for name in HEAVY_SITES), "H on other")

#: Vocabulary sizes of element, residue type, site and degree.
FEATURE_SIZES: tuple[int, int, int, int] = (len(ELEMENTS) + 1, len(RESIDUES) + 1, len(SITES) + 1, MAX_DEGREE + 1)


class MoleculeGraph(NamedTuple):
    """The parts of a molecule's graph that do not move; features [atoms, 4] are element, residue type, site and degree.

    The site of a hydrogen is its parent's ("H on CB"); distances [atoms, atoms] end at 4, also for unconnected atoms.
    """

    features: Tensor
    separation: Tensor
    tokens: Tensor


def molecule_graph(topology: Topology) -> MoleculeGraph:
    """Graph of a molecule from an mdtraj.Topology, openmm.app.Topology or Chemistry."""
    record = chemistry(topology)
    return MoleculeGraph(
        features=atom_features(record),
        separation=torch.from_numpy(separations(record.n_atoms, record.bonds, MAX_SEPARATION)),
        tokens=torch.tensor(residue_tokens(record), dtype=torch.long),
    )


def atom_features(record: Chemistry) -> Tensor:
    """Element, residue type, site and degree of each atom, [atoms, 4] long."""
    neighbours = record.neighbours()
    rows = []
    for i, symbol in enumerate(record.symbols):
        site = record.names[i]
        if symbol == "H":
            parent = record.names[neighbours[i][0]] if neighbours[i] else ""
            site = f"H on {parent}" if parent in HEAVY_SITES else "H on other"
        ids = (_identifier(ELEMENTS, symbol), _identifier(RESIDUES, record.residues[i]), _identifier(SITES, site))
        rows.append((*ids, min(len(neighbours[i]), MAX_DEGREE)))
    return torch.tensor(rows, dtype=torch.long)


def _identifier(vocabulary: tuple[str, ...], name: str) -> int:
    return vocabulary.index(name) + 1 if name in vocabulary else 0
