"""Shared by both ASE adapters: the model, and ASE Atoms checked against the molecule it covers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentmd.arrays import Doubles
from latentmd.model.file import Bundle, Manifest
from latentmd.model.propagator import Propagator
from latentmd.molecule.bonds import make_whole, spanning_tree
from latentmd.molecule.chemistry import chemistry
from latentmd.units import ANGSTROM

if TYPE_CHECKING:
    from ase import Atoms

Model = str | Path | Bundle | Propagator

_LONGEST_BOND = 0.3  # nm; beyond it, the atoms are taken to be in another order than the model's


def as_propagator(model: Model, device: str) -> Propagator:
    """The model itself where it is a Propagator (which adapters can share), else a new one."""
    return model if isinstance(model, Propagator) else Propagator(model, device)


class ModelMolecule:
    """The molecule of a manifest as ASE sees it: symbols and bonds, in the model's order of atoms.

    Args:
        manifest: of the model.
    """

    def __init__(self, manifest: Manifest) -> None:
        from openmm import app

        record = chemistry(app.PDBFile(io.StringIO(manifest.topology)).topology)
        self.name = f"model {manifest.name!r}" if manifest.name else "the model"
        self.symbols, self.labels = record.symbols, record.labels
        self.numbers = np.array([app.Element.getBySymbol(symbol).atomic_number for symbol in record.symbols])
        self.tree = spanning_tree(record.n_atoms, record.bonds)  # (child, parent), parents first
        self._bonds = np.array(self.tree, dtype=np.int64).reshape(-1, 2)

    def check(self, atoms: Atoms) -> None:
        """Refuse Atoms that are not this molecule, or whose atoms are in another order.

        Raises:
            ValueError: the number of atoms, an element, or the length of a bond says so.
        """
        self.check_elements(atoms)
        self.check_bonds(self.whole(atoms))

    def check_elements(self, atoms: Atoms) -> None:
        """Refuse Atoms with another number of atoms or other elements.

        Raises:
            ValueError: that is so.
        """
        if len(atoms) != len(self.symbols):
            raise ValueError(f"{self.name} covers a molecule of {len(self.symbols)} atoms, found {len(atoms)}")
        if not np.array_equal(atoms.numbers, self.numbers):
            index = int(np.flatnonzero(atoms.numbers != self.numbers)[0])
            raise ValueError(
                f"atom {index} is {atoms[index].symbol}, expected {self.symbols[index]} ({self.labels[index]} of "
                f"{self.name}); `latentmd inspect` prints the molecule and its order of atoms"
            )

    def check_bonds(self, positions: Doubles) -> None:
        """Refuse positions [N, 3] or [B, N, 3] nm in which bonded atoms are far apart.

        Raises:
            ValueError: a bond is too long.
        """
        vectors = positions[..., self._bonds[:, 0], :] - positions[..., self._bonds[:, 1], :]
        lengths = np.sqrt(np.square(vectors).sum(axis=-1))
        if np.any(lengths > _LONGEST_BOND):
            row = np.unravel_index(int(np.argmax(lengths > _LONGEST_BOND)), lengths.shape)
            child, parent = self.tree[row[-1]]
            raise ValueError(
                f"atoms {child} and {parent} are {lengths[row] / ANGSTROM:.2f} Å apart, but {self.labels[child]} and "
                f"{self.labels[parent]} of {self.name} are bonded; put the atoms in the model's order"
            )

    def whole(self, atoms: Atoms) -> Doubles:
        """Positions [N, 3] in nm with no bond across a face of the periodic cell.

        Raises:
            ValueError: positions that are not finite.
        """
        x: Doubles = ANGSTROM * atoms.positions
        if not np.isfinite(x).all():
            raise ValueError("positions are not finite; expected a structure of the molecule")
        if atoms.pbc.any():
            cell = ANGSTROM * np.asarray(atoms.cell.complete())
            return make_whole(x, self.tree, cell, atoms.pbc)
        return x
