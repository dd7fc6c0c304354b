"""Generated residues put beside given ones: superposed on them, joined, and relaxed where they are strained."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import openmm
import torch

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.molecule.geometry import kabsch
from latentmd.systems.builder import Molecule
from latentmd.systems.relaxation import StopBelow

_ITERATIONS = 100


class Graft:
    """Joins generated structures to given coordinates of some atoms, which do not move.

    Args:
        molecule: the System.
        known: atoms whose coordinates are given.
        limits: median and upper limit of MD's potential energy, kJ/mol, where they are known.
    """

    def __init__(self, molecule: Molecule, known: Ints, limits: tuple[float, float] | None) -> None:
        self.known, self.limits = known, limits
        self._context = _held(molecule, known)

    def join(self, generated: Doubles, given: Doubles) -> tuple[Doubles, float, bool]:
        """One frame: positions in nm (atoms, 3), potential energy in kJ/mol, and whether it was minimised.

        Args:
            generated: nm, shape (atoms, 3).
            given: nm, shape (atoms, 3); only the known atoms count.
        """
        whole = superposed(generated[None], given[None], self.known)[0]
        whole[self.known] = given[self.known]
        self._context.setPositions(whole)
        energy = self._energy()
        if self.limits is not None and energy <= self.limits[1]:
            return whole, energy, False
        reporter = None if self.limits is None else StopBelow(self.limits[0])
        openmm.LocalEnergyMinimizer.minimize(self._context, maxIterations=_ITERATIONS, reporter=reporter)
        x = self._context.getState(positions=True).getPositions(asNumpy=True)._value
        return np.asarray(x, dtype=np.float64), self._energy(), True

    def _energy(self) -> float:
        return float(self._context.getState(energy=True).getPotentialEnergy()._value)


def superposed(generated: Doubles, given: Floats, known: Ints) -> Doubles:
    """Structures moved as a whole so that the known atoms lie best on the given ones; nm, (frames, atoms, 3)."""
    x, y = (
        torch.from_numpy(generated),
        torch.from_numpy(np.asarray(given, dtype=np.float64)).expand(len(generated), -1, -1),
    )
    weights = torch.zeros(x.shape[1], dtype=torch.float64)
    weights[torch.from_numpy(known)] = 1.0
    return np.array(kabsch(x, y, weights).numpy())


def known_atoms(topology: Any, hidden: Bools) -> tuple[Ints, Ints]:
    """Atoms outside the hidden residues: all of them, and the heavy ones.

    Args:
        topology: OpenMM topology.
        hidden: whether each residue is hidden, shape (residues,).
    """
    atoms = [atom for atom in topology.atoms() if not hidden[atom.residue.index]]
    heavy = [atom.index for atom in atoms if atom.element is not None and atom.element.symbol != "H"]
    return np.array([atom.index for atom in atoms], dtype=np.int64), np.array(heavy, dtype=np.int64)


def _held(molecule: Molecule, known: Ints) -> openmm.Context:
    """A Context in which the known atoms have no mass, so that nothing moves them."""
    system, fixed = copy.deepcopy(molecule.system), set(known.tolist())
    for index in range(system.getNumConstraints() - 1, -1, -1):
        i, j, _ = system.getConstraintParameters(index)
        if i in fixed or j in fixed:
            system.removeConstraint(index)
    for atom in fixed:
        system.setParticleMass(atom, 0.0)
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
