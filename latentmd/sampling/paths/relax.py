"""Relaxation of many decoded structures at once: onto the constraints, and down to energies that MD shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from latentmd.arrays import Bools, Doubles
from latentmd.replicas.choice import replica_engine
from latentmd.systems.builder import Molecule

MAX_FORCE = 1e4  # kJ/mol/nm; thermal forces of a molecule at rest in its bonds stay below about half of it
_ITERATIONS, _ROUNDS = 10, 5  # of the minimiser between looks at the energy, and such rounds
_BLOCK = 2000  # structures at once


class RelaxedFrames(NamedTuple):
    """Structures after relaxation.

    Attributes:
        positions: nm, shape (frames, atoms, 3).
        energies: potential energies, kJ/mol, shape (frames,).
        minimised: which frames were minimised, shape (frames,).
    """

    positions: Doubles
    energies: Doubles
    minimised: Bools


def relax(molecule: Molecule, positions: Doubles, limits: tuple[float, float] | None) -> RelaxedFrames:
    """Put structures on the constraints of a System and minimise those whose energy MD does not show.

    A minimum is as far from the canonical distribution as a strained structure is, so that minimisation ends once the
    energy is below the median of MD.

    Args:
        molecule: the System.
        positions: nm, shape (frames, atoms, 3).
        limits: median and upper limit of MD's potential energy, kJ/mol; structures are judged by their forces where
            they are not known.
    """
    parts = [_relaxed(molecule, positions[i : i + _BLOCK], limits) for i in range(0, len(positions), _BLOCK)]
    return RelaxedFrames(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _relaxed(molecule: Molecule, positions: Doubles, limits: tuple[float, float] | None) -> RelaxedFrames:
    engine = replica_engine(molecule.system, positions, temperature=molecule.protocol.temperature)
    engine.constrain()
    x, energies = np.array(engine.positions), np.array(engine.energies())
    if limits is None:
        strained = np.linalg.norm(engine.forces(), axis=2).max(axis=1) > MAX_FORCE
    else:
        strained = ~(energies <= limits[1])  # not a number is strained, too
    left = np.flatnonzero(strained)
    for _ in range(_ROUNDS):
        if not len(left):
            break
        part = replica_engine(molecule.system, x[left], temperature=molecule.protocol.temperature)
        part.minimize(_ITERATIONS)
        x[left], energies[left] = part.positions, part.energies()
        left = left[~(energies[left] <= limits[0])] if limits is not None else left
    return RelaxedFrames(x, energies, strained)
