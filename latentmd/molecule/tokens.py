"""Tokens: the groups of atoms that share one latent vector."""

from __future__ import annotations

from latentmd.molecule.chemistry import Topology, chemistry


def residue_tokens(topology: Topology) -> tuple[int, ...]:
    """Token of each atom: one per residue, where caps (ACE, NME) and ligands count as residues.

    Args:
        topology: mdtraj.Topology, openmm.app.Topology or Chemistry.

    Returns:
        One token number per atom, numbered from 0 in the order in which residues appear.
    """
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(residue, len(numbers)) for residue in chemistry(topology).residue_index)
