"""Tokens: the groups of atoms that share one latent vector."""

from __future__ import annotations

from latentmd.molecule.chemistry import Topology, chemistry


def residue_tokens(topology: Topology) -> tuple[int, ...]:
    """Token of each atom, from 0: one per residue in the order of the file, where caps (ACE, NME) and ligands count."""
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(residue, len(numbers)) for residue in chemistry(topology).residue_index)
