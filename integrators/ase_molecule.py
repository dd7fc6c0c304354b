"""Shared by both ASE adapters: the model, and ASE Atoms matched to the molecule it covers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from latentmd.arrays import Doubles, Ints
from latentmd.model.file import Bundle, Manifest
from latentmd.model.propagator import Propagator
from latentmd.molecule.bonds import make_whole, spanning_tree
from latentmd.molecule.chemistry import Chemistry, chemistry
from latentmd.units import ANGSTROM

Model = str | Path | Bundle | Propagator

# Times the sum of covalent radii (Cordero et al., Dalton Trans. 2832, 2008). Atoms two bonds apart are 1.65 or further.
_BONDED = 1.3  # atoms nearer than this are taken to be bonded
_STRETCHED = 1.5  # a bond of the model longer than this is none: atoms are in another order, or it is broken


def as_propagator(model: Model, device: str, dtype: str | None = None) -> Propagator:
    """The model itself where it is a Propagator of that dtype (which adapters can share), else a new one."""
    if isinstance(model, Propagator):
        if dtype is None or str(model.dtype) == f"torch.{dtype}":
            return model
        return Propagator(model.bundle, str(model.device), dtype=dtype)
    if not isinstance(model, str | Path | Bundle):
        what = type(model).__name__
        raise TypeError(f"model is a {what}; expected a name or path of a model, a Bundle or a Propagator")
    return Propagator(model, device, dtype=dtype)


class ModelMolecule:
    """The molecule of a manifest as ASE sees it: elements and distances, since Atoms have no bonds."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        record = chemistry(manifest.molecule()[0])
        self.name = manifest.called
        self.symbols, self.labels = record.symbols, record.labels
        self.numbers = np.array([atomic_numbers[symbol] for symbol in record.symbols])
        self.tree = spanning_tree(record.n_atoms, record.bonds)  # (child, parent), parents first
        self._bonds = np.array(record.bonds, dtype=np.int64).reshape(-1, 2)
        radii = ANGSTROM * covalent_radii[self.numbers]
        self._longest = _STRETCHED * radii[self._bonds].sum(axis=1)

    def order(self, atoms: Atoms, before: Ints | None = None) -> Ints:
        """For each atom of the model its index in the Atoms, kept from `before` where that fits, else by distances."""
        if not isinstance(atoms, Atoms):
            raise TypeError(f"atoms is a {type(atoms).__name__}; expected ase.Atoms")
        if len(atoms) != len(self.numbers):
            raise ValueError(f"{self.name} covers a molecule of {len(self.numbers)} atoms, found {len(atoms)}")
        order, long = np.arange(len(atoms)) if before is None else before, ""
        if np.array_equal(atoms.numbers[order], self.numbers):
            x = self.whole(atoms, order)
            long = self._long_bond(x, order)
            if not long and before is not None:
                return order
            if not long and (found := self.manifest.covers(self.manifest.molecule()[0], x)):
                return order[list(found.order)]
        answer = self.manifest.covers(*_from_distances(atoms))
        if answer:
            return np.array(answer.order, dtype=np.int64)
        raise ValueError(
            f"{self.name} does not cover these atoms: {long or answer.reason}. ASE knows no bonds: atoms nearer to "
            f"each other than {_BONDED:g} times the sum of their covalent radii count as bonded, in any order"
        )

    def _long_bond(self, positions: Doubles, order: Ints) -> str:
        """Which atoms of positions [N, 3] nm, in the model's order, are too far apart for their bond, in words."""
        lengths = np.linalg.norm(positions[self._bonds[:, 0]] - positions[self._bonds[:, 1]], axis=1)
        rows = np.flatnonzero(lengths > self._longest)
        if not len(rows):
            return ""
        i, j = self._bonds[rows[0]]
        return (
            f"atoms {order[i]} and {order[j]} are {lengths[rows[0]] / ANGSTROM:.2f} Å apart, but {self.labels[i]} and "
            f"{self.labels[j]} are bonded"
        )

    def whole(self, atoms: Atoms, order: Ints) -> Doubles:
        """Positions [N, 3] in nm, in the model's order, with no bond across a face of the periodic cell."""
        if not np.isfinite(atoms.positions).all():
            raise ValueError("positions are not finite; expected a structure of the molecule")
        return _whole(atoms, order, self.tree)


def _whole(atoms: Atoms, order: Ints, tree: Sequence[tuple[int, int]]) -> Doubles:
    x: Doubles = ANGSTROM * atoms.positions[order]
    return make_whole(x, tree, ANGSTROM * np.asarray(atoms.cell.complete()), atoms.pbc) if atoms.pbc.any() else x


def _from_distances(atoms: Atoms) -> tuple[Chemistry, Doubles]:
    """Atoms with bonds where they are near, and positions in nm with no such bond across a face of the cell."""
    from ase.neighborlist import natural_cutoffs, neighbor_list

    symbols = tuple(atoms.get_chemical_symbols())
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=_BONDED))
    bonds = tuple(sorted({(int(i), int(j)) for i, j in zip(first, second, strict=True) if i < j}))
    names = tuple(str(name).strip() for name in atoms.arrays.get("atomtypes", symbols))  # ASE's name for PDB files
    n = len(symbols)
    labels, masses = tuple(f"{s} {i}" for i, s in enumerate(symbols)), tuple(map(float, atoms.get_masses()))
    record = Chemistry(symbols, names, ("MOL",) * n, (0,) * n, masses=masses, bonds=bonds, labels=labels)
    return record, _whole(atoms, np.arange(n), spanning_tree(n, bonds))
