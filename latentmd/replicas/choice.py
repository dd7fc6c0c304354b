"""The engine for a System: a GPU or the lanes of the CPU where the kernels can, plain OpenMM otherwise."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Unpack

import openmm

from latentmd.arrays import Floats
from latentmd.replicas.cuda import CudaEngine, cuda_device
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import SWITCH, library
from latentmd.replicas.one_by_one import OneByOne
from latentmd.replicas.replicas import Machine, Replicas, Settings
from latentmd.replicas.terms import UnsupportedError, read_terms


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
    lanes = f"compiled replica engine, {found.variants[-1]}, {found.lanes} replicas to a block"
    return lanes if cuda_device() is None else f"CUDA for Langevin dynamics, and the {lanes}"


def replica_engine(
    system: openmm.System, positions: Floats, *, threads: int = 1, platform: Machine | None = None,
    **settings: Unpack[Settings],
) -> Replicas:  # fmt: skip
    """Make the fastest engine that can simulate a System, from positions (replicas, atoms, 3) in nm; see `Settings`.

    Threads are those of the lanes; `platform` is OpenMM's and its threads where no kernel fits (None: by size).

    The choice depends on the System and the machine alone, never on how many replicas there are, so that a replica is
    the same in however many processes. `LATENTMD_REPLICAS=cpu` leaves the GPU out, `off` both kernels.
    """
    if unsupported(system):
        return OneByOne(system, positions, platform=platform, **settings)
    if device := cuda_device():
        with suppress(UnsupportedError):  # the GPU takes 256 atoms and single hydrogens, the lanes what was read
            return CudaEngine(system, positions, device, threads=threads, **settings)
    return ReplicaEngine(system, positions, threads=threads, **settings)
