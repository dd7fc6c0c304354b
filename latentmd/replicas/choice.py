"""The engine for a System: the compiled kernel where it can, plain OpenMM otherwise, and which of them it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latentmd.arrays import Floats, Ints
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import SWITCH, library
from latentmd.replicas.terms import UnsupportedError, read_terms

if TYPE_CHECKING:
    import openmm

    from latentmd.replicas.one_by_one import OneByOne


def unsupported(system: openmm.System) -> str:
    """Say in a sentence why the compiled kernel cannot simulate a System; an empty text where it can."""
    if library() is None:
        why = "is not installed (no C++ compiler was found at installation)"
        if os.environ.get(SWITCH) == "off":
            why = f"is switched off by {SWITCH}=off"
        return f"the compiled replica kernel {why}, so that OpenMM simulates one replica at a time"
    try:
        read_terms(system)
    except UnsupportedError as error:
        return str(error)
    return ""


def engine_in_use() -> str:
    """Say which engine simulates molecules whose force field the kernel knows, as this package is installed here."""
    found = library()
    if found is None:
        return "OpenMM, one replica at a time; reinstall latentmd with a C++ compiler for the replica engine"
    return f"compiled replica engine, {found.variants[-1]}, {found.lanes} replicas to a block"


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
