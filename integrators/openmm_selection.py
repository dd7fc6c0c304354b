"""Which atoms of an OpenMM System a model moves, checked against what the model covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path

import numpy as np
import openmm
from openmm import app

from latentmd.integrators.openmm_constraints import constraint_projector
from latentmd.model.binding import bound_manifest
from latentmd.model.file import Manifest, read_manifest
from latentmd.model.peptide_file import is_peptides, read_peptide_manifest
from latentmd.molecule.bonds import spanning_tree

_BOND = 0.2  # nm, longer than any covalent bond of a covered element pair


@dataclass(frozen=True)
class Selection:
    """The atoms a model moves, in the model's order; `pairs` and `lengths` (nm) of constraints by numbers within them.

    `tree` are (child, parent) bonds, parents first; `reach` the longest displacement, nm, that the size allows;
    `molecule` the PDB text that a model of many peptides is bound to, empty for one of one molecule.
    """

    atoms: tuple[int, ...]
    n_particles: int
    pairs: tuple[tuple[int, int], ...]
    lengths: tuple[float, ...]
    masses: tuple[float, ...]
    tree: tuple[tuple[int, int], ...]
    reach: float
    periodic: bool
    remove_momentum: bool
    molecule: str = ""


def select(
    system: openmm.System, topology: app.Topology, manifest: Manifest, atoms: Sequence[int] | None = None
) -> Selection:
    """The atoms a model moves; ValueError where they are not the molecule that it covers, or it cannot move them."""
    count = system.getNumParticles()
    if (found := topology.getNumAtoms()) != count:
        raise ValueError(f"the topology has {found} atoms, the System {count} particles; pass matching ones")
    chosen, expected = atom_indices(atoms, count), len(manifest.tokens)
    if len(chosen) != expected:
        hint = "; name the molecule's atoms with atoms=" if atoms is None and count > expected else ""
        raise ValueError(f"{manifest.called} covers a molecule of {expected} atoms, found {len(chosen)}{hint}")
    chosen = in_model_order(topology, chosen, manifest)
    part = sub_topology(topology, chosen)
    projector = constraint_projector(system, chosen)
    tree = spanning_tree(len(chosen), [(bond[0].index, bond[1].index) for bond in part.bonds()])
    depth = {0: 0}
    for child, parent in tree:
        depth[child] = depth[parent] + 1
    return Selection(
        atoms=tuple(chosen),
        n_particles=count,
        pairs=tuple((int(i), int(j)) for i, j in projector.pairs),
        lengths=tuple(float(length) for length in projector.lengths),
        masses=tuple(float(mass) for mass in projector.masses),
        tree=tuple(tree),
        reach=_BOND * 2 * max(depth.values()),  # no path in the molecule is longer
        periodic=system.usesPeriodicBoundaryConditions(),
        remove_momentum=len(chosen) == count and any(isinstance(f, openmm.CMMotionRemover) for f in system.getForces()),
    )


def atom_indices(atoms: Iterable[int] | None, count: int) -> list[int]:
    """Indices of atoms as a user gives them, in any order, checked; all where None."""
    try:
        chosen = list(range(count)) if atoms is None else [index(atom) for atom in atoms]
    except TypeError:
        raise TypeError(f"atoms is {atoms!r:.60}; expected indices, such as range(22), or None for all atoms") from None
    if len(set(chosen)) != len(chosen) or not all(0 <= atom < count for atom in chosen):
        raise ValueError(f"atoms= must hold different indices from 0 to {count - 1}")
    return chosen


def manifest_for(source: str | Path, topology: app.Topology, atoms: Sequence[int] | None) -> tuple[Manifest, str]:
    """Manifest of a model, and the PDB text of the molecule that a model of many peptides is to be bound to."""
    if not is_peptides(source):
        return read_manifest(source), ""
    many = read_peptide_manifest(source)
    rows = sorted(atom_indices(atoms, topology.getNumAtoms()))
    part = sub_topology(topology, rows)
    answer = many.covers(part)
    if not answer:
        hint = "; name the peptide's atoms with atoms=" if atoms is None and "molecules" in answer.reason else ""
        raise ValueError(f"model {many.name!r} does not cover this molecule: {answer.reason}{hint}")
    manifest = bound_manifest(many, part, np.zeros((len(rows), 3)))
    return manifest, manifest.topology


def in_model_order(topology: app.Topology, atoms: Sequence[int], manifest: Manifest) -> list[int]:
    """Atoms of a System in the order of the model whose molecule they are; ValueError for another molecule."""
    rows = sorted(atoms)
    part = sub_topology(topology, rows)
    answer = manifest.covers(part)
    if answer:
        return [rows[i] for i in answer.order]
    residues = "-".join(residue.name for residue in part.residues())
    raise ValueError(
        f"{manifest.called} does not cover {residues[:60]}: {answer.reason}; `latentmd inspect` prints the "
        "molecule that it covers"
    )


def sub_topology(topology: app.Topology, atoms: Sequence[int]) -> app.Topology:
    """The topology of some atoms, in the order given, with the bonds among them."""
    source = list(topology.atoms())
    part = app.Topology()
    copies: dict[int, app.topology.Atom] = {}
    chain, current, residue = part.addChain(), None, None
    for number in atoms:
        atom = source[number]
        if residue is None or atom.residue is not current:
            current = atom.residue
            residue = part.addResidue(current.name, chain, current.id)
        copies[number] = part.addAtom(atom.name, atom.element, residue)
    for bond in topology.bonds():
        if bond[0].index in copies and bond[1].index in copies:
            part.addBond(copies[bond[0].index], copies[bond[1].index])
    return part
