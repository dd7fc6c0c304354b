"""Whether two lists of atoms have the same order, by name and element."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from latentmd.molecule.chemistry import FileTopology


class Named(NamedTuple):
    """What is known of an atom; name and element are "" where a file has none."""

    residue: int
    label: str
    name: str
    element: str


def order_difference(found: Sequence[Named], expected: Sequence[Named]) -> str:
    """Say which atoms of a list are not those expected at their places; empty where the order is the same.

    Elements must agree where both are known. Programs name hydrogens and caps differently: where a residue has the same
    names in both lists, each must be at its place; where it has not, only heavy atoms whose name is in both are
    compared.
    """
    wrong = []
    for _, group in groupby(range(len(expected)), key=lambda i: expected[i].residue):
        rows = list(group)
        ours, theirs = [expected[i].name for i in rows], [found[i].name for i in rows]
        same, shared = sorted(ours) == sorted(theirs), {*ours} & {*theirs}
        for i in rows:
            a, b = found[i], expected[i]
            named = same or (b.element != "H" and a.name in shared and b.name in shared)
            if (named and a.name != b.name) or (a.element and b.element and a.element != b.element):
                wrong.append(f"atom {i + 1} is {a.label}, expected {b.label}")
    return ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def named_atoms(topology: FileTopology) -> list[Named]:
    """Atoms of an mdtraj or OpenMM topology, to be compared."""
    atoms = topology.atoms
    rows = []
    for atom in atoms() if callable(atoms) else atoms:
        symbol = "" if atom.element is None else str(atom.element.symbol)
        label = f"{atom.residue.name}{atom.residue.index + 1}-{atom.name}"
        rows.append(Named(int(atom.residue.index), label, str(atom.name), "H" if symbol == "D" else symbol))
    return rows
