"""Tokens: the groups of atoms that share one latent vector."""

from __future__ import annotations

from typing import Any

from latentmd.molecule.chemistry import Chemistry, chemistry


def residue_tokens(topology: Any) -> tuple[int, ...]:
    """Token of each atom: one per residue, where caps (ACE, NME) and ligands count as residues.

    Args:
        topology: mdtraj.Topology, openmm.app.Topology or Chemistry.

    Returns:
        One token number per atom, numbered from 0 in the order in which residues appear.
    """
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(residue, len(numbers)) for residue in chemistry(topology).residue_index)


def token_names(topology: Any) -> tuple[str, ...]:
    """Name of each token, such as ("ACE1", "ALA2", "NME3"); numbers count residues from 1."""
    record: Chemistry = chemistry(topology)
    names: dict[int, str] = {}
    for token, residue in zip(residue_tokens(record), record.residues, strict=True):
        names.setdefault(token, f"{residue}{token + 1}")
    return tuple(names.values())
