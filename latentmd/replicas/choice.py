"""The engine for a System: the compiled kernel where it can, plain OpenMM otherwise, and which of them it became."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from latentmd.arrays import Floats, Ints
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.replicas.terms import UnsupportedError, read_terms

if TYPE_CHECKING:
    import openmm

    from latentmd.replicas.one_by_one import OneByOne


def unsupported(system: openmm.System) -> str:
    """Say in a sentence why the compiled kernel cannot simulate a System; an empty text where it can."""
    if library() is None:
        return (
            "the compiled replica kernel is not installed (no C++ compiler was found at installation), so that OpenMM "
            "simulates one replica at a time"
        )
    try:
        read_terms(system)
    except UnsupportedError as error:
        return str(error)
    return ""


def replica_engine(
    system: openmm.System,
    positions: Floats,
    *,
    temperature: float | Floats = 300.0,
    seed: int | Sequence[int] = 0,
    numbers: Sequence[int] | None = None,
    restraints: Ints | None = None,
    threads: int = 1,
) -> ReplicaEngine | OneByOne:
    """Make the fastest engine that can simulate a System; arguments as for `ReplicaEngine`.

    Args:
        system: OpenMM System of one copy.
        positions: shape (replicas, atoms, 3), nm.
        temperature: of all, or of each replica, K.
        seed: of all, or of each replica.
        numbers: of the replicas in the random streams; 0, 1, … otherwise.
        restraints: atoms of restrained torsions, shape (restraints, 4).
        threads: of the CPU engine.
    """
    if unsupported(system):
        from latentmd.replicas.one_by_one import OneByOne

        return OneByOne(system, positions, temperature=temperature, seed=seed, numbers=numbers, restraints=restraints)
    return ReplicaEngine(
        system,
        positions,
        temperature=temperature,
        seed=seed,
        numbers=numbers,
        restraints=restraints,
        threads=threads,
    )
